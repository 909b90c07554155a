"""`pl.grn_precision_recall`."""

from __future__ import annotations

from anndata import AnnData
from matplotlib.axes import Axes

from .. import get
from ._style import FIRST, THIRD, axes_or_new, tidy


def grn_precision_recall(adata: AnnData, *, key: str = "sctransnet", ax: Axes | None = None) -> Axes:
    """Precision against recall of hidden edges, beside degree alone; see :func:`scbignn.get.grn_curves`.

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
    table, metrics = get.grn_curves(adata, key=key), get.grn_metrics(adata, key=key)
    ax = axes_or_new(ax, 3.6, 2.8)
    rows = (("baseline", "degree baseline", "degree alone", THIRD), ("model", "model", "model", FIRST))
    for column, row, name, color in rows:
        label = f"{name}: AUPRC {metrics.loc[row, 'auprc']:.2f}"
        ax.plot(table["recall"], table[column], color=color, label=label)
    share = metrics.loc["model", "auprc"] / metrics.loc["model", "auprc_ratio"]
    ax.axhline(share, color=THIRD, linewidth=0.8, linestyle=":", label=f"chance: {share:.2f}")
    ax.set_xlim(0, 1)
    ax.set_ylim(0, 1.02)
    ax.set_xlabel("recall of hidden edges")
    ax.set_ylabel("precision")
    ax.legend(frameon=False, fontsize=8, loc="lower left", bbox_to_anchor=(0, 1))
    return tidy(ax)
