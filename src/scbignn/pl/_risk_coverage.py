"""`pl.risk_coverage`."""

from __future__ import annotations

from anndata import AnnData
from matplotlib.axes import Axes
from matplotlib.ticker import PercentFormatter

from .. import get
from ._style import FIRST, axes_or_new, tidy


def risk_coverage(adata: AnnData, *, key: str = "scbignn", ax: Axes | None = None) -> Axes:
    """Wrong labels among the most confident cells, against their share; see :func:`scbignn.get.risk_coverage`.

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
    table = get.risk_coverage(adata, key=key)
    ax = axes_or_new(ax, 3.4, 2.4)
    ax.plot(table["coverage"], table["risk"], color=FIRST)
    ax.fill_between(table["coverage"], table["risk"], color=FIRST, alpha=0.15, linewidth=0)
    ax.set_xlim(0, 1)
    ax.set_ylim(0, max(1.1 * table["risk"].max(), 0.01))
    for axis in (ax.xaxis, ax.yaxis):
        axis.set_major_formatter(PercentFormatter(1))
    ax.set_xlabel("cells answered, most confident first")
    ax.set_ylabel("wrong labels among them")
    return tidy(ax)
