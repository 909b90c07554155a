"""`pl.homophily`."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from anndata import AnnData
from matplotlib.axes import Axes

from .. import get
from ._style import FIRST, THIRD, axes_or_new, fit_names, shortened, tidy


def homophily(
    adata: AnnData | Mapping[str, AnnData | pd.DataFrame],
    *,
    key: str = "scbignn",
    per_label: bool | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Homophily of the learned and the raw PCA graph, overall and per label; see :func:`scbignn.get.homophily`.

    Parameters
    ----------
    adata
        Annotated data; or several, by the name of the data set, to stand side by side. Instead of annotated data, a
        table that :func:`scbignn.get.homophily` has given.
    key
        The `key_added` of the runs.
    per_label
        Draw a pair of bars a label below the overall one. Default: with one data set only.
    ax
        Axes to draw on. Default: those of a new figure.

    Returns
    -------
    The Axes.

    Raises
    ------
    KeyError
        `adata` holds no such run.
    ValueError
        There are no data sets.
    """
    several = isinstance(adata, Mapping)
    tables = {
        name: data if isinstance(data, pd.DataFrame) else get.homophily(data, key=key)
        for name, data in (adata.items() if several else [("all", adata)])
    }
    if not tables:
        msg = "adata is empty. Pass annotated data, or a dict from names of data sets to annotated data."
        raise ValueError(msg)
    if per_label is None:
        per_label = not several
    names, weights, ratios, rows, row = [], [], [], [], 0.0
    for data_set, table in tables.items():
        overall = shortened(str(data_set), 24) if several else str(table.index[0])
        labels = [shortened(str(label), 24) for label in table.index[1:]] if per_label else []
        names += [overall, *labels]
        weights += ["bold" if several and labels else "normal", *["normal"] * len(labels)]
        ratios.append(table[["learned", "raw"]].to_numpy()[: 1 + len(labels)])
        rows += [row, *(row + 1.4 + np.arange(len(labels)))]  # the overall bars stand apart
        row = rows[-1] + (1.8 if per_label else 1.0)
    learned, raw = np.vstack(ratios).T
    rows = np.array(rows)
    given = ax is not None
    ax = axes_or_new(ax, 1.8 + 0.065 * max(map(len, names)), 1.0 + (0.26 if len(rows) <= 20 else 0.17) * len(rows))
    ax.barh(rows - 0.19, learned, height=0.36, color=FIRST, label="learned graph")
    ax.barh(rows + 0.19, raw, height=0.36, color=THIRD, label="raw PCA graph")
    ax.set_yticks(rows, names, fontsize=8, parse_math=False)
    for tick, weight in zip(ax.get_yticklabels(), weights, strict=True):
        tick.set_fontweight(weight)
    ax.set_ylim(rows[-1] + 0.6, -0.6)
    ax.set_xlim(0, 1)
    ax.set_xlabel("edges within the label", loc="right")
    ax.legend(frameon=False, fontsize=8, loc="lower left", bbox_to_anchor=(0, 1))
    if given:
        fit_names(ax, below=False)
    return tidy(ax)
