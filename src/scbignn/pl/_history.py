"""`pl.history`."""

from __future__ import annotations

from anndata import AnnData
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from .. import get
from ._style import FIRST, SECOND, axes_or_new, tidy


def history(adata: AnnData, *, key: str = "scbignn", ax: Axes | None = None) -> Axes:
    """Accuracy of q and p per EM round, on labelled cells kept out of training; see :func:`scbignn.get.history`.

    Round 0 is pre-training. Where no cells could be kept out, the training loss is drawn instead.

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
        `adata` holds no such run.
    """
    table = get.history(adata, key=key)
    kept = table[table["selected"]]
    metric, label = "val_accuracy", "validation accuracy"
    if kept[metric].isna().all():
        metric, label = "loss", "training loss"
    ax = axes_or_new(ax, 3.4, 2.4)
    for network, color, marker, name in (("q", SECOND, "s", "q, genes"), ("p", FIRST, "o", "p, cell graph")):
        rows = kept[kept["network"] == network]
        ax.plot(rows["round"], rows[metric], color=color, marker=marker, markersize=4, label=name)
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    ax.set_xlabel("EM round")
    ax.set_ylabel(label)
    ax.legend(frameon=False, fontsize=8)
    return tidy(ax)
