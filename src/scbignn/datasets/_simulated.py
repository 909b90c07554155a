"""`datasets.simulated`."""

from __future__ import annotations

import numpy as np
import pandas as pd
import scipy.sparse as sp
from anndata import AnnData


def simulated(
    n_cells: int = 300,
    n_genes: int = 200,
    n_types: int = 3,
    *,
    labeled: float = 0.5,
    fold_change: float = 4.0,
    rng: int | np.random.Generator = 0,
) -> AnnData:
    """Counts of cell types that differ in the level of marker genes, with half of the labels hidden.

    Gene levels are log-normal and library sizes vary about twofold; each type raises a tenth of the genes, its own
    markers, by `fold_change`; counts are Poisson. It needs no download, and its truth is known.

    Parameters
    ----------
    n_cells, n_genes, n_types
        Shape of the data; cells are dealt to types in turn.
    labeled
        Share of the cells of each type whose label is shown.
    fold_change
        Level of a marker in its own type over its level elsewhere.
    rng
        Seed or generator.

    Returns
    -------
    AnnData
        With integer counts in `X` (CSR float32); `obs["truth"]`, the type of every cell; `obs["cell_type"]`, the same
        with "Unknown" where hidden; `var["marker_of"]`, the type that a gene marks, or "".
    """
    rng = np.random.default_rng(rng)
    names = [f"type {number}" for number in range(n_types)]
    kind = np.arange(n_cells) % n_types
    marker_of = np.full(n_genes, -1)
    n_markers = max(1, n_genes // 10)
    markers = rng.permutation(n_genes)[: n_types * n_markers]
    marker_of[markers] = np.arange(len(markers)) // n_markers

    level = rng.lognormal(0, 1, n_genes)
    mean = level * np.where(marker_of == kind[:, None], fold_change, 1.0)
    depth = 2 * n_genes * rng.lognormal(0, 0.3, n_cells)
    counts = rng.poisson(mean / mean.sum(1, keepdims=True) * depth[:, None])
    counts[np.arange(n_cells), rng.integers(n_genes, size=n_cells)] += 1  # no cell is empty

    truth = pd.Categorical.from_codes(kind, categories=names)
    shown = np.zeros(n_cells, dtype=bool)
    for number in range(n_types):
        cells = rng.permutation(np.flatnonzero(kind == number))
        shown[cells[: max(1, round(labeled * len(cells)))]] = True
    obs = pd.DataFrame(
        {"truth": truth, "cell_type": pd.Categorical(np.where(shown, truth.astype(str), "Unknown"))},
        index=[f"cell_{number}" for number in range(n_cells)],
    )
    var = pd.DataFrame(
        {"marker_of": ["" if number < 0 else names[number] for number in marker_of]},
        index=[f"gene_{number}" for number in range(n_genes)],
    )
    return AnnData(sp.csr_matrix(counts, dtype=np.float32), obs=obs, var=var)
