"""`get.annotation`."""

from __future__ import annotations

import pandas as pd
from anndata import AnnData

from .._keys import AnnotationKeys
from ._stored import stored


def annotation(adata: AnnData, *, key: str = "scbignn", probabilities: bool = False) -> pd.DataFrame:
    """Label of every cell and how sure it is, as written by :func:`scbignn.tl.annotate`.

    Parameters
    ----------
    adata
        Annotated data.
    key
        The `key_added` of the run.
    probabilities
        Add a column of p for each label, named by the label as it is.

    Returns
    -------
    DataFrame
        With the index of `adata.obs` and the columns `label` (categorical), `confidence`, `entropy` and `disagreement`
        (float32), and with `probabilities` one float32 column a label.

    Raises
    ------
    KeyError
        `adata` holds no such run.
    """
    keys = AnnotationKeys(key)
    run = stored(adata, key)
    table = pd.DataFrame(
        {
            "label": adata.obs[keys.key],
            "confidence": adata.obs[keys.confidence],
            "entropy": adata.obs[keys.entropy],
            "disagreement": adata.obs[keys.disagreement],
        }
    )
    if not probabilities:
        return table
    p = adata.obsm[keys.probabilities].set_axis(list(run["labels"]), axis=1)
    return pd.concat([table, p], axis=1)
