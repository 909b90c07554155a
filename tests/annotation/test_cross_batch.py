import dataclasses

import numpy as np
import pytest
from small import CPU, labelled, tiny

from scbignn.annotation import annotate_cells, cross_fit_batches, deal_batches, fit, gather_evidence
from scbignn.annotation._cross_batch import can_cross_fit_batches

LIGHT = tiny(
    anchor=True,
    cell_input="components",
    graph_from="components",
    n_rounds=0,
    mask_labels=0.5,
    pseudo_labels="soft",
    validation_fraction=0.0,
    cross_fit_folds=3,
    balanced_graph=True,
)
PAPER = tiny(cross_fit_folds=2)
WHERE = {"device": CPU, "engine": "torch", "seed": 0}
BATCHES = np.arange(36) // 9


def folds_of(y, batches, n_folds, seed=0):
    return deal_batches(np.asarray(y), np.asarray(batches), n_folds, np.random.default_rng(seed))


def test_batches_are_dealt_as_wholes_the_largest_to_the_emptiest():
    batches = np.repeat([4, 7, 8, 9], [5, 20, 8, 6])
    y = np.arange(39) % 2
    fold = folds_of(y, batches, 3)
    homes = [np.unique(fold[batches == batch]) for batch in (4, 7, 8, 9)]
    assert [len(home) for home in homes] == [1, 1, 1, 1]
    assert homes[0] == homes[3]  # 5 and 6 together
    assert len({int(home[0]) for home in homes}) == 3


@pytest.mark.parametrize("n_folds", [4, 10])
def test_never_more_folds_than_batches_with_labels(n_folds):
    y = np.where(BATCHES == 3, -1, np.arange(36) % 3)
    fold = folds_of(y, BATCHES, n_folds)
    np.testing.assert_array_equal(fold[:27], BATCHES[:27] if fold[0] == 0 else fold[:27])
    assert sorted(np.unique(fold)) == [-1, 0, 1, 2]
    assert (fold[y < 0] == -1).all()


def test_a_label_of_one_fold_is_never_lost():
    y = np.arange(36) % 2
    y[:5] = 2  # in the first batch only
    y[35] = 3  # once
    fold = folds_of(y, BATCHES, 4)
    assert len(np.unique(fold[y == 2])) == 4
    assert fold[35] == -1
    for number in range(4):
        assert set(y[(fold != number)]) == {0, 1, 2, 3}
    others = y < 2
    assert all(len(np.unique(fold[others & (batch == BATCHES)])) == 1 for batch in range(4))


@pytest.mark.parametrize("config", [LIGHT, PAPER], ids=["light", "paper"])
def test_each_fold_is_what_a_run_without_its_labels_says(config):
    x, y = labelled()
    before = None
    if config.has_components:
        before = gather_evidence(x, y, 3, config, device=CPU, seed=0, batches=BATCHES)
    found = cross_fit_batches(x, y, 3, config, BATCHES, evidence=before, expression=x, **WHERE)
    np.testing.assert_array_equal(found.fold, folds_of(y, BATCHES, config.cross_fit_folds))
    for number in np.unique(found.fold[found.fold >= 0]):
        cells = found.fold == number
        shown, evidence = np.where(cells, -1, y), None
        if config.has_components:
            evidence = gather_evidence(x, shown, 3, config, device=CPU, seed=0, batches=BATCHES)
            np.testing.assert_array_equal(found.cell_decisions[cells], evidence.cell_decisions[cells])
        alone = fit(x, shown, 3, config, evidence=evidence, batches=BATCHES, **WHERE)
        np.testing.assert_array_equal(found.p[cells], alone.p[cells])
    assert np.isnan(found.p[found.fold < 0]).all()
    assert (found.cell_decisions is None) == (config is PAPER)


@pytest.mark.parametrize(
    ("changes", "batches", "unseen", "by_batch"),
    [
        ({}, BATCHES, True, True),
        ({}, BATCHES, False, False),
        ({}, None, True, False),
        ({"cross_fit_batches": False}, BATCHES, True, False),
        ({}, np.where(np.arange(36) < 30, 0, 1), True, False),  # labelled cells in one batch only
        ({"cross_fit_folds": 0}, BATCHES, True, False),
    ],
)
def test_when_cells_are_cross_fitted_by_batch(changes, batches, unseen, by_batch):
    x, y = labelled()
    y[30:] = -1
    config = dataclasses.replace(LIGHT, **changes)
    found = annotate_cells(x, y, 3, config, **WHERE, batches=batches, unseen_batches=unseen)
    assert (found.by_batch is not None) == by_batch
    if by_batch:
        np.testing.assert_array_equal(found.cross_fitted, found.by_batch.p)
    assert can_cross_fit_batches(y, config, batches) or not by_batch


def shifted(rng, n=240, shift=1.5):
    """Three types in four batches; each batch raises genes of its own that types use too."""
    kind, batch = rng.integers(3, size=n), np.arange(n) % 4
    rate = np.where(np.arange(24) % 3 == kind[:, None], 1.6, 1.0)
    rate = rate * np.exp(shift * rng.normal(size=(4, 24)))[batch]
    return np.log1p(rng.poisson(rate)), kind, batch


def test_confidence_of_an_unseen_batch_is_lower_than_that_of_a_cell_of_a_known_one():
    import scipy.sparse as sp

    x, kind, batch = shifted(np.random.default_rng(0))
    x, y = sp.csr_matrix(x, dtype=np.float32), np.where(batch == 3, -1, kind)
    config = dataclasses.replace(LIGHT, m_step_updates=30, balanced_graph=False)
    cells, batches = (
        annotate_cells(x, y, 3, config, **WHERE, batches=batch, unseen_batches=unseen).cross_fitted[y >= 0]
        for unseen in (False, True)
    )
    true, right = (np.mean(p.argmax(1) == y[y >= 0]) for p in (cells, batches))
    assert right < true - 0.05
