import dataclasses
from types import SimpleNamespace

import numpy as np
import pytest
import scipy.sparse as sp
from small import CPU, tiny

from scbignn.annotation import (
    ByBatch,
    Trust,
    _trust,
    calibrate,
    label_shapes,
    novelty_score,
    rejection_thresholds,
    trust_of,
)
from scbignn.annotation._draws import deal_folds
from scbignn.annotation._evidence import principal
from scbignn.graph import nearest_neighbors

N, C = 120, 3


@pytest.fixture
def found():
    """What `trust_of` reads of a run: 80 of 120 cells labelled, two of which were not cross-fitted."""
    rng = np.random.default_rng(0)
    kind = np.arange(N) % C
    y = np.where(np.arange(N) < 80, kind, -1)
    components = rng.normal(size=(C, 4))[kind] * 3 + rng.normal(size=(N, 4))
    decisions = np.where(np.arange(C) == kind[:, None], 1.0, -1.0) + rng.normal(size=(N, C)) / 2
    p = rng.dirichlet(np.ones(C), size=N) + np.eye(C)[kind]
    cross_fitted = (p / p.sum(1, keepdims=True)).astype(np.float32)
    cross_fitted[80:] = cross_fitted[[7, 8]] = np.nan
    components, decisions = components.astype(np.float32), decisions.astype(np.float32)
    neighbors = nearest_neighbors(components, 5, device=CPU)
    evidence = SimpleNamespace(components=components, n_components=4, cell_decisions=decisions)
    return SimpleNamespace(
        y=y,
        evidence=evidence,
        expression=sp.csr_matrix(np.hstack([components, rng.normal(size=(N, 3)) / 10]), dtype=np.float32),
        cross_fitted=cross_fitted,
        by_batch=None,
        fit=SimpleNamespace(neighbors=neighbors),
        config=tiny(anchor_refits=0, cross_fit_folds=3),
    )


@pytest.fixture
def known():
    return np.setdiff1d(np.arange(80), [7, 8])


def changed(found, **changes):
    return SimpleNamespace(**{**vars(found), **changes})


@pytest.mark.parametrize("of_its_own", [True, False])
def test_calibration_is_that_of_the_cross_fitted_cells(found, known, of_its_own):
    trust, score = trust_of(found, of_its_own=of_its_own, seed=3)
    assert trust.calibration == calibrate(found.cross_fitted[known], found.y[known], seed=3)
    np.testing.assert_array_equal(trust.predicted, found.cross_fitted[known].argmax(1))
    assert (score.shape, score.dtype) == ((N,), np.float32)
    np.testing.assert_array_equal(trust.novelty, score[known])


def test_the_seed_deals_the_folds_of_the_calibration(found):
    one, other = (trust_of(found, of_its_own=True, seed=seed)[0].calibration for seed in (0, 1))
    assert one.temperature == other.temperature
    assert one.after != other.after


def test_labelled_cells_are_scored_as_if_they_came_later(found):
    """Each fold in components of the other cells, by the distances to the other cells' labels."""
    _, score = trust_of(found, of_its_own=False, seed=0)
    labelled, fold = np.arange(80), deal_folds(found.y[:80], 10, np.random.default_rng(0))
    assert np.isnan(score[80:]).all()
    for number in range(10):
        cells = labelled[fold == number]
        others = np.setdiff1d(np.arange(N), cells)
        x = found.expression.toarray().astype(np.float64)
        _, _, right = np.linalg.svd(x[others], full_matrices=False)
        shapes = label_shapes((x @ right[:4].T)[others], found.y[others], C)
        expected = novelty_score(shapes.distances((x @ right[:4].T)[cells]), found.evidence.cell_decisions[cells])
        np.testing.assert_allclose(score[cells], expected, atol=1e-3)


def test_of_very_many_cells_there_are_fewer_folds(found, monkeypatch):
    seen = []
    monkeypatch.setattr(_trust, "principal", lambda *given: seen.append(1) or principal(*given))
    for few, n_folds in ((N, 10), (N - 1, found.config.cross_fit_folds)):
        monkeypatch.setattr(_trust, "DECOMPOSED_CELLS", few)
        trust_of(found, of_its_own=False, seed=0)
        assert len(seen) == n_folds
        seen.clear()


