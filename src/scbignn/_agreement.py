"""How far several runs agree on which genes are important."""

from __future__ import annotations

from itertools import combinations

import pandas as pd

#: Genes of each run that are called its most important.
N_TOP = 50


def agreement(scores: pd.DataFrame, n_top: int = N_TOP) -> pd.DataFrame:
    """Every two runs, set against each other.

    Parameters
    ----------
    scores
        Genes x runs; NaN where a gene did not enter.
    n_top
        How many genes of each run are its most important; all, where fewer entered.

    Returns
    -------
    A row a pair, with the columns that :func:`scbignn.get.importance_stability` describes.
    """
    spearman = scores.corr(method="spearman", min_periods=3)
    rows = []
    for one, other in combinations(range(scores.shape[1]), 2):
        pair = scores.iloc[:, [one, other]]
        both = pair.dropna()
        row = {"run": str(scores.columns[one]), "other": str(scores.columns[other]), "n_both": len(both)}
        row["panel"] = _share(len(both), int(pair.notna().sum().max()))
        row["spearman"] = float(spearman.iloc[one, other])
        for name, genes in (("overlap", pair), ("overlap_of_both", both)):
            first, second = (set(_best(genes.iloc[:, column], n_top)) for column in range(2))
            row[name] = _share(len(first & second), max(len(first), len(second)))
        row["by_chance"] = _share(min(n_top, len(both)), len(both))
        rows.append(row)
    return pd.DataFrame(rows)


def mean_agreement(scores: dict[str, pd.DataFrame], n_top: int = N_TOP) -> pd.DataFrame:
    """The mean over pairs of runs, a row a measure of importance; NaN where there is one run only."""
    return pd.DataFrame(
        {name: agreement(table, n_top).mean(numeric_only=True) for name, table in scores.items()}
    ).T.astype(float)


def _best(scores: pd.Series, n_top: int) -> pd.Index:
    return scores.dropna().sort_values(ascending=False, kind="stable").index[:n_top]


def _share(part: int, whole: int) -> float:
    return part / whole if whole else float("nan")
