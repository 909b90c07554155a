"""What all plots share."""

from __future__ import annotations

import matplotlib.pyplot as plt
from matplotlib.axes import Axes

#: Okabe and Ito's blue, vermillion and grey: told apart also without colour vision, and in print.
FIRST, SECOND, THIRD = "#0072B2", "#D55E00", "#999999"

#: Okabe and Ito's palette, then its shades: colours of groups, in turn.
GROUPS = (
    "#0072B2",
    "#E69F00",
    "#009E73",
    "#D55E00",
    "#CC79A7",
    "#56B4E9",
    "#F0E442",
    "#999999",
    "#004B76",
    "#8F6200",
    "#00553E",
    "#7F3700",
    "#7A3B5F",
    "#A6D8F5",
    "#8C8400",
    "#444444",
)


def group_colors(n: int) -> list[str]:
    """A colour for each of n groups; they come again after sixteen."""
    return [GROUPS[number % len(GROUPS)] for number in range(n)]


def axes_or_new(ax: Axes | None, width: float, height: float) -> Axes:
    """The given Axes, or those of a new figure of that size in inches."""
    return plt.subplots(figsize=(width, height), layout="constrained")[1] if ax is None else ax


def tidy(ax: Axes) -> Axes:
    """No frame at the top and right."""
    ax.spines[["top", "right"]].set_visible(False)
    return ax


def shortened(label: str, limit: int = 30) -> str:
    """A label that fits beside an axis; both its ends stay, since names of types differ at either."""
    return label if len(label) <= limit else f"{label[: limit * 2 // 3 - 1]}…{label[-limit // 3 :]}"
