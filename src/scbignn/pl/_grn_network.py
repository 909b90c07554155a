"""`pl.grn_network`."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Integral

import numpy as np
import pandas as pd
from anndata import AnnData
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.lines import Line2D

from .. import get
from ..get._stored_grn import stored_grn
from ._style import FIRST, SECOND, axes_or_new, shortened


def grn_network(
    adata: AnnData,
    *,
    tfs: Sequence[str] | None = None,
    n_edges: int = 40,
    key: str = "sctransnet",
    ax: Axes | None = None,
) -> Axes:
    """The highest links of some TFs: TFs on the left, targets on the right, wider lines for higher probabilities.

    Parameters
    ----------
    adata
        Annotated data.
    tfs
        TFs to draw. Default: those of the highest links.
    n_edges
        How many links to draw.
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
        `adata` holds no such run, or it is of groups.
    ValueError
        None of `tfs` has a link, there is no link at all, or `n_edges` is below 1.
    """
    stored_grn(adata, key)
    table = get.grn(adata, key=key)
    if tfs is not None:
        tfs = [tfs] if isinstance(tfs, str) else list(tfs)
        chosen = table[table["source"].isin(tfs)]
        if chosen.empty:
            having = ", ".join(map(repr, table["source"].unique()[:10]))
            msg = f"no link of tfs={tfs!r} is among those kept. TFs with links: {having}. Pass some of them."
            raise ValueError(msg)
        table = chosen
    if isinstance(n_edges, bool) or not isinstance(n_edges, Integral) or n_edges < 1:
        msg = f"n_edges={n_edges!r} must be a whole number of at least 1. Use n_edges=40."
        raise ValueError(msg)
    if table.empty:
        msg = f"adata.varp[{key!r}] holds no link, as where its genes were left out. Draw before genes are taken away."
        raise ValueError(msg)
    table = table.head(n_edges)
    sources = list(dict.fromkeys(table["source"]))
    place = pd.Series(np.linspace(1, 0, len(sources)) if len(sources) > 1 else 0.5, index=sources)
    # Targets stand beside the mean of their TFs, which keeps crossings few.
    beside = (
        place[table["source"]].groupby(table["target"].to_numpy()).mean().sort_values(ascending=False, kind="stable")
    )
    height = pd.Series(np.linspace(1, 0, len(beside)) if len(beside) > 1 else 0.5, index=beside.index)
    ax = axes_or_new(ax, 4.2, 0.8 + 0.16 * max(len(sources), len(beside)))
    lines = [[(0, place[row.source]), (1, height[row.target])] for row in table.itertuples()]
    weight = table["weight"].to_numpy()
    width = 0.4 + 2.0 * weight / max(weight.max(), 1e-9)
    for is_known, style, color in ((True, "solid", FIRST), (False, (0, (3, 2)), SECOND)):
        own = np.flatnonzero(table["known"].to_numpy() == is_known)
        ax.add_collection(
            LineCollection([lines[i] for i in own], linewidths=width[own], colors=color, linestyles=[style], alpha=0.7)
        )
    ax.set_xlim(-0.35, 1.35)
    ax.set_ylim(-0.04, 1.04)
    ax.set_axis_off()
    ax.figure.canvas.figure.draw_without_rendering()  # settles how large the Axes are
    room = 72 * ax.get_window_extent().height / ax.figure.dpi / max(len(place), len(height))
    size = min(8, max(0.9 * room, 1))
    for names, x, side in ((place, 0, "right"), (height, 1, "left")):
        ax.scatter(np.full(len(names), x), names, s=14, color="black", zorder=3)
        for name, y in names.items():
            ax.text(
                x + (-0.03 if side == "right" else 0.03), y, shortened(str(name)), ha=side, va="center", fontsize=size
            )
    handles = [
        Line2D([], [], color=FIRST, label="known"),
        Line2D([], [], color=SECOND, linestyle=(0, (3, 2)), label="not known"),
    ]
    ax.legend(handles=handles, frameon=False, fontsize=8, ncols=2, loc="lower center", bbox_to_anchor=(0.5, 1.0))
    return ax
