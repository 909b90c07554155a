"""`datasets.simulated_network`."""

from __future__ import annotations

import numpy as np
import pandas as pd
import scipy.sparse as sp
from anndata import AnnData


def simulated_network(
    n_cells: int = 400,
    n_tfs: int = 20,
    n_genes: int = 250,
    *,
    n_programs: int = 5,
    density: float = 0.15,
    strength: float = 0.5,
    rng: int | np.random.Generator = 0,
) -> tuple[AnnData, pd.DataFrame]:
    """Counts of genes that follow their TFs, and the network they follow.

    The first `n_tfs` genes are TFs. TFs and genes belong to programs; a TF regulates genes of its own program five times
    as often as others, and busy TFs and popular targets have more edges, as in real networks. The log level of a TF
    varies between cells; that of a target is the mean of its TFs' levels times `strength`, and noise. Counts are Poisson.

    Parameters
    ----------
    n_cells, n_tfs, n_genes
        Shape of the data; `n_genes` counts the TFs too.
    n_programs
        Groups of TFs and genes.
    density
        Share of pairs that are edges, about.
    strength
        How closely targets follow; 0 makes expression tell nothing.
    rng
        Seed or generator.

    Returns
    -------
    The data, with integer counts in `X` (CSR float32) and `var["is_tf"]`, and the network, a DataFrame with the columns
    `source`, `target` and `weight`, which is 1.
    """
    rng = np.random.default_rng(rng)
    program = rng.integers(n_programs, size=n_genes)
    odds = rng.lognormal(0, 0.7, n_tfs)[:, None] * rng.lognormal(0, 0.7, n_genes)
    odds *= np.where(program[:n_tfs, None] == program, 5.0, 1.0)
    odds[np.arange(n_tfs), np.arange(n_tfs)] = 0
    edges = rng.random((n_tfs, n_genes)) < np.minimum(odds * density / odds.mean(), 0.95)

    level = rng.normal(size=(n_cells, n_genes))
    followed = level[:, :n_tfs] @ edges / np.sqrt(np.maximum(edges.sum(0), 1))
    targets = slice(n_tfs, None)
    level[:, targets] = strength * followed[:, targets] + np.sqrt(max(1 - strength**2, 0.0)) * level[:, targets]
    mean = np.exp(0.7 * level + rng.normal(0.5, 0.7, n_genes))
    counts = rng.poisson(mean * rng.lognormal(0, 0.2, (n_cells, 1)))
    counts[np.arange(n_cells), rng.integers(n_genes, size=n_cells)] += 1  # no cell is empty

    names = [f"TF_{number}" for number in range(n_tfs)] + [f"gene_{number}" for number in range(n_genes - n_tfs)]
    var = pd.DataFrame({"is_tf": np.arange(n_genes) < n_tfs}, index=names)
    obs = pd.DataFrame(index=[f"cell_{number}" for number in range(n_cells)])
    source, target = np.nonzero(edges)
    network = pd.DataFrame({"source": var.index[source], "target": var.index[target], "weight": 1.0})
    return AnnData(sp.csr_matrix(counts, dtype=np.float32), obs=obs, var=var), network
