"""`get.top_genes`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import pandas as pd
from anndata import AnnData


def top_genes(
    lists: AnnData | pd.DataFrame | Mapping[str, Iterable[str]], *, n_top: int = 50, key: str = "scbignn_cv"
) -> dict[str, list[str]]:
    """The most important genes of each of several runs.

    Parameters
    ----------
    lists
        Ranked genes by the name of the run, best first; or scores, a DataFrame genes x runs; or annotated data with
        such a DataFrame in ``uns[key]["gene_importance"]``.
    n_top
        How many genes of each run.
    key
        With annotated data: where the scores are.

    Returns
    -------
    The genes of each run, best first, without repetition, by the name of the run. Genes without a score (NaN) are left
    out; those of equal score stay in the order of the table.

    Raises
    ------
    KeyError
        The annotated data hold no such table.
    TypeError
        `lists` is none of these, or a list holds no names.
    ValueError
        A run has fewer than `n_top` genes, or `n_top` is no positive number.
    """
    if n_top < 1:
        msg = f"n_top={n_top!r} must be 1 or more. Use for example 50."
        raise ValueError(msg)
    if isinstance(lists, AnnData):
        lists = _scores(lists, key)
    if isinstance(lists, pd.DataFrame):
        lists = {
            str(run): scores.dropna().sort_values(ascending=False, kind="stable").index for run, scores in lists.items()
        }
    elif not isinstance(lists, Mapping):
        msg = (
            f"lists is of type {type(lists).__name__}. Pass a dict from names to ranked genes, a DataFrame genes x runs, "
            "or annotated data."
        )
        raise TypeError(msg)
    found = {}
    for run, genes in lists.items():
        if isinstance(genes, str):
            msg = f"lists[{run!r}] is the text {genes!r}. Pass a list of gene names."
            raise TypeError(msg)
        ranked = list(dict.fromkeys(map(str, genes)))
        if len(ranked) < n_top:
            msg = f"run {run!r} has {len(ranked)} genes, and n_top={n_top} were asked for. Use n_top={len(ranked)} or fewer."
            raise ValueError(msg)
        found[str(run)] = ranked[:n_top]
    return found


def _scores(adata: AnnData, key: str) -> pd.DataFrame:
    record = adata.uns.get(key)
    table = record.get("gene_importance") if isinstance(record, Mapping) else None
    if not isinstance(table, pd.DataFrame):
        msg = (
            f"adata.uns[{key!r}] holds no table 'gene_importance' of several runs. Pass the key of one that does, or a "
            'DataFrame of scores, for example of get.gene_importance(run).set_index("gene")["score"] of every run.'
        )
        raise KeyError(msg)
    return table
