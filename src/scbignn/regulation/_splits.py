"""Which pairs are hidden together: edges, whole targets, whole TFs, or both."""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np

Split = Literal["edge", "target", "tf", "both"]
SPLITS = get_args(Split)


def own_pairs(tfs: np.ndarray, n_genes: int) -> np.ndarray:
    """The pairs of a TF with itself, (n_tfs, n_genes) bool: they are never asked for."""
    own = np.zeros((len(tfs), n_genes), dtype=bool)
    own[np.arange(len(tfs)), tfs] = True
    return own


def is_symmetric(known: np.ndarray, tfs: np.ndarray) -> bool:
    """Whether most edges between two TFs are known in both directions, as in networks of protein interactions.

    Of fewer than 20 such edges nothing is concluded.
    """
    among = known[:, tfs]
    return bool(among.sum() >= 20 and (among & among.T).sum() > 0.5 * among.sum())


def deal(
    known: np.ndarray, tfs: np.ndarray, split: Split, n_folds: int, rng: np.random.Generator, *, symmetric: bool = False
) -> np.ndarray:
    """Deal pairs to folds that are hidden one at a time.

    ``"edge"`` deals the known targets of each TF evenly, and its other genes likewise, so that each fold has the same
    share of edges. ``"target"`` and ``"tf"`` deal genes and TFs, likewise by their number of edges. ``"both"`` deals
    both: there are `n_folds` ** 2 folds, and fold (a, b) holds the TFs of a and the genes of b.

    Parameters
    ----------
    known
        Edges, (n_tfs, n_genes) bool.
    tfs
        The gene that each TF is, (n_tfs,).
    symmetric
        With ``split="edge"``, deal a pair of TFs and its reverse to one fold.

    Returns
    -------
    The fold of each pair, (n_tfs, n_genes) int64; -1 for a TF with itself.
    """
    n_tfs, n_genes = known.shape
    if split == "edge":
        fold = np.empty(known.shape, dtype=np.int64)
        for tf in range(n_tfs):
            for kind in (True, False):
                genes = np.flatnonzero(known[tf] == kind)
                fold[tf, genes] = _evenly(len(genes), n_folds, rng)
        if symmetric:
            among = fold[:, tfs]
            lower = np.tril_indices(n_tfs, -1)
            among[lower] = among.T[lower]
            fold[:, tfs] = among
    else:
        of_tf = _by_size(known.sum(1), n_folds, rng) if split in ("tf", "both") else np.zeros(n_tfs, dtype=np.int64)
        of_gene = _by_size(known.sum(0), n_folds, rng) if split != "tf" else np.zeros(n_genes, dtype=np.int64)
        fold = of_tf[:, None] * (n_folds if split == "both" else 1) + of_gene
    return np.where(own_pairs(tfs, n_genes), -1, fold)


def train_of(
    fold: np.ndarray, number: int, tfs: np.ndarray, split: Split, n_folds: int, *, symmetric: bool
) -> np.ndarray:
    """The pairs that may be learned from while fold `number` is hidden, (n_tfs, n_genes) bool.

    None of the fold itself. With ``"both"``, none of its TFs and none of its genes. In a symmetric network, none whose
    reverse is hidden: it would give the answer away.

    Parameters
    ----------
    fold, tfs, split, n_folds, symmetric
        As of :func:`deal`, and what it returned.
    number
        The fold that is hidden.
    """
    if split == "both":
        shown = (fold // n_folds != number // n_folds) & (fold % n_folds != number % n_folds)
    else:
        shown = fold != number
    shown &= fold >= 0
    if symmetric:
        among = shown[:, tfs] & ~(fold == number)[:, tfs].T
        shown[:, tfs] = among
    return shown


def inner_folds(
    train: np.ndarray,
    known: np.ndarray,
    tfs: np.ndarray,
    split: Split,
    n_folds: int,
    rng: np.random.Generator,
    *,
    symmetric: bool,
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Folds within the training pairs, dealt as the pairs outside were: what is shown, and what is asked for."""
    n_folds = max(2, round(np.sqrt(n_folds))) if split == "both" else n_folds
    fold = deal(known & train, tfs, split, n_folds, rng, symmetric=symmetric)
    numbers = range(n_folds**2 if split == "both" else n_folds)
    found = []
    for number in numbers:
        asked = (fold == number) & train
        if asked.any():
            found.append((train_of(fold, number, tfs, split, n_folds, symmetric=symmetric) & train, asked))
    return found


def _evenly(n: int, n_folds: int, rng: np.random.Generator) -> np.ndarray:
    """Numbers of folds for n things, as even as can be, in random order; which folds get one more is random too."""
    return rng.permutation(rng.permutation(n_folds)[np.arange(n) % n_folds])


def _by_size(size: np.ndarray, n_folds: int, rng: np.random.Generator) -> np.ndarray:
    """Deal things to folds so that each fold has as many, and of every size: the largest first, in rounds."""
    order = rng.permutation(len(size))
    order = order[np.argsort(-size[order], kind="stable")]
    fold = np.empty(len(size), dtype=np.int64)
    for start in range(0, len(size), n_folds):
        part = order[start : start + n_folds]
        fold[part] = rng.permutation(n_folds)[: len(part)]
    return fold
