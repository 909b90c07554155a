"""`pl.grn_out_degree`."""

from __future__ import annotations

import numpy as np
from anndata import AnnData
from matplotlib.axes import Axes

from .. import get
from ..get._stored_grn import stored_grn
from ._style import FIRST, SECOND, axes_or_new, fit_names, shortened, tidy


def grn_out_degree(adata: AnnData, *, n_tfs: int = 25, key: str = "sctransnet", ax: Axes | None = None) -> Axes:
    """How many targets each TF has among the links kept: known ones, and others.

    Parameters
    ----------
    adata
        Annotated data.
    n_tfs
        How many TFs to draw, those with most targets.
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
        `adata` holds no such run, or it is of groups.
    """
    stored_grn(adata, key)
    table = get.grn(adata, key=key)
    number = table.groupby(["source", "known"]).size().unstack(fill_value=0)
    number = number.reindex(columns=[True, False], fill_value=0)
    order = number.sum(axis=1).sort_values(ascending=False, kind="stable").index[:n_tfs]
    number = number.loc[order]
    given = ax is not None
    ax = axes_or_new(ax, 3.6, 0.9 + 0.17 * len(number))
    place = np.arange(len(number))
    ax.barh(place, number[True], color=FIRST, label="known", height=0.75)
    ax.barh(place, number[False], left=number[True], color=SECOND, label="not known", height=0.75)
    ax.set_yticks(place, [shortened(str(name)) for name in number.index], parse_math=False)
    ax.set_ylim(len(number) - 0.4, -0.6)
    ax.set_xlabel("targets")
    ax.xaxis.get_major_locator().set_params(integer=True)
    ax.legend(frameon=False, fontsize=8, ncols=2, loc="lower left", bbox_to_anchor=(0, 1))
    if given:
        fit_names(ax, below=False)
    return tidy(ax)
