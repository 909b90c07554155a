"""`pl.cluster_anchors`."""

from __future__ import annotations

import numpy as np
from anndata import AnnData
from matplotlib.axes import Axes

from ..get._anchors import read_anchors
from ..get._cluster_names import cluster_colors
from ._style import axes_or_new, names_below, tidy


def cluster_anchors(adata: AnnData, *, key: str = "bgformer", anchor_set: int = 0, ax: Axes | None = None) -> Axes:
    """How many cells each anchor of a set stands for, the anchors of a cluster side by side.

    Parameters
    ----------
    adata
        Clustered data.
    key
        The `key_added` of the run.
    anchor_set
        Number of the set.
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
        There is no such set.
    """
    table = read_anchors(adata, key, anchor_set).table
    names = table["cluster"].cat.categories
    table = table.sort_values(["cluster", "size"], ascending=[True, False])
    ax = axes_or_new(ax, 5.2, 2.4)
    codes = table["cluster"].cat.codes.to_numpy()
    ax.bar(np.arange(len(table)), table["size"], width=1.0, color=cluster_colors(adata, key, names).to_numpy()[codes])
    shown = np.unique(codes)
    middles = np.array([np.mean(np.flatnonzero(codes == number)) for number in shown])
    ax.set_xlim(-0.5, len(table) - 0.5)
    names_below(ax, middles, [names[number] for number in shown], low=0, high=len(table) - 1)
    ax.set_xlabel("anchors, by cluster")
    ax.set_ylabel("cells")
    return tidy(ax)
