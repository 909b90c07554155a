import dataclasses

import numpy as np
import pytest
import scipy.sparse as sp
import torch
from small import CPU, tiny

from scbignn.annotation import Predictor, _predict, annotate_cells, model_of, normalize, trust_of, unit_rows
from scbignn.annotation._cell_gnn import Cells
from scbignn.annotation._predict import profiles
from scbignn.graph import Neighbors, SparseProduct, nearest_neighbors, neighbor_mean

ANCHORED = {
    "anchor": True,
    "unit_rows": True,
    "batch_norm": True,
    "cell_input": "components",
    "graph_from": "components",
    "mask_labels": 0.5,
    "read_out": "value",
    "self_loops": True,
    "n_rounds": 0,
    "gene_panel": "labels",
}
CONFIGS = {
    "paper": {},
    "default": ANCHORED,
    "no anchor": {**ANCHORED, "anchor": False},
    "own graph": {"graph_from": "components"},
    "genes and labels": {"mask_labels": 0.5, "self_loops": True},
}
N_GENES = 20


def counts(n=70, seed=0):
    rng = np.random.default_rng(seed)
    kind = np.arange(n) % 3
    x = rng.poisson(np.where(np.arange(N_GENES) % 3 == kind[:, None], 4.0, 0.6))
    x[np.arange(n), kind] += 1
    return sp.csr_matrix(x, dtype=np.float32), kind.astype(np.int64)


def trained(hidden=0, **config):
    x, y = counts()
    y = np.where(np.arange(len(y)) < hidden, -1, y)
    found = annotate_cells(x, y, 3, tiny(m_step_updates=20, **config), device=CPU, engine="torch", seed=0)
    genes = [f"gene {number}" for number in range(N_GENES)]
    return model_of(found, genes, ["a", "b", "c"]), found


def predictor(model, present=None):
    present = np.ones(N_GENES, dtype=bool) if present is None else present
    return Predictor(model, present, device=CPU, engine="torch")


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
def test_what_a_model_says_of_new_cells_is_right(config):
    model, _ = trained(**config)
    x, truth = counts(40, seed=1)
    found = predictor(model).inductive(x)
    for belief in (found.p, found.q):
        assert belief.shape == (40, 3)
        np.testing.assert_allclose(belief.sum(1), 1, rtol=1e-5)
    assert np.mean(found.p.argmax(1) == truth) > (0.9 if config.get("anchor") else 0.5)


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
def test_gene_level_is_what_training_said_of_the_same_cells(config):
    """Unlabelled cells of the training data: nothing of theirs is out of fold."""
    model, found = trained(hidden=10, **config)
    again = predictor(model).inductive(counts()[0][:10])
    np.testing.assert_allclose(again.h, found.fit.h[:10], atol=2e-5)
    np.testing.assert_allclose(again.q, found.fit.q[:10], atol=2e-5)


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
def test_attached_cells_are_nodes_with_edges_to_the_reference_and_none_back(config):
    """p of the whole graph, run as in training, with one more cell in it."""
    model, found = trained(hidden=10, **config)
    x, _ = counts(5, seed=2)
    p = predictor(model).inductive(x).p
    for cell in range(5):
        np.testing.assert_allclose(p[cell], dense_p(model, found, x[[cell]]), atol=1e-4)


