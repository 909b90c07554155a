import dataclasses

import numpy as np
import pytest
import scipy.sparse as sp
from small import CPU, labelled, tiny

from scbignn.annotation import _evidence, _machines, believe, fit_anchor, gather_evidence, unit_rows
from scbignn.graph import nearest_neighbors


def gather(x, y, n_labels=3, **changes):
    return gather_evidence(x, y, n_labels, tiny(anchor=True, n_components=4, **changes), device=CPU, seed=0)


def test_components_are_centred_principal_ones():
    x, y = labelled(60)
    found = gather(x, y).components
    centred = x.toarray() - x.toarray().mean(0)
    assert found.shape == (60, 4)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found.mean(0), 0, atol=1e-5)
    left, size, _ = np.linalg.svd(x.toarray().astype(np.float64), full_matrices=False)
    expected = left[:, :4] * size[:4]
    expected -= expected.mean(0)
    # Each component up to its sign.
    sign = np.sign(np.sum(expected * found, axis=0))
    np.testing.assert_allclose(found * sign, expected, atol=0.02 * np.linalg.norm(centred))


def test_gene_decisions_are_of_the_cell_alone():
    x, y = labelled(60)
    np.testing.assert_array_equal(gather(x, y).gene_decisions, fit_anchor(x, y, 3, seed=0).decisions)


def test_cell_decisions_are_of_the_cell_and_the_mean_of_its_neighbourhood():
    x, y = labelled(60)
    found = gather(x, y)
    assert found.scores.shape == (60, 11)  # of 12 genes
    smooth = found.scores
    np.testing.assert_array_equal(smooth[:, :4], found.components)
    neighbors = nearest_neighbors(found.points, 15, device=CPU).indices
    mean = np.array([np.mean(smooth[[cell, *near]], axis=0) for cell, near in enumerate(neighbors)])
    both = sp.csr_matrix(np.hstack([x.toarray(), mean]), dtype=np.float32)
    expected = fit_anchor(both, y, 3, seed=0).decisions
    np.testing.assert_allclose(found.cell_decisions, expected, atol=1e-3)


def test_points_are_components_and_decisions_of_equal_weight():
    x, y = labelled(60)
    found = gather(x, y)
    points = found.points
    assert points.shape == (60, 4 + 3)
    np.testing.assert_allclose((points[:, :4] ** 2).sum(1), 1, rtol=1e-5)
    np.testing.assert_allclose((points[:, 4:] ** 2).sum(1), 1, rtol=1e-5)
    other = dataclasses.replace(found, scores=10 * found.scores + 3)
    np.testing.assert_allclose(other.points, points, atol=1e-4)


def test_views_say_the_same_of_cells_that_come_later():
    x, y = labelled(60)
    found = gather(x, y)
    np.testing.assert_allclose(found.views.scores(x), found.scores, atol=2e-3)
    hidden = y < 0
    np.testing.assert_array_equal(found.views.gene(x)[hidden], found.gene_decisions[hidden])
    np.testing.assert_allclose(found.views.points(found.scores, found.gene_decisions), found.points, atol=1e-6)


@pytest.mark.parametrize(("n_refits", "few_labels", "expected"), [(0, 50, 0), (2, 50, 2), (2, 5, 0)])
def test_anchors_are_refitted_where_labels_are_few(monkeypatch, n_refits, few_labels, expected):
    """36 labelled cells or so, of 3 labels."""
    x, y = labelled(60)
    refits = []

    def recorded(*args, believed=None, out_of_fold=True, **kwargs):
        if believed is not None:
            refits.append(out_of_fold)
        return fit_anchor(*args, believed=believed, out_of_fold=out_of_fold, **kwargs)

    monkeypatch.setattr(_evidence, "fit_anchor", recorded)
    gather(x, y, anchor_refits=n_refits, few_labels=few_labels)
    # The machine on neighbourhoods each time, the one on genes at the end.
    assert refits == ([False] * (expected - 1) + [True, True] if expected else [])


