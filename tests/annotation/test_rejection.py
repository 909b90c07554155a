import json

import numpy as np
import pytest
from small import CPU

from scbignn.annotation import Thresholds, label_shapes, novelty_score, rejection_thresholds
from scbignn.annotation._rejection import _RIDGE
from scbignn.graph import nearest_neighbors


def points(n=60, n_features=4, n_labels=3, *, seed=0):
    rng = np.random.default_rng(seed)
    y = np.arange(n) % n_labels
    return rng.normal(size=(n_labels, n_features))[y] * 4 + rng.normal(size=(n, n_features)), y


def dense(x, y, cell, n_labels):
    """Squared distances of one cell by their definition."""
    means = np.array([x[y == label].mean(0) for label in range(n_labels)])
    residual = x - means[y]
    covariance = residual.T @ residual / (len(x) - 1)
    covariance += _RIDGE * np.trace(covariance) / len(covariance) * np.eye(len(covariance))
    return np.array([(cell - mean) @ np.linalg.inv(covariance) @ (cell - mean) for mean in means])


def test_distances_by_their_definition():
    x, y = points()
    new = points(5, seed=1)[0]
    found = label_shapes(x, y, 3).distances(new)
    np.testing.assert_allclose(found, [dense(x, y, cell, 3) for cell in new], rtol=1e-9)


def test_a_labelled_cell_has_no_part_in_its_own_distances():
    """Exact but for the ridge, which is that of all cells."""
    x, y = points(24)
    found = label_shapes(x, y, 3).distances(x, y)
    residual = x - np.array([x[y == label].mean(0) for label in range(3)])[y]
    ridge = _RIDGE * np.trace(residual.T @ residual / 23) / 4
    for cell in range(24):
        others = np.arange(24) != cell
        own, labels = x[others], y[others]
        means = np.array([own[labels == label].mean(0) for label in range(3)])
        rest = own - means[labels]
        inverse = np.linalg.inv(rest.T @ rest / 23 + ridge * np.eye(4))
        expected = [(x[cell] - mean) @ inverse @ (x[cell] - mean) for mean in means]
        np.testing.assert_allclose(found[cell], expected, rtol=1e-9)


def test_unlabelled_cells_have_no_part_at_all():
    x, y = points()
    shown = np.where(np.arange(60) < 40, y, -1)
    shapes = label_shapes(x, shown, 3)
    np.testing.assert_allclose(shapes.distances(x, shown)[40:], label_shapes(x[:40], y[:40], 3).distances(x[40:]))


def test_labels_with_one_cell_and_without_any():
    x, y = points()
    y[0] = 3
    shapes = label_shapes(x, y, 5)
    found = shapes.distances(x, y)
    assert np.isinf(found[0, 3])
    assert np.isfinite(found[1:, 3]).all()
    assert np.isinf(found[:, 4]).all()
    assert np.isfinite(novelty_score(found, np.zeros((60, 5)))).all()


@pytest.mark.parametrize("n", [1, 2, 3])
def test_very_few_cells(n):
    x, y = points(n)
    found = label_shapes(x, y, 3).distances(points(6, seed=1)[0])
    assert np.isfinite(found[:, :n]).all()


def test_no_labelled_cell():
    with pytest.raises(ValueError, match="Label some cells"):
        label_shapes(np.ones((3, 2)), np.full(3, -1), 2)


def test_score():
    distances, decisions = np.array([[1.0, np.e**2], [np.e, 9.0]]), np.array([[1.0, -1.0], [-0.5, -0.3]])
    np.testing.assert_allclose(novelty_score(distances, decisions), [0 - 0.5, 1 + 0.15], rtol=1e-6)


def test_neighbours_share_their_scores():
    x, y = points()
    distances, decisions = label_shapes(x, y, 3).distances(x, y), np.zeros((60, 3))
    graph = nearest_neighbors(x, 4, device=CPU)
    alone, shared = novelty_score(distances, decisions), novelty_score(distances, decisions, graph)
    np.testing.assert_allclose(shared, [alone[[i, *near]].mean() for i, near in enumerate(graph.indices)], rtol=1e-5)


def test_novel_cells_score_higher():
    x, y = points(400)
    novel = np.random.default_rng(1).normal(size=(40, 4)) + [8, -8, 8, -8]
    shapes = label_shapes(x[:300], y[:300], 3)
    known, other = (novelty_score(shapes.distances(part), np.zeros((len(part), 3))) for part in (x[300:], novel))
    assert np.mean(known[:, None] < other) > 0.95


