"""`get.importance_stability`."""

from __future__ import annotations

from numbers import Integral
from typing import Literal

import pandas as pd
from anndata import AnnData

from .._agreement import N_TOP, agreement
from ._cross_validation import cross_validation

_TABLES = {"attention": "gene_importance", "attribution": "gene_attribution"}


def importance_stability(
    runs: AnnData | pd.DataFrame,
    *,
    by: Literal["attention", "attribution"] = "attention",
    n_top: int = N_TOP,
    key: str = "scbignn_cv",
) -> pd.DataFrame:
    """How far runs agree on which genes are important: over folds, over seeds, or over any other change.

    Genes enter a run's gene-level network by a panel that is chosen anew from the labels of the run. So two lists of
    genes may differ because their panels do, or because the network scores the same genes otherwise; the columns tell
    these apart.

    Parameters
    ----------
    runs
        Annotated data after :func:`scbignn.tl.cross_validate`, whose folds are the runs; or scores, a DataFrame genes x
        runs with NaN where a gene did not enter, for example of several seeds (below).
    by
        With annotated data: the measure of importance, see :func:`scbignn.get.gene_importance`.
    n_top
        How many genes of a run are its most important; all, where fewer entered.
    key
        With annotated data: the `key_added` of the cross-validation.

    Returns
    -------
    DataFrame, a row a pair of runs, with the columns
    `run`, `other`
        Names of both.
    `n_both`, `panel`
        Genes that entered both, and their share of the larger panel.
    `spearman`
        Rank correlation of the scores of these genes; NaN for fewer than three.
    `overlap`
        Share of the `n_top` genes of one that are among those of the other.
    `overlap_of_both`
        The same, with genes that entered both as the only candidates: what is left of the difference if the panel has no
        part in it.
    `by_chance`
        `overlap_of_both` of two orders that have nothing to do with each other.

    Raises
    ------
    KeyError
        The annotated data hold no cross-validation.
    TypeError
        `runs` is neither.
    ValueError
        There are fewer than two runs, `by` is unknown, or `n_top` is no positive number.

    Examples
    --------
    Over seeds, where ``scores[seed] = get.gene_importance(adata).set_index("gene")["score"]`` of a run with ``rng=seed``:

    >>> import pandas as pd, scbignn
    >>> scores = pd.DataFrame({0: {"CD3E": 3.0, "NKG7": 2.0, "MS4A1": 1.0}, 1: {"CD3E": 2.0, "NKG7": 1.0, "GNLY": 3.0}})
    >>> scbignn.get.importance_stability(scores, n_top=2)[["n_both", "overlap", "overlap_of_both"]].values.tolist()
    [[2.0, 0.5, 1.0]]
    """
    if by not in _TABLES:
        msg = f'by={by!r} is unknown. Use by="attention" or by="attribution".'
        raise ValueError(msg)
    if isinstance(n_top, bool) or not isinstance(n_top, Integral) or n_top < 1:
        msg = f"n_top={n_top!r} must be a whole number, 1 or more. Use for example {N_TOP}."
        raise ValueError(msg)
    if isinstance(runs, AnnData):
        runs = cross_validation(runs, key=key, table=_TABLES[by])
    elif not isinstance(runs, pd.DataFrame):
        msg = f"runs is of type {type(runs).__name__}. Pass annotated data, or a DataFrame of scores, genes x runs."
        raise TypeError(msg)
    if runs.shape[1] < 2:
        msg = f"runs has {runs.shape[1]} column, and one run agrees with none. Pass the scores of two or more."
        raise ValueError(msg)
    return agreement(runs, n_top)
