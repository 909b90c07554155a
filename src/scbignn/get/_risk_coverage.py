"""`get.risk_coverage`."""

from __future__ import annotations

import pandas as pd
from anndata import AnnData

from ._calibrated import stored_calibration


def risk_coverage(adata: AnnData, *, key: str = "scbignn") -> pd.DataFrame:
    """How many labels are wrong among the most confident cells, for any share of them.

    Of labelled cells, each predicted without its label and calibrated without its fold or batch.

    Parameters
    ----------
    adata
        Annotated data.
    key
        The `key_added` of the run.

    Returns
    -------
    DataFrame with the columns `coverage` (share of cells, most confident first) and `risk` (share of wrong labels among
    them), float64, within [0, 1]; the last row is over all cells.

    Raises
    ------
    KeyError
        `adata` holds no such run, or the run was not calibrated.
    """
    return stored_calibration(adata, key)["risk_coverage"].reset_index(drop=True)
