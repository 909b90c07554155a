"""`get.calibration`."""

from __future__ import annotations

import pandas as pd
from anndata import AnnData

from ._calibrated import stored_calibration


def calibration(adata: AnnData, *, key: str = "scbignn") -> pd.DataFrame:
    """Confidence beside accuracy, before and after calibration by :func:`scbignn.tl.annotate`.

    Labelled cells, each predicted without its label, in bins of equal numbers of cells. After: calibrated by a map
    that was fitted without the cell's fold, or without its batch.

    Parameters
    ----------
    adata
        Annotated data.
    key
        The `key_added` of the run.

    Returns
    -------
    DataFrame
        With the columns `stage` ("before" or "after"), `confidence` and `accuracy` (float64, within [0, 1]) and
        `n_cells`, a row a bin, least confident first. ``attrs["ece"]`` has the expected calibration error of each
        stage.

    Raises
    ------
    KeyError
        `adata` holds no such run, or the run was not calibrated.
    """
    found = stored_calibration(adata, key)
    table = found["curve"].reset_index(drop=True).astype({"stage": str})
    table.attrs["ece"] = {stage: float(found[f"ece_{stage}"]) for stage in ("before", "after")}
    return table
