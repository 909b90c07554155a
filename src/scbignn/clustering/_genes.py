"""Genes whose dispersion stands out among genes of like mean (Satija et al. 2015), from moments alone."""

from __future__ import annotations

import numpy as np
import pandas as pd

_N_BINS = 20


def dispersion_genes(mean: np.ndarray, variance: np.ndarray, n_top: int) -> np.ndarray:
    """The genes that ``scanpy.pp.highly_variable_genes(flavor="seurat", n_top_genes=...)`` picks.

    The logarithm of variance / mean is compared with that of the genes in the same of 20 bins of log(1 + mean). Here it
    comes from moments, so that cells can be read in parts.

    Parameters
    ----------
    mean, variance
        Of each gene over cells, on a linear scale, float64, shape (M,).
    n_top
        Genes to pick; of equal ones the first, and fewer where fewer vary.

    Returns
    -------
    Positions, int64, ascending.
    """
    varies = (variance > 0) & (mean > 0)
    dispersion = np.full(len(mean), np.nan)
    dispersion[varies] = np.log(variance[varies] / mean[varies])
    bins = pd.cut(np.log1p(np.maximum(mean, 1e-12)), bins=_N_BINS)
    within = pd.Series(dispersion).groupby(bins, observed=True)
    center, spread = within.transform("mean"), within.transform("std")
    alone = spread.isna()  # a bin with one gene, which then scores 1
    score = ((dispersion - center.where(~alone, 0)) / spread.where(~alone, center)).to_numpy(copy=True)
    score[~np.isfinite(score)] = -np.inf
    score[~varies] = -np.inf
    ranked = np.argsort(-score, kind="stable")[: min(n_top, int(varies.sum()))]
    return np.sort(ranked)
