"""What all plots share."""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes

#: Okabe and Ito's blue, vermillion and grey: told apart also without colour vision, and in print.
FIRST, SECOND, THIRD = "#0072B2", "#D55E00", "#999999"


def axes_or_new(ax: Axes | None, width: float, height: float) -> Axes:
    """The given Axes, or those of a new figure of that size in inches."""
    if ax is not None:
        return ax
    _, ax = plt.subplots(figsize=(width, height), layout="constrained")
    ax.tick_params(labelsize=8)
    for axis in (ax.xaxis, ax.yaxis):
        axis.label.set_size(9)
    return ax


def tidy(ax: Axes) -> Axes:
    """No frame at the top and right."""
    ax.spines[["top", "right"]].set_visible(False)
    return ax


def shortened(label: str, limit: int = 30) -> str:
    """A label that fits beside an axis; both its ends stay, since names of types differ at either."""
    return label if len(label) <= limit else f"{label[: limit * 2 // 3 - 1]}…{label[-limit // 3 :]}"


def plain(text: str) -> str:
    """A name for a legend, drawn as it is; elsewhere ``parse_math=False`` keeps "$" from being read as maths.

    A legend leaves out names that begin with "_", but for one that has something before it, be it without width.
    """
    return ("\u200b" if text.startswith("_") else "") + text.replace("$", r"\$")


def fit_names(ax: Axes, *, below: bool = True) -> float:
    """Make the names at both axes of a table so small that neighbours do not meet, where the Axes leave them little room.

    With ``below=False`` those at its side only, where the other axis has numbers.

    Returns
    -------
    Room for a row or column, whichever has less, in points.
    """
    figure = ax.figure.canvas.figure  # also of a part of a figure
    figure.draw_without_rendering()  # settles how large the Axes are
    box, rooms = ax.get_window_extent(), []
    axes = [(ax.yaxis, box.height, ax.get_ylim()), (ax.xaxis, box.width, ax.get_xlim())]
    for axis, length, limits in axes[: 1 + below]:
        rooms.append(72 * length / figure.dpi / abs(limits[1] - limits[0]))
        for name in axis.get_ticklabels():
            name.set_fontsize(min(name.get_fontsize(), max(0.9 * rooms[-1], 1)))
    return min(rooms)


def names_below(ax: Axes, positions: np.ndarray, names: Sequence[str], *, low: float, high: float) -> None:
    """Names below the axis at their positions, moved apart; upright and smaller where they are many.

    `low` and `high` are where the first and the last may stand; the limits of the axis are set before.
    """
    width = 0.8 * ax.get_window_extent().width / ax.figure.dpi  # less what stands at the left
    gap, size, upright = 0.065 * max(map(len, names)) + 0.05, 8, False  # inches that a name takes
    if gap * len(names) > width:
        gap, size, upright = (0.12, 7, True) if 0.12 * len(names) <= width else (0.08, 5, True)
    room = np.ptp(ax.get_xlim())
    places = apart(positions, min(gap / width * room, (high - low) / len(names)), low=low, high=high)
    ax.set_xticks(places, names, fontsize=size, rotation=90 if upright else 0)
    ax.tick_params(axis="x", length=0)


def names_beside(ax: Axes, positions: np.ndarray, names: Sequence[str], *, low: float, high: float) -> None:
    """Names beside the axis at their positions, as :func:`names_below`; smaller where they are many."""
    height = 0.8 * ax.get_window_extent().height / ax.figure.dpi
    size = float(np.clip(60 * height / len(names), 3, 8))  # points
    room = np.ptp(ax.get_ylim())
    places = apart(positions, min(size / 60 / height * room, (high - low) / len(names)), low=low, high=high)
    ax.set_yticks(places, names, fontsize=size)
    ax.tick_params(axis="y", length=0)


def map_name(basis: str) -> str:
    """What the axes of an embedding are called, by its name in `obsm`."""
    name = basis.removeprefix("X_")
    return {"umap": "UMAP", "pca": "PC", "tsne": "tSNE"}.get(name, name)


def apart(positions: np.ndarray, gap: float, *, low: float = -np.inf, high: float = np.inf) -> np.ndarray:
    """Positions on an axis, moved as little as possible (least squares) until neighbours are `gap` apart.

    Parameters
    ----------
    positions
        Float, shape (n,), in any order, which stays.
    gap
        Smallest distance between two of the result.
    low, high
        Where the result may lie; all positions must have room there.
    """
    positions = np.asarray(positions, dtype=float)
    order = np.argsort(positions, kind="stable")
    steps = gap * np.arange(len(positions))
    moved = np.empty_like(positions)
    last = steps[-1] if steps.size else 0.0
    moved[order] = np.clip(_increasing(positions[order] - steps), low, high - last) + steps
    return moved


def _increasing(values: np.ndarray) -> np.ndarray:
    """The closest sequence that never falls: neighbours that do are pooled to their mean."""
    blocks: list[list[float]] = []  # mean, size
    for value in values:
        blocks.append([value, 1])
        while len(blocks) > 1 and blocks[-2][0] > blocks[-1][0]:
            mean, size = blocks.pop()
            blocks[-1] = [(blocks[-1][0] * blocks[-1][1] + mean * size) / (blocks[-1][1] + size), blocks[-1][1] + size]
    return np.repeat([mean for mean, _ in blocks], [int(size) for _, size in blocks])
