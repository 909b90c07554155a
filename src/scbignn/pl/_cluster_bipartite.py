"""`pl.cluster_bipartite`."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp
from anndata import AnnData
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb

from ..get._anchors import read_anchors
from ..get._cluster_names import cluster_colors
from ..get._columns import labels_of
from ._style import axes_or_new, names_below, names_beside

#: Rows of the picture, each the mean of some cells.
_ROWS = 500


def cluster_bipartite(adata: AnnData, *, key: str = "bgformer", anchor_set: int = 0, ax: Axes | None = None) -> Axes:
    """The graph of cells and anchors that was clustered: a row a cell, a column an anchor, both by cluster.

    The more a cell is joined to an anchor, the stronger the colour, that of the anchor's cluster
    (:func:`scbignn.get.label_colors`); the strip on the left has the colours of the cells'. A cluster that stands by
    itself is a block on the diagonal; what lies beside the blocks are cells that share anchors with another cluster.

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
    The Axes. Cells are averaged over neighbouring rows of a cluster, where there are many; each cluster has a row.

    Raises
    ------
    KeyError
        `adata` holds no such run.
    ValueError
        There is no such set.
    """
    table = read_anchors(adata, key, anchor_set).table
    names = table["cluster"].cat.categories
    colors = np.array([to_rgb(color) for color in cluster_colors(adata, key, names)])
    n_anchors, anchor_cluster = len(table), table["cluster"].cat.codes.to_numpy()
    columns = np.lexsort((-table["size"].to_numpy(), anchor_cluster))
    anchor_cluster = anchor_cluster[columns]
    # A set's share of a row is 1 / S, which brings every row to a sum of 1 here.
    weights = sp.csr_matrix(adata.obsm[f"{key}_anchors"])[:, anchor_set * n_anchors + columns].toarray()
    weights /= weights.sum(1, keepdims=True)
    codes = labels_of(adata, key).cat.codes.to_numpy()
    cells = np.lexsort((weights.argmax(1), codes))
    cells = cells[codes[cells] >= 0]
    rows = _pooled(codes[cells])
    size, row_cluster = np.bincount(rows), codes[cells][np.searchsorted(rows, np.arange(rows[-1] + 1))]
    pool = sp.csr_matrix((1 / size[rows], (rows, np.arange(len(rows)))))
    strength = np.sqrt(np.clip(pool @ weights[cells], 0, 1))[:, :, None]  # weak edges are to be seen too
    picture = 1 - strength * (1 - colors[anchor_cluster])

    ax = axes_or_new(ax, 5.2, 4.6)
    width = n_anchors / 40
    edges = np.arange(len(size) + 1)
    ax.imshow(picture, aspect="auto", interpolation="nearest", extent=(0, n_anchors, edges[-1], 0))
    strip = colors[row_cluster][:, None]
    ax.imshow(strip, aspect="auto", interpolation="nearest", extent=(-2 * width, -width, edges[-1], 0))
    ax.set_xlim(-2 * width, n_anchors)
    ax.set_ylim(edges[-1], 0)
    for cut in np.flatnonzero(np.diff(row_cluster)) + 1:
        ax.plot([0, n_anchors], [cut, cut], color="0.8", linewidth=0.5)
    for cut in np.flatnonzero(np.diff(anchor_cluster)) + 1:
        ax.plot([cut, cut], [0, edges[-1]], color="0.8", linewidth=0.5)
    names_beside(ax, *_middles(row_cluster, names), low=0, high=len(row_cluster))
    names_below(ax, *_middles(anchor_cluster, names), low=0, high=n_anchors)
    ax.set_xlabel("anchors, by cluster")
    ax.set_ylabel("cells, by cluster")
    ax.spines[:].set_visible(False)
    return ax


def _pooled(codes: np.ndarray) -> np.ndarray:
    """The row of each cell, clusters ascending: about `_ROWS` rows of cells of one cluster each; (n,) int64."""
    per_row = max(1.0, len(codes) / _ROWS)
    first = np.searchsorted(codes, codes)  # where each cell's cluster begins
    within = ((np.arange(len(codes)) - first) / per_row).astype(np.int64)
    starts = np.ones(len(codes), dtype=bool)
    starts[1:] = (np.diff(codes) != 0) | (np.diff(within) != 0)
    return np.cumsum(starts) - 1


def _middles(codes: np.ndarray, names: list[str]) -> tuple[np.ndarray, list[str]]:
    """The middle of each cluster, and its name."""
    present = np.unique(codes)
    middles = np.array([np.mean(np.flatnonzero(codes == number)) + 0.5 for number in present])
    return middles, [names[number] for number in present]