def test_a_refit_believes_the_decisions_before():
    x, y = labelled(60, hidden=0.8)
    first, second = gather(x, y), gather(x, y, anchor_refits=1)
    believed = believe(first.cell_decisions, y, np.random.default_rng(0))
    np.testing.assert_array_equal(second.gene_decisions, fit_anchor(x, y, 3, seed=0, believed=believed).decisions)


def test_refits_help_where_labels_are_few():
    rng = np.random.default_rng(0)
    kind = rng.choice(3, size=400, p=[0.7, 0.2, 0.1])
    rate = 0.6 + 0.9 * (np.arange(90) % 3 == kind[:, None])
    x = sp.csr_matrix(np.log1p(rng.poisson(rate)), dtype=np.float32)
    y = np.full(400, -1)
    for label in range(3):
        y[np.flatnonzero(kind == label)[:2]] = label
    wrong = [np.mean(gather(x, y, anchor_refits=n).cell_decisions.argmax(1) != kind) for n in (0, 2)]
    assert wrong[1] < wrong[0]


def test_few_cells_and_genes():
    x, y = labelled(8, n_genes=4, n_labels=2, hidden=0.3)
    found = gather(x, y, 2)
    assert np.isfinite(found.points).all()


@pytest.mark.parametrize("n_genes", [1, 2])
def test_very_few_genes(n_genes):
    x, y = labelled(40, n_labels=2)
    found = gather(x[:, :n_genes].tocsr(), y, 2)
    assert found.components.shape == (40, 1)
    assert np.isfinite(found.points).all()


def test_cells_that_are_all_alike():
    _, y = labelled(30)
    found = gather(sp.csr_matrix(np.ones((30, 5)), dtype=np.float32), y)
    np.testing.assert_allclose(found.components, 0, atol=1e-5)
    assert np.isfinite(found.points).all()


def test_mean_scores_are_those_of_a_matrix():
    rng = np.random.default_rng(0)
    mean, scores = sp.random(30, 30, 0.2, format="csr", random_state=0), rng.normal(size=(30, 5))
    found, expected = _evidence.MeanScores(mean, scores), mean.toarray() @ scores
    np.testing.assert_allclose(found[np.array([7, 2])], expected[[7, 2]])
    np.testing.assert_allclose(found @ scores.T, expected @ scores.T)


@pytest.mark.parametrize("unit", [False, True])
def test_evidence_on_the_same_cells_with_other_labels_has_the_components_of_that_before(monkeypatch, unit):
    """It is to the last bit what it is without; the components and the inner products are not found again."""
    x, y = labelled(60, hidden=0.8)
    x = unit_rows(x) if unit else x
    shown, config = np.where(np.arange(60) < 6, -1, y), tiny(anchor=True, n_components=4, anchor_refits=2)
    expected = gather_evidence(x, shown, 3, config, device=CPU, seed=0)
    before, products = gather_evidence(x, y, 3, config, device=CPU, seed=0), _evidence.products_of(x, y, 3, config)
    given = {"before": before, "products": products}
    gather_evidence(x, y, 3, config, device=CPU, seed=0, **given)
    monkeypatch.setattr(_evidence, "principal", None)  # not called
    monkeypatch.setattr(_machines, "inner_products", None)
    found = gather_evidence(x, shown, 3, config, device=CPU, seed=0, **given)
    for name, part in found.arrays().items():
        np.testing.assert_array_equal(part, expected.arrays()[name])


def test_inner_products_are_kept_where_every_machine_learns_from_all_cells(monkeypatch):
    x, y = labelled(60)
    few = tiny(anchor=True, anchor_refits=1)
    made = []
    monkeypatch.setattr(_evidence, "InnerProducts", lambda x, *, keep: made.append(keep))
    _evidence.products_of(x, y, 3, few)
    _evidence.products_of(x, y, 3, dataclasses.replace(few, few_labels=0))
    monkeypatch.setattr(_evidence, "TOGETHER_CELLS", 59)
    _evidence.products_of(x, y, 3, few)
    assert made == [True, False, False]
