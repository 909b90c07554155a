"""`pl.homophily`."""

from __future__ import annotations

import numpy as np
from anndata import AnnData
from matplotlib.axes import Axes

from .. import get
from ._style import FIRST, THIRD, axes_or_new, shortened, tidy


def homophily(adata: AnnData, *, key: str = "scbignn", ax: Axes | None = None) -> Axes:
    """Homophily of the learned and the raw PCA graph, overall and per label; see :func:`scbignn.get.homophily`.

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
    table = get.homophily(adata, key=key)
    names = [shortened(str(label)) for label in table.index]
    ax = axes_or_new(ax, 2.2 + 0.065 * max(map(len, names)), 1.0 + 0.26 * len(table))
    rows = np.arange(len(table), dtype=float)
    rows[1:] += 0.4  # the overall bars stand apart
    ax.barh(rows - 0.19, table["learned"], height=0.36, color=FIRST, label="learned graph")
    ax.barh(rows + 0.19, table["raw"], height=0.36, color=THIRD, label="raw PCA graph")
    ax.set_yticks(rows, names, fontsize=8)
    ax.set_ylim(rows[-1] + 0.6, -0.6)
    ax.set_xlim(0, 1)
    ax.set_xlabel("edges within the label")
    ax.legend(frameon=False, fontsize=8, loc="lower left", bbox_to_anchor=(0, 1))
    return tidy(ax)
