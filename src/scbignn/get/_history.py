"""`get.history`."""

from __future__ import annotations

import pandas as pd
from anndata import AnnData

from .._keys import annotation_run


def history(adata: AnnData, *, key: str = "scbignn") -> pd.DataFrame:
    """Training history of :func:`scbignn.tl.annotate`, a row an epoch.

    Parameters
    ----------
    adata
        Annotated data.
    key
        The `key_added` of the run.

    Returns
    -------
    DataFrame
        With the columns `round` (0 is pre-training), `step` ("pretrain", "M" or "E"), `network` ("q" or "p", the one
        that was trained), `epoch` (for p, one full-graph update), `loss`, `val_loss` and `val_accuracy` (on labelled
        cells kept out of training; NaN where there are none), and `selected`, true for the epoch of each step whose
        weights were kept.

    Raises
    ------
    KeyError
        `adata` holds no such run.
    """
    table = annotation_run(adata.uns, key)["history"].reset_index(drop=True)
    table.insert(2, "network", table["step"].astype(str).map({"pretrain": "q", "E": "q", "M": "p"}))
    return table
