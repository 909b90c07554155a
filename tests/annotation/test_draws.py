import numpy as np
import pytest

from scbignn.annotation._draws import deal_folds, draw_labelled, validation_split


def test_folds_share_out_every_label():
    y = np.repeat([0, 1, 2, 3], [1, 2, 9, 10])
    fold = deal_folds(y, 3, np.random.default_rng(0))
    assert fold[0] == -1
    assert len(set(fold[y == 1])) == 2
    for label in (2, 3):
        np.testing.assert_array_less(np.ptp(np.bincount(fold[y == label], minlength=3)), 2)
    assert np.ptp(np.bincount(fold[fold >= 0])) <= 1


def test_rare_labels_are_all_kept_where_cells_are_drawn():
    y = np.repeat([0, 1, 2, -1], [1000, 60, 3, 500])
    drawn = draw_labelled(y, 200, np.random.default_rng(0))
    assert np.bincount(y[drawn]).tolist() == [188, 50, 3]
    np.testing.assert_array_equal(drawn, np.unique(drawn))
    np.testing.assert_array_equal(draw_labelled(y, 5000, np.random.default_rng(0)), np.arange(1063))


@pytest.mark.parametrize("fraction", [0.0, 0.1, 0.25, 0.5, 0.9])
def test_validation_split_is_stratified(fraction):
    rng = np.random.default_rng(0)
    y = rng.permutation(np.repeat([-1, 0, 1, 2, 3, 4], [30, 40, 13, 5, 2, 1]))
    train, kept = validation_split(y, fraction, rng)
    np.testing.assert_array_equal(np.union1d(train, kept), np.flatnonzero(y >= 0))
    assert not set(train) & set(kept)
    assert (np.diff(train) > 0).all()
    assert (np.diff(kept) > 0).all()
    for label, count in enumerate([40, 13, 5, 2, 1]):
        n_kept = np.sum(y[kept] == label)
        assert abs(n_kept - fraction * count) <= 0.5 or n_kept == count - 1
        assert n_kept < count


@pytest.mark.parametrize("fraction", [0.1, 0.4])
def test_validation_split_of_few_cells_is_empty(fraction):
    train, kept = validation_split(np.array([0, 1, -1, 2]), fraction, np.random.default_rng(0))
    np.testing.assert_array_equal(train, [0, 1, 3])
    assert kept.shape == (0,)
    assert kept.dtype == np.int64


def test_validation_split_is_drawn_from_its_generator():
    y = np.zeros(100, dtype=np.int64)
    first, again, other = (validation_split(y, 0.2, np.random.default_rng(seed))[1] for seed in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert set(first) != set(other)
    assert len(first) == 20
