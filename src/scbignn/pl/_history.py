"""`pl.history`."""

from __future__ import annotations

from anndata import AnnData
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from .. import get
from ._style import FIRST, SECOND, axes_or_new, tidy


def history(adata: AnnData, *, key: str = "scbignn", ax: Axes | None = None) -> Axes:
    """Accuracy of q and p per EM round, on labelled cells kept out of training; see :func:`scbignn.get.history`.

    Round 0 is pre-training. Where no cells were kept out, the training loss of every epoch is drawn instead.

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
    ax = axes_or_new(ax, 3.4, 2.4)
    validated = table["val_accuracy"].notna().any()
    for network, color, marker, name in (("q", SECOND, "s", "q, genes"), ("p", FIRST, "o", "p, cell graph")):
        rows = table[table["network"] == network]
        if validated:
            rows = rows[rows["selected"]]
            ax.plot(rows["round"], rows["val_accuracy"], color=color, marker=marker, markersize=4, label=name)
        else:
            ax.plot(range(1, len(rows) + 1), rows["loss"], color=color, label=name)
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    ax.set_xlabel("EM round" if validated else "epoch")
    ax.set_ylabel("validation accuracy" if validated else "training loss")
    ax.legend(frameon=False, fontsize=8)
    return tidy(ax)
