"""What is known of genes without the network: vectors, statistics, co-expression. An encoder gives the vectors."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import scipy.sparse as sp
import torch
from scipy.stats import rankdata

from ..graph import nearest_neighbors

#: Standardised expression (n_cells, n_genes) -> a vector for each gene, (n_genes, d), or for each gene in k cells that stand
#: for it, (n_genes, k, d).
Encoder = Callable[[np.ndarray], np.ndarray]

#: Numbers of co-expressed genes whose known regulators say something about a gene's own.
NEIGHBORS = (10, 50)


class Genes(NamedTuple):
    """What expression says of G genes and of n TFs with each of them."""

    vectors: np.ndarray
    """(G, d) float64, each column with mean 0 and variance 1, or 0 throughout."""
    statistics: np.ndarray
    """(G, 3) float64, standardised too: mean, standard deviation, share of cells that express the gene."""
    pearson: np.ndarray
    """(n, G) float64, correlation of each TF with each gene over cells."""
    spearman: np.ndarray
    """(n, G) float64, that of their ranks."""
    neighbors: tuple[sp.csr_matrix, ...]
    """For each of `NEIGHBORS`: (G, G), row j averages over the genes whose vectors point as that of j does."""
    cells: np.ndarray | None = None
    """(G, k, d) float64, the vectors of each gene in k cells, on the scale of `vectors`, which are their means; or None."""


def expression_encoder(n_components: int) -> Encoder:
    """Loadings of the principal components of standardised expression."""

    def encode(z: np.ndarray) -> np.ndarray:
        return components(z.T, n_components)

    return encode


def table_encoder(table: np.ndarray, n_components: int) -> Encoder:
    """Given vectors, (G, d) or (G, k, d), by principal components; rows of NaN stand for genes without a vector.

    Of vectors in k cells, components are those of the means, and every cell's vector is projected on them.
    """

    def encode(z: np.ndarray) -> np.ndarray:
        has = np.isfinite(table).all(axis=tuple(range(1, table.ndim)))
        known = table[has]
        if table.ndim == 2:
            inside = components(standardize(known), n_components)
            found = np.zeros((len(table), min(n_components, table.shape[1])))
            found[has, : inside.shape[1]] = inside
            return found
        mean = known.mean(1)
        centred = (known - mean.mean(0)) / np.maximum(mean.std(0), 1e-12)
        basis = np.linalg.svd(centred.mean(1), full_matrices=False)[2][:n_components]
        found = np.zeros((len(table), table.shape[1], len(basis)))
        found[has] = centred @ basis.T
        return found

    return encode


def describe_genes(x: np.ndarray, tfs: np.ndarray, encoder: Encoder, *, rng: np.random.Generator) -> Genes:
    """Encode genes, and correlate TFs with them.

    Parameters
    ----------
    x
        Expression on a log scale, (n_cells, G) float64.
    tfs
        The gene that each TF is, (n,).
    """
    z = standardize(x)
    raw = encoder(z)
    in_cells = raw if raw.ndim == 3 else None
    if in_cells is not None:
        raw = in_cells.mean(1)
    statistics = np.column_stack([x.mean(0), x.std(0), (x > 0).mean(0)])
    ranks = standardize(rankdata(x, axis=0))
    n_cells, n_genes = x.shape
    unit = raw / np.maximum(np.linalg.norm(raw, axis=1, keepdims=True), 1e-12)
    neighbors = []
    for k in NEIGHBORS:
        k = min(k, n_genes - 1)
        graph = nearest_neighbors(unit, k, device=torch.device("cpu"), seed=int(rng.integers(2**31))).adjacency()
        neighbors.append((graph / k).tocsr())
    return Genes(
        vectors=standardize(raw),
        statistics=standardize(statistics),
        pearson=z[:, tfs].T @ z / n_cells,
        spearman=ranks[:, tfs].T @ ranks / n_cells,
        neighbors=tuple(neighbors),
        cells=None if in_cells is None else _on_scale_of(raw, in_cells),
    )


def components(x: np.ndarray, n_components: int) -> np.ndarray:
    """Scores of the first principal components of rows, (n, d) -> (n, n_components or fewer).

    The sign of each is such that its largest entry is positive.
    """
    x = x - x.mean(0)
    k = min(n_components, *x.shape)
    small = x @ x.T if x.shape[0] <= x.shape[1] else x.T @ x
    values, vectors = np.linalg.eigh(small)
    order = np.argsort(-values)[:k]
    values, vectors = np.maximum(values[order], 0), vectors[:, order]
    scores = vectors * np.sqrt(values) if x.shape[0] <= x.shape[1] else x @ vectors
    sign = np.sign(scores[np.abs(scores).argmax(0), np.arange(k)])
    return scores * np.where(sign == 0, 1, sign)


def standardize(x: np.ndarray) -> np.ndarray:
    """Columns with mean 0 and variance 1; a constant column becomes 0."""
    return _on_scale_of(x, x)


def _on_scale_of(x: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Values, (..., d), shifted and scaled as :func:`standardize` does with the columns of x, (n, d)."""
    deviation = x.std(0)
    return np.where(deviation > 1e-12, (values - x.mean(0)) / np.maximum(deviation, 1e-12), 0.0)