def dense_p(model, found, x):
    """By the definition: the reference's own graph and one row more."""
    config, reference, n = model.config, model.reference, len(model.reference.y)
    z = normalize(x, config.target_sum)
    z = unit_rows(z) if config.unit_rows else z
    gene_gnn, alone = model.new_gene_gnn(CPU), predictor(model)._alone(x)
    assert gene_gnn.width == alone.h.shape[1]
    h = np.vstack([reference.h, alone.h])

    def nearest(own, others, k):
        return np.argsort(np.linalg.norm(np.asarray(others, np.float64) - own, axis=1), kind="stable")[:k]

    features = decisions = None
    if model.views is not None:
        scores = (z @ model.views.loadings - model.views.center).astype(np.float32)
        gene = z @ model.views.gene.weights.T + model.views.gene.bias
        points = model.views.points(np.vstack([reference.scores, scores]), np.vstack([reference.gene_decisions, gene]))
        near = nearest(points[n], points[:n], 15)
        mean = np.mean([*reference.scores[near], scores[0]], axis=0)
        both = np.concatenate([z.toarray()[0], mean])
        cell = (model.views.cell.weights @ both + model.views.cell.bias)[None]
        rows = np.vstack([np.hstack([reference.scores[:, : model.n_components], reference.gene_decisions, reference.cell_decisions]),
                          np.hstack([scores[:, : model.n_components], gene, cell])])  # fmt: skip
        features = torch.tensor((rows - model.features_center) / model.features_scale).float()
        decisions = torch.tensor(np.vstack([reference.cell_decisions, cell])).float() if config.anchor else None
    own_points = (h[n], h[:n]) if config.graph_from == "h" else (points[n], points[:n])
    edges = np.zeros((n + 1, n + 1))
    np.put_along_axis(edges[:n], reference.neighbors.indices, 1, axis=1)
    edges[n, nearest(*own_points, config.n_neighbors)] = 1
    if config.self_loops:
        edges += np.eye(n + 1)
    panel = sp.vstack([reference.x, z[:, model.panel]]).tocsr()
    known = None
    if config.mask_labels:
        known = torch.zeros(n + 1, 3)
        labelled = np.flatnonzero(reference.y >= 0)
        known[labelled, reference.y[labelled]] = 1
    cells = Cells(SparseProduct(panel, CPU), features=features, decisions=decisions)
    mean = neighbor_mean(sp.csr_matrix(edges), "torch", CPU)
    with torch.no_grad():
        return model.new_cell_gnn(CPU)(cells, torch.tensor(h), mean, known)[n].softmax(0).numpy()


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
def test_an_inductive_answer_does_not_depend_on_the_other_cells(config):
    model, _ = trained(**config)
    x, _ = counts(40, seed=1)
    together, alone = predictor(model).inductive(x), predictor(model).inductive(x[[7]])
    others = sp.vstack([x[[7]], 30 * x[::-1]]).tocsr()
    among_others = predictor(model).inductive(others)
    for found in (alone, among_others):
        np.testing.assert_allclose(found.p[0], together.p[7], atol=1e-5)
        np.testing.assert_allclose(found.q[0], together.q[7], atol=1e-5)
        np.testing.assert_allclose(found.h[0], together.h[7], atol=1e-4)


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
def test_neighbours_in_the_reference_are_searched_once(config, monkeypatch):
    model, _ = trained(**config)
    searched, search = [], _predict.reference_neighbors
    monkeypatch.setattr(_predict, "reference_neighbors", lambda *of, **at: searched.append(of[2]) or search(*of, **at))
    once = predictor(model)
    once.inductive(counts(5, seed=3)[0])
    assert len(searched) == 1
    assert once.cell_gnn.sees_genes or once._genes(model.reference.x) is None


def test_prediction_leaves_the_model_as_it_was():
    model, _ = trained(**{**ANCHORED, "n_rounds": 1})
    x, _ = counts(30, seed=1)
    one = predictor(model)
    before = one.inductive(x)
    first, _ = one.transductive(x, seed=0)
    again, _ = one.transductive(x, seed=0)
    np.testing.assert_array_equal(first.p, again.p)
    np.testing.assert_array_equal(one.inductive(x).p, before.p)


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
def test_transductive_cells_see_one_another(config):
    model, _ = trained(**config)
    x, truth = counts(40, seed=1)
    found, neighbors = predictor(model).transductive(x, seed=0)
    fewer, _ = predictor(model).transductive(x[:20], seed=0)
    assert np.abs(found.p[:20] - fewer.p).max() > 1e-4
    if model.config.n_rounds == 0:  # no E-step: q is what it was
        np.testing.assert_allclose(found.q[:20], fewer.q, atol=1e-5)
    assert np.mean(found.p.argmax(1) == truth) > (0.9 if config.get("anchor") else 0.5)
    assert neighbors.indices.shape == (40, 3)
    if model.config.graph_from == "h":
        np.testing.assert_array_equal(neighbors.indices, nearest_neighbors(found.h, 3, device=CPU).indices)


