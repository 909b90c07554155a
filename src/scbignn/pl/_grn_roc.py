"""`pl.grn_roc`."""

from __future__ import annotations

from anndata import AnnData
from matplotlib.axes import Axes

from .. import get
from ._style import FIRST, THIRD, axes_or_new, tidy


def grn_roc(adata: AnnData, *, key: str = "sctransnet", ax: Axes | None = None) -> Axes:
    """Hidden edges found against false ones, beside degree alone; see :func:`scbignn.get.grn_curves`.

    Where edges are few this looks better than it is: see :func:`scbignn.pl.grn_precision_recall` too.

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
        `adata` holds no such run, or one of before there were these curves.
    """
    table, metrics = get.grn_curves(adata, kind="roc", key=key), get.grn_metrics(adata, key=key)
    ax = axes_or_new(ax, 3.2, 3.2)
    rows = (("baseline", "degree baseline", "degree alone", THIRD), ("model", "model", "model", FIRST))
    for column, row, name, color in rows:
        label = f"{name}: AUROC {metrics.loc[row, 'auroc']:.2f}"
        ax.plot(table["false_positive_rate"], table[column], color=color, label=label)
    ax.plot([0, 1], [0, 1], color=THIRD, linewidth=0.8, linestyle=":", label="chance: 0.50")
    ax.set(xlim=(0, 1), ylim=(0, 1.02), xlabel="other pairs taken for edges", ylabel="hidden edges found")
    ax.legend(frameon=False, fontsize=8, loc="lower left", bbox_to_anchor=(0, 1))
    return tidy(ax)
