"""`pl.confidence`."""

from __future__ import annotations

import numpy as np
from anndata import AnnData
from matplotlib.axes import Axes

from .. import get
from ._style import axes_or_new, fit_names, map_name, shortened, tidy


def confidence(
    adata: AnnData,
    *,
    groupby: str | None = None,
    basis: str | None = None,
    key: str = "scbignn",
    ax: Axes | None = None,
) -> Axes:
    """How confident the labels are: in each group, or cell by cell on a map; see :func:`scbignn.get.confidence`.

    Per group: the box is from the lower to the upper quartile, with a line at the median and whiskers from 5 to 95 % of
    the cells. Where given labels have rejected cells, their share stands
    on the right.

    Parameters
    ----------
    adata
        Annotated data.
    groupby
        Column of `adata.obs` to group cells by. Default: the predicted label. Not used with `basis`.
    basis
        Embedding to draw the cells on, for example ``"umap"``; the least confident are drawn last, and rejected ones as
        grey crosses.
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
        `adata` holds no such run, `adata.obs` no such column, or `adata.obsm` no such embedding.
    """
    return _boxes(adata, groupby, key, ax) if basis is None else _map(adata, basis, key, ax)


def _boxes(adata: AnnData, groupby: str | None, key: str, ax: Axes | None) -> Axes:
    table = get.confidence(adata, groupby=groupby, key=key)
    colors = get.label_colors(adata, key if groupby is None else groupby, like=key)[table.index]
    rows = np.arange(len(table))
    names = [f"{shortened(name, 24)} ({n:,})" for name, n in table["n_cells"].items()]
    step = 0.2 if len(table) <= 20 else 0.14
    given = ax is not None
    ax = axes_or_new(ax, max(3.4, 1.6 + 0.055 * max(map(len, names), default=0)), 0.7 + step * len(table))
    ax.hlines(rows, table["q05"], table["q95"], color="0.4", linewidth=0.8, zorder=1)
    ax.barh(rows, table["q75"] - table["q25"], left=table["q25"], height=0.7, color=list(colors), zorder=2)
    ax.vlines(table["median"], rows - 0.42, rows + 0.42, color="black", linewidth=1.2, zorder=3)
    ax.set_yticks(rows, names, fontsize=8 if len(table) <= 20 else 6, parse_math=False)
    ax.set_ylim(len(table) - 0.4, -0.6)
    low = np.nanmin(table["q05"]) if table["n_cells"].any() else 0.0
    ax.set_xlim(max(0.0, low - 0.03), 1.005)
    ax.set_xlabel("confidence")
    if groupby not in {None, key} and table["unknown"].gt(0).any():
        for row, share in enumerate(table["unknown"]):
            if np.isfinite(share):
                ax.text(1.02, row, f"{100 * share:.0f} %", transform=ax.get_yaxis_transform(), fontsize=6, va="center")
        ax.text(1.02, 1.0, "Unknown", transform=ax.transAxes, fontsize=6, va="bottom")
    if given:
        fit_names(ax, below=False)
    return tidy(ax)


def _map(adata: AnnData, basis: str, key: str, ax: Axes | None) -> Axes:
    table = get.annotation(adata, key=key)
    table[["x", "y"]] = get.embedding(adata, basis).to_numpy()  # by place: names may occur twice
    ax = axes_or_new(ax, 3.4, 2.9)
    rejected = table["label"] == "Unknown"
    cells = table[~rejected].sort_values("confidence", ascending=False, kind="stable")
    size = float(np.clip(6000 / max(len(table), 1), 0.5, 12))
    points = ax.scatter(
        cells["x"], cells["y"], c=cells["confidence"], s=size, cmap="cividis", vmax=1, linewidths=0, rasterized=True
    )
    if rejected.any():
        unknown = table[rejected]
        ax.scatter(
            unknown["x"], unknown["y"], s=1.5 * size, marker="x", color="0.5", linewidths=0.5, rasterized=True,
            label=f"Unknown ({len(unknown):,})",
        )  # fmt: skip
        legend = ax.legend(frameon=False, fontsize=7, loc="lower left", bbox_to_anchor=(0, 1), borderaxespad=0)
        legend.legend_handles[0].set_sizes([18])  # points of many cells are too small to be seen alone
    bar = ax.figure.colorbar(points, ax=ax, shrink=0.7, pad=0.02)
    bar.set_label("confidence", fontsize=8)
    bar.ax.tick_params(labelsize=7)
    name = map_name(basis)
    ax.set(xticks=[], yticks=[], xlabel=f"{name} 1", ylabel=f"{name} 2")
    return tidy(ax)
