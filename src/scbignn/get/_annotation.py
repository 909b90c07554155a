"""`get.annotation`."""

from __future__ import annotations

import pandas as pd
from anndata import AnnData

from .._keys import AnnotationKeys, annotation_run


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
        With the index of `adata.obs` and the columns `label` (categorical, "Unknown" where the cell was rejected),
        `best_guess` (categorical, the most probable label in any case), `confidence`, `entropy` and `disagreement`
        (float32); `novelty` (float32), where there is one; and with `probabilities` one float32 column a label.

    Raises
    ------
    KeyError
        `adata` holds no such run.
    """
    keys = AnnotationKeys(key)
    run = annotation_run(adata.uns, key)
    labels = list(run["labels"])
    p = adata.obsm[keys.probabilities].set_axis(labels, axis=1)
    table = pd.DataFrame(
        {
            "label": adata.obs[keys.key],
            "best_guess": pd.Categorical.from_codes(p.to_numpy().argmax(1), categories=labels),
            "confidence": adata.obs[keys.confidence],
            "entropy": adata.obs[keys.entropy],
            "disagreement": adata.obs[keys.disagreement],
        }
    )
    if keys.novelty in adata.obs:
        table["novelty"] = adata.obs[keys.novelty]
    return pd.concat([table, p], axis=1) if probabilities else table
