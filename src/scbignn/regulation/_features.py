"""What the shown edges, and expression, say of each pair of a TF and a gene."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import scipy.sparse as sp
from scipy.special import expit
from sklearn.utils.extmath import randomized_svd

from ._encoders import Genes
from ._splits import Split

#: Ranks of the factorisations of what the degree baseline leaves over.
_RANKS = (4, 12)
_SYMMETRIC_RANK = 24


class Features(NamedTuple):
    """F numbers of each pair, and what each is called."""

    values: np.ndarray
    """(n_tfs, n_genes, F) float64."""
    names: list[str]


def network_features(
    known: np.ndarray, shown: np.ndarray, logits: np.ndarray, tfs: np.ndarray, *, symmetric: bool
) -> Features:
    """What the shown part of the network says of every pair, without expression.

    Nothing here depends on pairs that are not shown; so for a pair that is not shown, nothing depends on itself.

    Parameters
    ----------
    known, shown
        Edges, and pairs to learn from, (n_tfs, n_genes) bool.
    logits
        The degree baseline of the shown pairs, (n_tfs, n_genes).
    tfs
        The gene that each TF is, (n_tfs,).
    symmetric
        Whether edges mean the same in both directions.
    """
    n_genes = known.shape[1]
    edges = (known & shown).astype(np.float64)
    left = np.where(shown, known - expit(logits), 0.0)
    found = {
        "residuals of similar TFs": _similar(left @ left.T, left),
        "residuals of similar targets": _similar_columns(left),
        "edges of TFs with common targets": _similar(edges @ (edges * _adamic_adar(edges.sum(0))).T, edges),
    }
    for rank in _RANKS:
        found[f"factorisation of rank {rank}"] = _factorise(left, rank)
    both = sp.csr_matrix(edges)
    of_genes = sp.csr_matrix((both.data, (tfs[both.tocoo().row], both.indices)), shape=(n_genes, n_genes))
    around = of_genes.maximum(of_genes.T).tocsr()
    degree = np.asarray(around.sum(1)).ravel()
    middle = sp.diags(_adamic_adar(degree))
    found["common neighbours"] = np.asarray((around[tfs] @ around).todense())
    found["common neighbours, rare ones first"] = np.asarray((around[tfs] @ middle @ around).todense())
    found["targets of the target"] = np.broadcast_to(np.log1p(np.asarray(of_genes.sum(1)).ravel()), known.shape)
    if symmetric:
        found["symmetric factorisation"] = _factorise_symmetric(around, degree, tfs)
    return Features(np.stack(list(found.values()), axis=-1), list(found))


def expression_features(
    known: np.ndarray, shown: np.ndarray, logits: np.ndarray, genes: Genes, split: Split
) -> Features:
    """What expression says of every pair, alone and together with the shown part of the network.

    Where TFs are held out, correlations with the TF are left out: what they mean for one TF says little of another, and
    held-out TFs score worse with them.
    """
    shape = known.shape
    left = np.where(shown, known - expit(logits), 0.0)
    columns = [np.broadcast_to(column, shape) for column in np.column_stack([genes.statistics, genes.vectors]).T]
    names = ["mean", "standard deviation", "share of cells"]
    names += [f"component {number}" for number in range(1, genes.vectors.shape[1] + 1)]
    if split in ("edge", "target"):
        columns += [genes.pearson, np.abs(genes.pearson), genes.spearman, np.abs(genes.spearman)]
        names += ["correlation", "size of the correlation", "rank correlation", "size of the rank correlation"]
        for around in genes.neighbors:
            columns.append(_over_neighbors(left, shown, around))
            names.append(f"residuals of {int(np.diff(around.indptr).max(initial=0))} co-expressed targets")
    return Features(np.stack(columns, axis=-1), names)


def _over_neighbors(left: np.ndarray, shown: np.ndarray, around: sp.csr_matrix) -> np.ndarray:
    """The mean of what is left over of the pairs of each TF with genes like this one, as far as they are shown."""
    total, number = (around @ left.T).T, (around @ shown.T.astype(np.float64)).T
    return total / (number + 0.1)


def _similar(kernel: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Values of other TFs, weighted by cosine similarity, (n, n), (n, G) -> (n, G)."""
    size = np.sqrt(np.maximum(np.diag(kernel), 0))
    kernel = kernel / np.maximum(size[:, None] * size, 1e-9)
    np.fill_diagonal(kernel, 0)
    return kernel @ values / np.maximum(np.abs(kernel).sum(1, keepdims=True), 1e-9)


def _similar_columns(values: np.ndarray) -> np.ndarray:
    """Values of other targets, weighted by cosine similarity, without a matrix of all genes by all genes."""
    unit = values / np.maximum(np.linalg.norm(values, axis=0), 1e-9)
    own = (unit * unit).sum(0)
    return (values @ unit.T) @ unit - values * own


def _adamic_adar(degree: np.ndarray) -> np.ndarray:
    return 1 / np.log(np.maximum(degree, 2))


def _factorise(values: np.ndarray, rank: int) -> np.ndarray:
    """The best approximation of the rank."""
    u, s, v = np.linalg.svd(values, full_matrices=False)
    return (u[:, :rank] * s[:rank]) @ v[:rank]


def _factorise_symmetric(around: sp.csr_matrix, degree: np.ndarray, tfs: np.ndarray) -> np.ndarray:
    """Rows of TFs in the best symmetric approximation of the network less what degrees explain."""
    dense = around.toarray() - np.outer(degree, degree) / max(degree.sum(), 1.0)
    u, size, v = randomized_svd(dense, min(_SYMMETRIC_RANK, len(dense)), n_iter=7, random_state=0)
    return (u[tfs] * size) @ v
