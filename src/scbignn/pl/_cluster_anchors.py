"""`pl.cluster_anchors`."""

from __future__ import annotations

import numpy as np
from anndata import AnnData
from matplotlib.axes import Axes

from .. import get
from ._style import apart, axes_or_new, tidy


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
    names = get.clusters(adata, key=key)["cluster"].tolist()
    table = get.anchors(adata, key=key, anchor_set=anchor_set).obs
    table = table.sort_values(["cluster", "size"], ascending=[True, False])
    ax = axes_or_new(ax, 5.2, 2.4)
    codes = table["cluster"].cat.codes.to_numpy()
    ax.bar(np.arange(len(table)), table["size"], width=1.0, color=get.label_colors(adata, key).to_numpy()[codes])
    shown = np.unique(codes)
    middles = np.array([np.mean(np.flatnonzero(codes == number)) for number in shown])
    names = [names[number] for number in shown]
    width = 0.8 * ax.get_window_extent().width / ax.figure.dpi  # less what stands at the left
    gap, size, upright = 0.065 * max(map(len, names)) + 0.05, 8, False  # inches that a name takes
    if gap * len(names) > width:
        gap, size, upright = (0.12, 7, True) if 0.12 * len(names) <= width else (0.08, 5, True)
    places = apart(middles, min(gap / width * len(table), len(table) / len(names)), low=0, high=len(table) - 1)
    ax.set_xticks(places, names, fontsize=size, rotation=90 if upright else 0)
    ax.tick_params(axis="x", length=0)
    ax.set_xlim(-0.5, len(table) - 0.5)
    ax.set_xlabel("anchors, by cluster")
    ax.set_ylabel("cells")
    return tidy(ax)
