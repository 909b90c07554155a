import numpy as np
import pytest

from scbignn.regulation import SPLITS, deal, is_symmetric, train_of
from scbignn.regulation._splits import inner_folds


def problem(seed, *, symmetric=False):
    """Edges of 12 TFs, which are genes 3 to 14, to 40 genes."""
    rng = np.random.default_rng(seed)
    known = rng.random((12, 40)) < 0.2
    tfs = np.arange(3, 15)
    if symmetric:
        among = np.triu(rng.random((12, 12)) < 0.5, 1)
        known[:, tfs] = among | among.T
    known[np.arange(12), tfs] = False
    return known, tfs


def numbers(split, n_folds=4):
    return range(n_folds**2 if split == "both" else n_folds)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("symmetric", [False, True])
@pytest.mark.parametrize("split", SPLITS)
def test_what_is_asked_is_never_shown_and_every_pair_is_asked_once(split, symmetric, seed):
    known, tfs = problem(seed, symmetric=symmetric)
    fold = deal(known, tfs, split, 4, np.random.default_rng(seed), symmetric=symmetric)
    own = np.zeros(known.shape, dtype=bool)
    own[np.arange(12), tfs] = True
    np.testing.assert_array_equal(fold == -1, own)
    assert set(fold[~own]) == set(numbers(split))
    for number in numbers(split):
        asked = fold == number
        shown = train_of(fold, number, tfs, split, 4, symmetric=symmetric)
        assert not (asked & shown).any()
        assert not (shown & own).any()
        assert shown.any()
        if split in ("tf", "both"):
            assert not (shown.any(1) & asked.any(1)).any()
        if split in ("target", "both"):
            assert not (shown.any(0) & asked.any(0)).any()
        if symmetric:  # no reverse of what is asked
            assert not (shown[:, tfs] & asked[:, tfs].T).any()


@pytest.mark.parametrize("split", SPLITS)
def test_inner_folds_lie_within_training_and_are_shaped_alike(split):
    known, tfs = problem(0, symmetric=True)
    fold = deal(known, tfs, split, 4, np.random.default_rng(0), symmetric=True)
    train = train_of(fold, 0, tfs, split, 4, symmetric=True)
    folds = inner_folds(train, known, tfs, split, 4, np.random.default_rng(1), symmetric=True)
    np.testing.assert_array_equal(sum(asked.astype(int) for _, asked in folds), train.astype(int))
    for shown, asked in folds:
        assert not (shown & asked).any()
        assert not (shown & ~train).any()
        assert not (shown[:, tfs] & asked[:, tfs].T).any()


def test_edges_are_dealt_evenly_for_each_tf():
    known, tfs = problem(0)
    fold = deal(known, tfs, "edge", 4, np.random.default_rng(0))
    for tf in range(12):
        for kind in (True, False):
            pairs = (known[tf] == kind) & (fold[tf] >= 0)
            assert np.ptp(np.bincount(fold[tf, pairs], minlength=4)) <= 2


def test_targets_are_dealt_by_their_number_of_edges():
    known, tfs = problem(0)
    fold = deal(known, tfs, "target", 4, np.random.default_rng(0))
    of_gene = fold.max(0)
    assert np.ptp(np.bincount(of_gene)) == 0
    degrees = [known[:, of_gene == number].sum() for number in range(4)]
    assert np.ptp(degrees) <= 6


def test_only_networks_with_most_edges_both_ways_are_symmetric():
    assert is_symmetric(*problem(0, symmetric=True))
    assert not is_symmetric(*problem(0))
    assert not is_symmetric(np.zeros((12, 40), dtype=bool), np.arange(12))
