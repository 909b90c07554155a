"""`pl.cluster_embedding`."""

from __future__ import annotations

import numpy as np
from anndata import AnnData
from matplotlib import patheffects
from matplotlib.axes import Axes

from .. import get
from ..get._columns import labels_of
from ..get._label_colors import UNKNOWN_COLOR
from ._style import axes_or_new, map_name

#: Cells as large as this on a figure with few of them.
_AREA = 12_000


def cluster_embedding(
    adata: AnnData, *, basis: str = "X_umap", key: str = "bgformer", by_confidence: bool = False, ax: Axes | None = None
) -> Axes:
    """Cells at given coordinates, coloured by cluster (:func:`scbignn.get.label_colors`), its number at the median of its cells.

    Parameters
    ----------
    adata
        Clustered data, with coordinates in `adata.obsm`, such as ``sc.pp.neighbors(adata, use_rep="X_bgformer")`` and
        ``sc.tl.umap(adata)`` make them.
    basis
        Name in `adata.obsm`, of which the first two columns are drawn.
    key
        The `key_added` of the run.
    by_confidence
        Colour by confidence instead.
    ax
        Axes to draw on. Default: those of a new figure.

    Returns
    -------
    The Axes.

    Raises
    ------
    KeyError
        `adata` holds no such run, or no such coordinates.
    ValueError
        They have fewer than two columns.
    """
    get.clusters(adata, key=key)
    labels = labels_of(adata, key)
    if basis not in adata.obsm:
        msg = (
            f"adata.obsm has no {basis!r}. Make it: sc.pp.neighbors(adata, use_rep={f'X_{key}'!r}); sc.tl.umap(adata). Or "
            "pass the name of other coordinates as basis."
        )
        raise KeyError(msg)
    points = np.asarray(adata.obsm[basis])
    if points.ndim != 2 or points.shape[1] < 2:
        msg = f"adata.obsm[{basis!r}] has the shape {points.shape}; two columns are needed. Pass another basis."
        raise ValueError(msg)
    ax = axes_or_new(ax, 4.0, 3.6)
    codes = labels.cat.codes.to_numpy()
    size = float(np.clip(_AREA / len(points), 0.5, 20))
    order = np.random.default_rng(0).permutation(len(points))  # no cluster lies above all others
    if by_confidence:
        drawn = ax.scatter(
            *points[order, :2].T,
            c=adata.obs[f"{key}_confidence"].to_numpy()[order],
            s=size,
            linewidths=0,
            cmap="viridis",
        )
        ax.figure.colorbar(drawn, ax=ax, label="confidence", shrink=0.6)
    else:
        colors = np.array([*get.label_colors(adata, key), UNKNOWN_COLOR])  # the last of cells without a cluster
        ax.scatter(*points[order, :2].T, c=colors[codes[order]], s=size, linewidths=0)
    font = 9 if len(labels.cat.categories) <= 20 else 6
    for number, name in enumerate(labels.cat.categories):
        cells = codes == number
        if cells.any():
            text = ax.text(
                *np.median(points[cells, :2], axis=0), name, ha="center", va="center", fontsize=font, weight="bold"
            )
            text.set_path_effects([patheffects.withStroke(linewidth=2, foreground="white")])
    ax.set_xticks([])
    ax.set_yticks([])
    ax.set_xlabel(f"{map_name(basis)} 1")
    ax.set_ylabel(f"{map_name(basis)} 2")
    ax.spines[["top", "right"]].set_visible(False)
    return ax
