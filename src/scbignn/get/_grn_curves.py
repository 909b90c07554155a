"""`get.grn_curves`."""

from __future__ import annotations

import pandas as pd
from anndata import AnnData

from ._stored_grn import stored_grn


def grn_curves(adata: AnnData, *, key: str = "sctransnet") -> pd.DataFrame:
    """Precision against recall of known edges that were hidden from :func:`scbignn.tl.infer_grn`.

    Parameters
    ----------
    adata
        Annotated data.
    key
        The `key_added` of the run.

    Returns
    -------
    DataFrame
        With the columns `recall`, and `model` and `baseline`: their highest precision at that recall or beyond, in the
        mean over hidden parts.

    Raises
    ------
    KeyError
        `adata` holds no such run.
    """
    return stored_grn(adata, key)["curves"].reset_index(drop=True)