def test_where_labels_are_few_cells_of_the_run_are_scored_alone(found):
    few = changed(found, config=tiny(anchor_refits=1, few_labels=50))
    _, score = trust_of(few, of_its_own=True, seed=0)
    points = found.evidence.components
    distances = label_shapes(points, found.y, C).distances(points, found.y)
    np.testing.assert_array_equal(score, novelty_score(distances, found.evidence.cell_decisions))


def test_cells_of_the_run_are_scored_among_directions_and_in_company(found):
    _, score = trust_of(found, of_its_own=True, seed=0)
    points = found.evidence.components
    points = points / np.linalg.norm(points, axis=1, keepdims=True)
    distances = label_shapes(points, found.y, C).distances(points, found.y)
    expected = novelty_score(distances, found.evidence.cell_decisions, found.fit.neighbors)
    np.testing.assert_allclose(score, expected, rtol=1e-5)


def test_length_of_the_components_does_not_matter_to_cells_of_the_run(found):
    longer = SimpleNamespace(
        components=found.evidence.components * np.float32(2) ** (np.arange(N) % 5)[:, None],
        cell_decisions=found.evidence.cell_decisions,
    )
    one, other = (trust_of(run, of_its_own=True, seed=0)[1] for run in (found, changed(found, evidence=longer)))
    np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)


def test_a_cell_without_components(found):
    components = found.evidence.components.copy()
    components[100] = 0
    evidence = SimpleNamespace(components=components, cell_decisions=found.evidence.cell_decisions)
    _, score = trust_of(changed(found, evidence=evidence), of_its_own=True, seed=0)
    assert np.isfinite(score).all()


def test_score_of_new_cells_is_by_the_shapes_of_all_labelled_cells(found):
    trust, score = trust_of(found, of_its_own=False, seed=0)
    components, decisions = found.evidence.components[80:], found.evidence.cell_decisions[80:]
    new = trust.score(components, decisions)
    assert (new.shape, new.dtype) == ((40,), np.float32)
    distances = label_shapes(found.evidence.components, found.y, C).distances(components)
    np.testing.assert_array_equal(new, novelty_score(distances, decisions))
    assert trust.score(components + 50, decisions).min() > np.nanmax(score)


def test_thresholds_are_those_of_labelled_cells(found):
    trust, _ = trust_of(found, of_its_own=True, seed=0)
    for rate in (0.1, 0.3, "auto"):
        expected = rejection_thresholds(trust.novelty, trust.predicted, C, false_rejection_rate=rate)
        assert trust.thresholds(rate) == expected
    found_at = trust.thresholds(0.1)
    assert found_at.false_rejection_rate == 0.1
    assert sum(found_at.n_cells) == 78
    assert trust.thresholds("auto").false_rejection_rate == 0.05
    assert found_at.reject(trust.novelty, trust.predicted).mean() <= 0.1


@pytest.mark.parametrize("rate", [0, 1, -0.5, 3, "often", np.nan])
def test_rates_that_are_none(found, rate):
    with pytest.raises(ValueError, match=r"within \(0, 1\)"):
        trust_of(found, of_its_own=True, seed=0)[0].thresholds(rate)


def test_a_run_that_was_not_cross_fitted_has_no_trust(found):
    assert trust_of(changed(found, cross_fitted=None), of_its_own=True, seed=0) == (None, None)
    nothing = np.full_like(found.cross_fitted, np.nan)
    assert trust_of(changed(found, cross_fitted=nothing), of_its_own=False, seed=0) == (None, None)


@pytest.mark.parametrize("of_its_own", [True, False])
def test_without_components_probabilities_are_calibrated_and_nothing_is_strange(found, known, of_its_own):
    trust, score = trust_of(changed(found, evidence=None), of_its_own=of_its_own, seed=0)
    assert score is None
    assert (trust.shapes, trust.novelty) == (None, None)
    assert trust.calibration == calibrate(found.cross_fitted[known], found.y[known], seed=0)
    assert trust.score(np.ones((2, 4)), np.ones((2, C))) is None
    with pytest.raises(ValueError, match=r"no components .*Config\(anchor=True\)"):
        trust.thresholds(0.05)


