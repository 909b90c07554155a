"""`pl.reliability`."""

from __future__ import annotations

from anndata import AnnData
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from .. import get
from ._style import FIRST, THIRD, axes_or_new, tidy


def reliability(adata: AnnData, *, key: str = "scbignn", ax: Axes | None = None) -> Axes:
    """Accuracy against confidence, before and after calibration; see :func:`scbignn.get.calibration`.

    On the diagonal a confidence of 0.8 is right in 8 of 10 cells; below it confidence is too high. ECE is the mean
    distance from it.

    Parameters
    ----------
    adata
        Annotated data.
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
        `adata` holds no such run, or the run was not calibrated.
    """
    table = get.calibration(adata, key=key)
    ax = axes_or_new(ax, 3.0, 3.0)
    ax.plot([0, 1], [0, 1], color="0.6", linewidth=0.8, linestyle=":", zorder=0)
    for stage, color, marker in (("before", THIRD, "s"), ("after", FIRST, "o")):
        rows = table[table["stage"] == stage]
        name = f"{stage}, ECE {table.attrs['ece'][stage]:.3f}"
        ax.plot(rows["confidence"], rows["accuracy"], color=color, marker=marker, markersize=4, label=name)
    # The lower left is empty: confidence of the most probable label starts above one by the number of labels.
    low = min(0.95, max(0.0, table[["confidence", "accuracy"]].min(axis=None) - 0.05))
    ax.set_xlim(low, 1 + 0.02 * (1 - low))
    ax.set_ylim(low, 1 + 0.02 * (1 - low))
    ax.set_aspect("equal")
    for axis in (ax.xaxis, ax.yaxis):
        axis.set_major_locator(MaxNLocator(5))
    ax.set_xlabel("confidence")
    ax.set_ylabel("accuracy")
    ax.legend(frameon=False, fontsize=8, loc="lower left", bbox_to_anchor=(0, 1), borderaxespad=0)
    return tidy(ax)
