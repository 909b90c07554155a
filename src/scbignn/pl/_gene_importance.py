"""`pl.gene_importance`."""

from __future__ import annotations

from typing import Literal

import numpy as np
import pandas as pd
from anndata import AnnData
from matplotlib.axes import Axes

from .. import get
from ._style import FIRST, axes_or_new, fit_names, shortened, tidy


def gene_importance(
    adata: AnnData,
    *,
    key: str = "scbignn",
    by: Literal["attention", "attribution"] = "attention",
    label: str | None = None,
    per_label: bool = False,
    n_genes: int | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Bars of the most important genes, or dots a label; see :func:`scbignn.get.gene_importance`.

    Parameters
    ----------
    adata
        Annotated data.
    key
        The `key_added` of the run.
    by, label
        Measure of importance, and the label whose cells count, as there.
    per_label
        Draw a column a label, with the most important genes of each. Dots are the larger and darker, the larger the
        share of the largest score of the label. A label that no cell was given has none. Not with `label`.
    n_genes
        Number of bars, by default 20, or of genes a label, by default 3.
    ax
        Axes to draw on. Default: those of a new figure.

    Returns
    -------
    The Axes.

    Raises
    ------
    KeyError, ValueError
        As there, or both `label` and `per_label` are given.
    """
    if per_label and label is not None:
        msg = f"per_label=True draws all labels, and label={label!r} asks for one. Leave out either."
        raise ValueError(msg)
    if per_label:
        return _dots(adata, key, by, 3 if n_genes is None else n_genes, ax)
    table = get.gene_importance(adata, key=key, by=by, label=label, n_genes=20 if n_genes is None else n_genes)
    given = ax is not None
    ax = axes_or_new(ax, 3.4, 0.6 + 0.19 * len(table))
    ax.barh(range(len(table)), table["score"], color=FIRST, height=0.75)
    ax.set_yticks(range(len(table)), [shortened(gene) for gene in table["gene"]], fontsize=8, parse_math=False)
    ax.set_ylim(len(table) - 0.5, -0.5)
    ax.set_xlabel({"attention": "attention received", "attribution": "added to the margin"}[by])
    if label is not None:
        ax.set_title(shortened(label), fontsize=9)
    if given:
        fit_names(ax, below=False)
    return tidy(ax)


def _dots(adata: AnnData, key: str, by: Literal["attention", "attribution"], n_genes: int, ax: Axes | None) -> Axes:
    labels = get.annotation(adata, key=key)["best_guess"].cat.categories
    tables = {
        name: get.gene_importance(adata, key=key, by=by, label=name).set_index("gene")["score"] for name in labels
    }
    scores = pd.DataFrame(tables)
    best = [scores[name].dropna().nlargest(n_genes).index for name in labels]
    genes = list(dict.fromkeys(gene for own in best for gene in own))  # by the first label that has them, in turn
    share = (scores / scores.max()).clip(lower=0).loc[genes, labels].fillna(0).to_numpy()
    names = [shortened(name, 22) for name in labels]
    small = len(genes) > 60
    step, given = 0.1 if small else 0.14, ax is not None
    ax = axes_or_new(
        ax, max(2.4, 1.6 + step * len(labels)), max(1.5, 0.4 + 0.05 * max(map(len, names)) + step * len(genes))
    )
    row, column = np.nonzero(share > 0)
    value, area = share[row, column], 14 if small else 28
    dots = ax.scatter(column, row, s=area * value, c=value, cmap="Blues", vmin=-0.3, vmax=1, linewidths=0)
    ax.set_xticks(range(len(names)), names, rotation=90, fontsize=5 if small else 6, parse_math=False)
    genes = [shortened(gene, 16) for gene in genes]
    ax.set_yticks(range(len(genes)), genes, fontsize=5 if small else 6, parse_math=False)
    ax.tick_params(length=1.5, pad=1.5)
    ax.set(xlim=(-0.7, len(names) - 0.3), ylim=(len(genes) - 0.4, -0.6))
    bar = ax.figure.colorbar(dots, ax=ax, shrink=0.7, pad=0.03, boundaries=np.linspace(0, 1, 51), ticks=[0, 0.5, 1])
    bar.set_label("share of the largest", fontsize=6)
    bar.ax.tick_params(labelsize=6)
    if given:
        dots.set_sizes(min(area, (0.9 * fit_names(ax)) ** 2) * value)  # neighbours do not meet
    return tidy(ax)