@pytest.mark.parametrize(
    "config", [ANCHORED, {**ANCHORED, "labels_from": "genes"}, {"mask_labels": 0.5, "n_rounds": 1}]
)
def test_a_query_that_is_looked_at_together_is_as_sure_as_each_cell_by_itself(config, monkeypatch):
    model, found = trained(**config, cross_fit_folds=2)
    trust, _ = trust_of(found, of_its_own=False, seed=0)
    x, _ = counts(40, seed=1)
    plain, _ = predictor(model).transductive(x, seed=0)
    sure = predictor(dataclasses.replace(model, trust=trust))
    calibrated, _ = sure.transductive(x, seed=0)
    np.testing.assert_array_equal(calibrated.p.argmax(1), plain.p.argmax(1))
    np.testing.assert_array_equal(calibrated.q, plain.q)
    if config.get("labels_from") == "genes":
        np.testing.assert_array_equal(calibrated.p, trust.calibration.apply(plain.p))
        return
    expected = sure.inductive(x).p.max(1).mean()
    assert calibrated.p.max(1).mean() == pytest.approx(expected, abs=2e-3)
    assert abs(trust.calibration.apply(plain.p).max(1).mean() - expected) > 2e-3
    monkeypatch.setattr(_predict, "_TOLD_BY", 30)  # of a larger query some cells are asked
    by_some, _ = sure.transductive(x, seed=0)
    assert 0 < np.abs(by_some.p - calibrated.p).max() < 0.1


def test_profiles_of_complete_cells_are_normalised_as_in_training():
    model, _ = trained(**ANCHORED)
    x, _ = counts(9, seed=1)
    found = profiles(x, np.ones(N_GENES, dtype=bool), model)
    expected = unit_rows(normalize(x, model.config.target_sum)).toarray()
    np.testing.assert_allclose(found.observed.toarray(), expected, rtol=1e-5)
    matrix = np.random.default_rng(0).normal(size=(N_GENES, 4)).astype(np.float32)
    np.testing.assert_allclose(found @ matrix, expected @ matrix, rtol=1e-4, atol=1e-5)


def test_a_missing_gene_takes_its_mean_and_the_total_is_that_of_the_others():
    model, _ = trained(**ANCHORED)
    x, _ = counts(9, seed=1)
    present = np.arange(N_GENES) % 4 != 0
    shown = sp.csr_matrix(x.toarray() * present)
    found = profiles(shown, present, model)
    share = model.gene_share[present].sum()
    dense = shown.toarray() / (shown.toarray().sum(1, keepdims=True) / share)
    dense = np.where(present, np.log1p(model.config.target_sum * dense), model.gene_mean)
    dense /= np.linalg.norm(dense, axis=1, keepdims=True)
    matrix = np.eye(N_GENES, dtype=np.float32)
    np.testing.assert_allclose(found @ matrix, dense, rtol=1e-4)


def test_missing_genes_cost_less_than_genes_without_counts():
    model, _ = trained(**ANCHORED)
    x, _ = counts(60, seed=1)
    present = (np.arange(N_GENES) % 3 != 0) | (np.arange(N_GENES) == 0)  # but one, no gene of the first type
    shown = sp.csr_matrix(x.toarray() * present)
    whole = predictor(model).inductive(x)
    known = predictor(model, present).inductive(shown)
    unknown = predictor(model).inductive(shown)
    # As if such cells did not exist, or as if nothing were known of them.
    assert abs(known.q[:, 0].mean() - whole.q[:, 0].mean()) < abs(unknown.q[:, 0].mean() - whole.q[:, 0].mean())


def test_genes_of_a_model_that_were_all_measured_have_a_share_of_one():
    model, _ = trained(**ANCHORED)
    assert predictor(model).share == 1
    half = predictor(model, np.isin(np.arange(N_GENES), model.panel[: len(model.panel) // 2])).share
    assert 0 < half < 1


def test_the_reference_of_a_model_is_what_it_was_trained_on():
    model, found = trained(hidden=10, **ANCHORED)
    assert model.reference.neighbors is found.fit.neighbors
    assert isinstance(model.reference.neighbors, Neighbors)
    np.testing.assert_array_equal(model.reference.y, found.y)
    np.testing.assert_allclose(model.gene_share.sum(), 1)
    assert "3 labels, 20 genes (12 in the panel), 70 reference cells, 60 of them labelled" in repr(model)
    changed = dataclasses.replace(model, labels=["x", "y", "z"])
    assert changed.labels == ["x", "y", "z"]
