"""`get.cross_validation`."""

from __future__ import annotations

from typing import Literal

import pandas as pd
from anndata import AnnData

from .._keys import is_cross_validation

_TABLES = ("folds", "per_label", "rounds", "gene_importance", "gene_attribution", "gene_stability")


def cross_validation(
    adata: AnnData,
    *,
    key: str = "scbignn_cv",
    table: Literal["folds", "per_label", "rounds", "gene_importance", "gene_attribution", "gene_stability"] = "folds",
) -> pd.DataFrame:
    """What :func:`scbignn.tl.cross_validate` found.

    Parameters
    ----------
    adata
        Annotated data.
    key
        The `key_added` of the run.
    table
        Which table, see below.

    Returns
    -------
    DataFrame
        `"folds"`: a row a fold, with `fold`, `n_cells` held out, `accuracy` and `macro_f1` of p and `accuracy_q` and
        `macro_f1_q` of q on them, and the homophily among the other labelled cells of the learned graph
        (`homophily_learned`) and of the raw one (`homophily_raw`).
        `"per_label"`: label as index; `precision`, `recall`, `f1` and `support` of p over the cells of all folds.
        `"rounds"`: `fold`, `round`, `network` ("q" or "p"), `accuracy` and `macro_f1` of the held-out cells after each
        step of EM; round 0 is pre-training.
        `"gene_importance"`, `"gene_attribution"`: genes x folds, the two measures of
        :func:`scbignn.get.gene_importance`; NaN where a gene did not enter.
        `"gene_stability"`: how far folds agree on the genes, the mean over pairs of folds; rows "attention" and
        "attribution", columns as in :func:`scbignn.get.importance_stability`, of the 50 first genes.

    Raises
    ------
    KeyError
        `adata` holds no such run.
    ValueError
        `table` is unknown.
    """
    found = adata.uns.get(key)
    if not is_cross_validation(found):
        msg = (
            f"adata.uns[{key!r}] holds no cross-validation. Run scbignn.tl.cross_validate(adata, labels_key=...) first, "
            "or pass the key_added of the run as key."
        )
        raise KeyError(msg)
    if table not in _TABLES:
        msg = f"table={table!r} is unknown. Use one of {', '.join(map(repr, _TABLES))}."
        raise ValueError(msg)
    return found[table].copy()
