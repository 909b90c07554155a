"""`get.homophily`."""

from __future__ import annotations

import pandas as pd
from anndata import AnnData

from .._keys import annotation_run


def homophily(adata: AnnData, *, key: str = "scbignn") -> pd.DataFrame:
    """Share of graph edges within one label, of the learned and of the raw PCA graph.

    Only edges between cells that were labelled for training count. The learned graph has seen those labels, the raw
    graph has not.

    Parameters
    ----------
    adata
        Annotated data.
    key
        The `key_added` of the run.

    Returns
    -------
    DataFrame
        With the columns `learned` and `raw` (float64, within [0, 1]); the first row, "all", is over all edges, the
        others, one a label, over the edges that leave its cells.

    Raises
    ------
    KeyError
        `adata` holds no such run.
    """
    ratios = annotation_run(adata.uns, key)["homophily"]
    overall = pd.DataFrame({"learned": [float(ratios["learned"])], "raw": [float(ratios["raw"])]}, index=["all"])
    return pd.concat([overall, ratios["per_label"]])
