"""What every method of the annotation benchmark is given, and what is asked of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import anndata
import numpy as np
import scanpy as sc
import scipy.sparse as sp
from sklearn.decomposition import PCA
from sklearn.preprocessing import normalize as unit_rows

from scbignn.annotation import normalize

SETS = ("baron_mouse", "zheng_sorted_4k", "pbmc3k", "worm_neuron", "cite_cbmc_top2000", "pbmc68k_reduced")
FOLDS = Path(__file__).parent / "folds"
#: Types with fewer cells are left out: not every fold could hold one.
_MIN_CELLS = 5


@dataclass
class Problem:
    """Cells, some of them labelled. Nobody is given the labels of the others."""

    counts: sp.csr_matrix
    """(N, M), integer counts, or values proportional to counts in each cell."""
    y: np.ndarray
    """(N,) codes; -1 where hidden."""
    n_labels: int
    seed: int
    test: np.ndarray = field(repr=False)
    """Cells whose labels are asked for."""
    batch: np.ndarray | None = None
    """(N,) codes, for methods that ask for them."""

    @property
    def train(self) -> np.ndarray:
        """The labelled cells."""
        return np.flatnonzero(self.y >= 0)

    @cached_property
    def x(self) -> sp.csr_matrix:
        """log1p of counts per 10,000, rows of unit length."""
        return unit_rows(normalize(self.counts, 1e4)).tocsr()

    @cached_property
    def components(self) -> np.ndarray:
        """50 principal components of all cells (transductive), (N, 50)."""
        return PCA(50, svd_solver="arpack", random_state=self.seed).fit_transform(self.x)


def load(name: str, folder: Path) -> tuple[sp.csr_matrix, np.ndarray, list[str]]:
    """Counts, codes and names of the labels of one set."""
    if name == "pbmc68k_reduced":
        adata = sc.datasets.pbmc68k_reduced()
        counts, labels = adata.raw.X.expm1(), adata.obs["bulk_labels"].astype(str)
    else:
        adata = anndata.read_h5ad(folder / f"{name}.h5ad")
        counts, labels = adata.X, adata.obs["cell_type"].astype(str)
    size = labels.map(labels.value_counts())
    kept = (size >= _MIN_CELLS).to_numpy()
    labels = labels[kept].astype("category")
    return (
        counts[kept].tocsr().astype(np.float32),
        labels.cat.codes.to_numpy().astype(np.int64),
        list(labels.cat.categories),
    )


def folds(name: str) -> np.ndarray:
    """The fold of each cell, a digit a cell in `folds/<name>.txt`."""
    return np.array(list((FOLDS / f"{name}.txt").read_text().strip()), dtype=int)


def few_labelled(y: np.ndarray, n: int, seed: int) -> np.ndarray:
    """`n` cells of each label, and all but one of a label that has no more than that."""
    rng = np.random.default_rng(seed)
    cells = [rng.permutation(np.flatnonzero(y == label)) for label in np.unique(y)]
    return np.sort(np.concatenate([own[: min(n, len(own) - 1)] for own in cells]))
