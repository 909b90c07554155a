"""`pl.cluster_stability`."""

from __future__ import annotations

import numpy as np
from anndata import AnnData
from matplotlib.axes import Axes

from .. import get
from ._style import FIRST, THIRD, axes_or_new, tidy


def cluster_stability(adata: AnnData, *, key: str = "bgformer", ax: Axes | None = None) -> Axes:
    """Mean confidence of each cluster, and how well it is found again from half of the cells.

    Parameters
    ----------
    adata
        Clustered data.
    key
        The `key_added` of the run.
    ax
        Axes to draw on. Default: those of a new figure.

    Returns
    -------
    The Axes.

    Raises
    ------
    KeyError
        `adata` holds no such run.
    """
    table = get.clusters(adata, key=key)
    ax = axes_or_new(ax, 3.6, 1.0 + (0.22 if len(table) <= 20 else 0.15) * len(table))
    rows = np.arange(len(table))
    measured = "stability" in table
    ax.barh(rows - 0.19 * measured, table["confidence"], height=0.36, color=THIRD, label="confidence")
    if measured:
        ax.barh(rows + 0.19, table["stability"], height=0.36, color=FIRST, label="stability")
    names = [f"{name} ({count:,})" for name, count in zip(table["cluster"], table["n_cells"], strict=True)]
    ax.set_yticks(rows, names, fontsize=8 if len(table) <= 20 else 6)
    ax.set_ylim(len(table) - 0.4, -0.6)
    ax.set_xlim(0, 1)
    ax.set_ylabel("cluster (cells)")
    ax.legend(frameon=False, fontsize=8, loc="lower left", bbox_to_anchor=(0, 1), ncols=2)
    return tidy(ax)
