"""`get.grn_metrics`."""

from __future__ import annotations

import pandas as pd
from anndata import AnnData

from ._stored_grn import stored_grn

_ROWS = {
    "model": "",
    "degree baseline": "baseline_",
    "linear, with expression": "ridge_",
    "linear, without expression": "network_",
}
_FIGURES = ["auroc", "auprc", "auprc_ratio", "early_precision", "tf_auroc", "tf_auprc"]


def grn_metrics(adata: AnnData, *, key: str = "sctransnet") -> pd.DataFrame:
    """How well :func:`scbignn.tl.infer_grn` found known edges that were hidden, beside what degree alone finds.

    Parameters
    ----------
    adata
        Annotated data.
    key
        The `key_added` of the run.

    Returns
    -------
    DataFrame
        With the rows "model", "degree baseline" (how many edges each TF and gene has, no expression), "linear, with
        expression" and "linear, without expression", and the columns `auroc`, `auprc`, `auprc_ratio`, `early_precision`,
        `tf_auroc` and `tf_auprc`.

    Raises
    ------
    KeyError
        `adata` holds no such run.
    """
    metrics = stored_grn(adata, key)["metrics"]
    rows = [[float(metrics[prefix + figure]) for figure in _FIGURES] for prefix in _ROWS.values()]
    return pd.DataFrame(rows, index=list(_ROWS), columns=_FIGURES)