def test_nothing_of_the_run_is_changed(found):
    arrays = found.y, found.cross_fitted, found.evidence.components, found.evidence.cell_decisions
    before = [array.copy() for array in arrays]
    trust, _ = trust_of(found, of_its_own=True, seed=0)
    for array, copy in zip(arrays, before, strict=True):
        np.testing.assert_array_equal(array, copy)
    with pytest.raises(dataclasses.FrozenInstanceError):
        trust.shapes = None
    assert isinstance(trust, Trust)


# --- batch by batch -------------------------------------------------------------------------------------------------


@pytest.fixture
def by_batch(found):
    """Four batches in two folds; the third and fourth lie elsewhere."""
    rng = np.random.default_rng(1)
    batches = np.arange(N) % 4
    fold = np.where((found.y >= 0) & np.isfinite(found.cross_fitted).all(1), batches // 2, -1)
    decisions = np.where(fold[:, None] >= 0, rng.normal(size=(N, C)), np.nan).astype(np.float32)
    moved = found.expression.toarray() + 4 * (batches[:, None] >= 2)
    told = ByBatch(found.cross_fitted, decisions, fold, batches)
    return changed(found, by_batch=told, expression=sp.csr_matrix(moved, dtype=np.float32))


def test_by_batch_the_calibration_weighs_and_holds_out_batches(by_batch, known):
    trust, _ = trust_of(by_batch, of_its_own=False, seed=0)
    y, p, batches = by_batch.y[known], by_batch.cross_fitted[known], by_batch.by_batch.batches[known]
    assert trust.calibration == calibrate(p, y, batches, seed=0)
    assert trust.calibration.held_out == "batches"


def test_by_batch_scores_of_a_query_know_nothing_of_the_fold(by_batch, known):
    trust, score = trust_of(by_batch, of_its_own=False, seed=0)
    told, y = by_batch.by_batch, by_batch.y
    expected, together = np.full((2, N), np.nan)
    for number in (0, 1):
        cells = np.flatnonzero(told.fold == number)
        others = np.setdiff1d(np.arange(N), cells)
        points, loadings, center = principal(by_batch.expression[others], 4, 0)
        shapes = label_shapes(points, y[others], C)
        later = by_batch.expression[cells] @ loadings - center
        expected[cells] = novelty_score(shapes.distances(later), told.cell_decisions[cells])
        for batch in (2 * number, 2 * number + 1):
            own = told.batches[cells] == batch
            offset = shapes.offset(later[own], by_batch.cross_fitted[cells[own]].argmax(1))
            near = shapes.distances(later[own] - offset)
            together[cells[own]] = novelty_score(near, told.cell_decisions[cells[own]])
    np.testing.assert_allclose(trust.novelty, expected[known], rtol=1e-5)
    np.testing.assert_allclose(trust.novelty_together, together[known], rtol=1e-5)
    np.testing.assert_array_equal(trust.novelty, score[known])
    assert trust.novelty_together.mean() < trust.novelty.mean()
    single, whole = (trust.thresholds(0.1, together=together) for together in (False, True))
    assert whole == rejection_thresholds(trust.novelty_together, trust.predicted, C, false_rejection_rate=0.1)
    assert single == rejection_thresholds(trust.novelty, trust.predicted, C, false_rejection_rate=0.1)


def test_by_batch_scores_of_its_own_cells_are_far_from_shapes_without_the_fold(by_batch, known):
    trust, score = trust_of(by_batch, of_its_own=True, seed=0)
    told, y = by_batch.by_batch, by_batch.y
    points = by_batch.evidence.components
    points = points / np.linalg.norm(points, axis=1, keepdims=True)
    distances = label_shapes(points, y, C).distances(points, y)
    decisions = by_batch.evidence.cell_decisions.copy()
    for number in (0, 1):
        cells = told.fold == number
        distances[cells] = label_shapes(points, np.where(cells, -1, y), C).distances(points[cells])
        decisions[cells] = told.cell_decisions[cells]
    np.testing.assert_allclose(score, novelty_score(distances, decisions, by_batch.fit.neighbors), rtol=1e-5)
    np.testing.assert_array_equal(trust.novelty, score[known])
    assert trust.novelty_together is None
    assert trust.thresholds(0.1, together=True) == trust.thresholds(0.1)
