"""`pl.sankey`."""

from __future__ import annotations

import numpy as np
import pandas as pd
from anndata import AnnData
from matplotlib.axes import Axes
from matplotlib.patches import PathPatch, Rectangle
from matplotlib.path import Path

from .. import get
from ._style import apart, axes_or_new, shortened

#: Width of the bars on both sides, as a share of the distance between them.
_BAR = 0.05


def sankey(
    adata: AnnData,
    truth_key: str,
    *,
    key: str = "scbignn",
    unlabeled_category: object = "Unknown",
    ax: Axes | None = None,
) -> Axes:
    """How given labels (left) flow into predicted ones (right); see :func:`scbignn.get.confusion`.

    Heights are numbers of cells, and the colour is that of the given label. Labels without cells are left out.

    Parameters
    ----------
    adata
        Annotated data.
    truth_key
        Column of `adata.obs` with the given labels.
    key
        The `key_added` of the run.
    unlabeled_category
        Cells with this label in `truth_key` are left out. None: only those with no label.
    ax
        Axes to draw on. Default: those of a new figure.

    Returns
    -------
    The Axes.

    Raises
    ------
    KeyError
        `adata` holds no such run, or `adata.obs` has no such column.
    ValueError
        No cell has a given label.
    """
    counts = get.confusion(adata, truth_key, key=key, unlabeled_category=unlabeled_category)
    counts = counts.loc[counts.sum(axis=1) > 0, counts.sum(axis=0) > 0]
    if counts.empty:
        msg = f"no cell has a label in adata.obs[{truth_key!r}]. Pass the column that holds the given labels."
        raise ValueError(msg)
    given = get.label_colors(adata, truth_key, like=key)
    predicted = pd.Series(get.label_colors(adata, key).to_dict() | given.to_dict())
    most = max(counts.shape)
    font = 7 if most <= 20 else 5
    names = [shortened(name, 22) for name in (*counts.index, *counts.columns)]
    width, height = max(3.4, 1.5 + 0.085 * font / 7 * max(map(len, names))), max(2.6, 0.018 * font * most + 0.4)
    room = 72 * (height - 0.4) if ax is None else 72 * ax.get_window_extent().height / ax.figure.dpi  # in points
    ax = axes_or_new(ax, width, height)
    left = _stack(counts.sum(axis=1))
    right = _stack(counts.sum(axis=0))
    total = counts.to_numpy().sum()
    start, end = left["low"].to_dict(), right["low"].to_dict()
    for name, row in counts.iterrows():
        for other, n_cells in row[row > 0].items():
            height = n_cells / total
            ax.add_patch(_ribbon(start[name], end[other], height, given[name]))
            start[name] += height
            end[other] += height
    gap = min(1.25 * font / room, 1 / most)
    for table, colors, x, side in ((left, given, 0.0, "right"), (right, predicted, 1.0, "left")):
        middle = (table["low"] + table["height"] / 2).to_numpy()
        outside = -1 if side == "right" else 1
        places = apart(middle, gap, low=0, high=1)
        for (name, low, height), y, place in zip(table.itertuples(), middle, places, strict=True):
            ax.add_patch(Rectangle((x - _BAR * (x == 0), low), _BAR, height, facecolor=colors[name], linewidth=0))
            edge = x + outside * _BAR
            ax.plot(
                [edge + outside * 0.01, edge + outside * 0.05], [y, place], color="0.6", linewidth=0.5, clip_on=False
            )
            text = {"ha": side, "va": "center", "fontsize": font, "parse_math": False}
            ax.text(edge + outside * 0.07, place, shortened(name, 22), **text)
    ax.set(xlim=(-_BAR, 1 + _BAR), ylim=(1.02, -0.02))
    for x, side, word in ((0, "right", "given"), (1, "left", "predicted")):
        ax.text(x, 1.03, word, transform=ax.transAxes, ha=side, va="bottom", fontsize=8)
    ax.set_axis_off()
    return ax


def _stack(sizes: pd.Series) -> pd.DataFrame:
    """Bars on top of each other, their heights shares of all cells."""
    height = sizes / sizes.sum()
    return pd.DataFrame({"low": height.cumsum() - height, "height": height})


def _ribbon(start: float, end: float, height: float, color: str) -> PathPatch:
    """A band from the left to the right, both its edges cubic curves that leave and arrive level."""
    corners = np.array(
        [
            (0, start), (0.5, start), (0.5, end), (1, end),
            (1, end + height), (0.5, end + height), (0.5, start + height), (0, start + height), (0, start),
        ]
    )  # fmt: skip
    codes = [Path.MOVETO, *[Path.CURVE4] * 3, Path.LINETO, *[Path.CURVE4] * 3, Path.CLOSEPOLY]
    return PathPatch(Path(corners, codes), facecolor=color, alpha=0.45, linewidth=0)