def test_threshold_is_the_corrected_order_statistic():
    score = np.random.default_rng(0).permutation(39).astype(float)
    found = rejection_thresholds(score, np.zeros(39, dtype=int), 1, false_rejection_rate=0.1)
    assert found.values == (35.0,)  # rank ceil(40 * 0.9) = 36
    assert found.reject(np.array([35.0, 35.5]), np.array([0, 0])).tolist() == [False, True]


@pytest.mark.parametrize(("alpha", "n"), [(0.05, 19), (0.05, 60), (0.1, 9), (0.2, 50)])
def test_the_asked_rate_is_met(alpha, n):
    """The mean over many draws of labelled cells lies between alpha - 1 / (n + 1) and alpha."""
    rng = np.random.default_rng(0)
    rates = []
    for _ in range(2000):
        found = rejection_thresholds(rng.random(n), np.zeros(n, dtype=int), 1, false_rejection_rate=alpha)
        rates.append(1 - found.values[0])
    error = 4 * np.std(rates) / np.sqrt(len(rates))
    assert alpha - 1 / (n + 1) - error < np.mean(rates) < alpha + error


def test_each_label_has_a_threshold_of_its_own():
    rng = np.random.default_rng(0)
    predicted = np.repeat([0, 1], 4000)
    score = rng.normal(size=8000) + 5 * predicted
    found = rejection_thresholds(score, predicted, 2)
    assert found.false_rejection_rate == 0.05
    rejected = found.reject(rng.normal(size=8000) + 5 * predicted, predicted)
    assert [rejected[predicted == label].mean() for label in (0, 1)] == pytest.approx([0.05, 0.05], abs=0.015)


def test_labels_with_few_cells_share_a_threshold():
    score = np.r_[np.arange(100), 1000 + np.arange(20)].astype(float)
    predicted = np.r_[np.zeros(100, int), np.tile([1, 2], 10)]
    found = rejection_thresholds(score, predicted, 4)
    assert found.pooled == (False, True, True, True)
    assert found.n_cells == (100, 10, 10, 0)
    assert found.values == (95.0, 1019.0, 1019.0, 1019.0)


def test_where_all_few_are_too_few_all_cells_are_asked():
    score, predicted = np.arange(105.0), np.r_[np.zeros(100, int), np.ones(5, int)]
    found = rejection_thresholds(score, predicted, 2)
    assert found.values == (95.0, 100.0)  # ranks 96 of 100 and 101 of 105


def test_nothing_is_rejected_where_nothing_can_be_promised():
    found = rejection_thresholds(np.arange(18.0), np.zeros(18, dtype=int), 1)
    assert found.values == (np.inf,)
    assert not found.reject(np.array([1e30]), np.array([0])).any()
    assert Thresholds.from_dict(json.loads(json.dumps(found.to_dict(), allow_nan=False))) == found


def test_json_round_trip():
    rng = np.random.default_rng(0)
    found = rejection_thresholds(rng.random(100).astype(np.float32), rng.integers(3, size=100), 4)
    assert Thresholds.from_dict(json.loads(json.dumps(found.to_dict()))) == found


@pytest.mark.parametrize("alpha", [0, 1, -0.1, "often"])
def test_rates_that_are_none(alpha):
    with pytest.raises(ValueError, match="within \\(0, 1\\)"):
        rejection_thresholds(np.arange(3.0), np.zeros(3, dtype=int), 1, false_rejection_rate=alpha)


def test_scores_that_are_none():
    with pytest.raises(ValueError, match="2 scores are NaN"):
        rejection_thresholds(np.array([np.nan, 1.0, np.nan]), np.zeros(3, dtype=int), 1)


def test_offset_is_what_another_batch_has_in_common_whatever_its_proportions():
    rng = np.random.default_rng(0)
    means = rng.normal(size=(3, 4)) * 5
    y = np.arange(300) % 3
    shapes = label_shapes(means[y] + rng.normal(size=(300, 4)) / 10, y, 3)
    predicted = np.repeat([0, 1, 2], [180, 19, 1])
    moved = means[predicted] + rng.normal(size=(200, 4)) / 10 + [1, -2, 0, 0.5]
    np.testing.assert_allclose(shapes.offset(moved, predicted), [1, -2, 0, 0.5], atol=0.1)


def test_offset_counts_a_label_by_the_precision_of_its_difference():
    points = np.array([[0.0], [0.0], [0.0], [10.0]])
    shapes = label_shapes(points, np.array([0, 0, 0, 1]), 2)
    new, predicted = np.array([[1.0], [1.0], [1.0], [14.0]]), np.array([0, 0, 0, 1])
    # Three cells against three, and one against one: precisions 1.5 and 0.5.
    np.testing.assert_allclose(shapes.offset(new, predicted), [(1.5 * 1 + 0.5 * 4) / 2])
