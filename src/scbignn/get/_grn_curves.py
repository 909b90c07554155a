"""`get.grn_curves`."""

from __future__ import annotations

from typing import Literal

import pandas as pd
from anndata import AnnData

from ._stored_grn import stored_grn


def grn_curves(
    adata: AnnData, *, kind: Literal["precision_recall", "roc"] = "precision_recall", key: str = "sctransnet"
) -> pd.DataFrame:
    """Precision against recall of known edges that were hidden from :func:`scbignn.tl.infer_grn`, or their ROC curve.

    Parameters
    ----------
    adata
        Annotated data.
    kind
        Which curve.
    key
        The `key_added` of the run.

    Returns
    -------
    DataFrame
        With the columns `recall`, and `model` and `baseline`: their highest precision at that recall or beyond, in the
        mean over hidden parts. With ``kind="roc"``, the columns `false_positive_rate`, and `model` and `baseline`: the
        share of hidden edges found there.

    Raises
    ------
    KeyError
        `adata` holds no such run, or no such curve.
    ValueError
        `kind` is unknown.
    """
    if kind not in ("precision_recall", "roc"):
        msg = f'kind={kind!r} is unknown. Use kind="precision_recall" or "roc".'
        raise ValueError(msg)
    run, slot = stored_grn(adata, key), "curves" if kind == "precision_recall" else "roc"
    if slot not in run:
        msg = f"adata.uns[{key!r}] holds no {slot!r}: it is of an earlier version. Run scbignn.tl.infer_grn again."
        raise KeyError(msg)
    return run[slot].reset_index(drop=True)
