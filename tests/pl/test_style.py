import numpy as np
import pytest

from scbignn.pl._style import apart, plain


@pytest.mark.parametrize("seed", range(5))
def test_apart_keeps_order_and_distance_and_is_closest(seed):
    rng = np.random.default_rng(seed)
    positions, gap = rng.random(12), 0.06
    moved = apart(positions, gap)
    assert (np.argsort(moved) == np.argsort(positions)).all()
    assert np.diff(np.sort(moved)).min() >= gap - 1e-12
    # The least-squares optimum: no feasible neighbour of it is closer.
    cost = np.square(moved - positions).sum()
    for _ in range(200):
        other = np.sort(moved) + rng.normal(0, 0.02, 12)
        if np.diff(other).min() >= gap:
            assert np.square(other - np.sort(positions)).sum() >= cost


def test_apart_stays_within_limits():
    rng = np.random.default_rng(0)
    positions, gap = np.r_[np.full(8, 0.01), 0.5, 0.99, 1.0], 0.06
    moved = apart(positions, gap, low=0, high=1)
    assert moved.min() >= 0
    assert moved.max() <= 1
    assert np.diff(moved).min() >= gap - 1e-12
    cost = np.square(moved - positions).sum()
    for _ in range(500):
        other = moved + rng.normal(0, 0.02, len(moved))
        if np.diff(other).min() >= gap and other.min() >= 0 and other.max() <= 1:
            assert np.square(other - positions).sum() >= cost


def test_apart_leaves_alone_what_is_apart():
    positions = np.array([0.9, 0.1, 0.5])
    np.testing.assert_allclose(apart(positions, 0.2), positions)
    np.testing.assert_allclose(apart(np.array([0.5, 0.5]), 0.2), [0.4, 0.6])
    assert apart(np.empty(0), 1).shape == (0,)


def test_plain_names_are_no_maths():
    assert plain("$a_$ b") == r"\$a_\$ b"
