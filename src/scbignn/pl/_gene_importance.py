"""`pl.gene_importance`."""

from __future__ import annotations

from typing import Literal

from anndata import AnnData
from matplotlib.axes import Axes

from .. import get
from ._style import FIRST, axes_or_new, shortened, tidy


def gene_importance(
    adata: AnnData,
    *,
    key: str = "scbignn",
    by: Literal["attention", "attribution"] = "attention",
    label: str | None = None,
    n_genes: int = 20,
    ax: Axes | None = None,
) -> Axes:
    """Bars of the most important genes; see :func:`scbignn.get.gene_importance`.

    Parameters
    ----------
    adata
        Annotated data.
    key
        The `key_added` of the run.
    by, label
        Measure of importance, and the label whose cells count, as there.
    n_genes
        Number of bars.
    ax
        Axes to draw on. Default: those of a new figure.

    Returns
    -------
    The Axes.

    Raises
    ------
    KeyError, ValueError
        As there.
    """
    table = get.gene_importance(adata, key=key, by=by, label=label, n_genes=n_genes)
    ax = axes_or_new(ax, 3.4, 0.6 + 0.19 * len(table))
    ax.barh(range(len(table)), table["score"], color=FIRST, height=0.75)
    ax.set_yticks(range(len(table)), [shortened(gene) for gene in table["gene"]], fontsize=8, parse_math=False)
    ax.set_ylim(len(table) - 0.5, -0.5)
    ax.set_xlabel({"attention": "attention received", "attribution": "added to the margin"}[by])
    if label is not None:
        ax.set_title(shortened(label), fontsize=9)
    return tidy(ax)
