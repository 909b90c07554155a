import dataclasses

import numpy as np
import pytest
from scipy.special import softmax
from small import CPU, labelled, tiny

from scbignn.annotation import (
    Config,
    Evidence,
    Predictor,
    annotate_cells,
    model_of,
    trust_of,
)
from scbignn.annotation._guard import cost, neighbors_mislead, with_source_of_labels

LIGHT = {"anchor": True, "cell_input": "components", "graph_from": "components", "n_rounds": 0, "cross_fit_folds": 2}


def evidence(wrong=(), n=60):
    """Machines that are right of all n cells, but for the one with neighbours, which is surely wrong of some."""
    y = np.arange(n) % 3
    gene = np.where(np.arange(3) == y[:, None], 1.0, -1.0).astype(np.float32)
    gene += np.random.default_rng(0).normal(0, 0.1, gene.shape).astype(np.float32)
    gene[0] = [-0.2, -0.1, -1.0]  # one label is not sure
    cell = gene.copy()
    for place in wrong:
        cell[place] = np.roll(cell[place], 1)
    return Evidence(gene, cell, np.zeros((n, 2), dtype=np.float32), 2, None), y


def test_the_cost_is_that_on_the_best_scale():
    decisions = np.random.default_rng(0).normal(size=(50, 4))
    y = np.arange(50) % 4
    decisions[np.arange(50), y] += 1.5

    def at(scale):
        return -np.log(softmax(scale * decisions, axis=1)[np.arange(50), y]).sum()

    expected = min(at(scale) for scale in np.exp(np.linspace(-1, 5, 3001)))
    assert cost(decisions, y) == pytest.approx(expected, rel=1e-4)
    assert cost(7 * decisions, y) == pytest.approx(expected, rel=1e-4)  # units do not matter


@pytest.mark.parametrize(("wrong", "misled"), [((), False), ((5, 9, 20), True)])
def test_neighbours_mislead_where_held_out_labels_cost_twice_as_much(wrong, misled):
    found, y = evidence(wrong)
    assert neighbors_mislead(found, y) == misled
    given = dataclasses.replace(found, gene_decisions=found.cell_decisions, cell_decisions=found.gene_decisions)
    assert not neighbors_mislead(given, y)


def test_unlabelled_cells_and_the_only_cell_of_a_label_have_no_say():
    found, y = evidence((5, 9, 20))
    y[[5, 9, 20]] = -1
    assert not neighbors_mislead(found, y)
    found, y = evidence((5,))
    y[5] = 3
    wide = [np.pad(part, [(0, 0), (0, 1)], constant_values=-1) for part in (found.gene_decisions, found.cell_decisions)]
    wide[1][5] = [9, 9, 9, -9]
    assert not neighbors_mislead(dataclasses.replace(found, gene_decisions=wide[0], cell_decisions=wide[1]), y)


def test_nothing_is_decided_between_two_that_are_as_good_as_certain():
    found, y = evidence()
    sure = 100 * np.where(np.arange(3) == y[:, None], 1.0, -1.0)
    doubt = sure.copy()
    doubt[7] = [0, 0.002, 0]  # right, but not sure
    for one, other in ((sure, doubt), (sure, sure)):
        assert not neighbors_mislead(dataclasses.replace(found, gene_decisions=one, cell_decisions=other), y)
    assert cost(doubt, y) > 10 * cost(sure, y)


def test_who_labels_is_decided_once():
    found, y = evidence((5, 9, 20))
    auto = Config(few_labels=0)
    assert with_source_of_labels(auto, found, y, 3) == Config(few_labels=0, labels_from="genes")
    assert with_source_of_labels(auto, evidence()[0], y, 3) == Config(few_labels=0, labels_from="p")
    few = Config(few_labels=20)  # 60 labelled cells of 3 labels
    assert with_source_of_labels(few, found, y, 3).labels_from == "p"
    paper = Config.paper()
    assert with_source_of_labels(paper, None, y, 3) == dataclasses.replace(paper, labels_from="p")
    for asked in ("p", "genes"):
        config = Config(labels_from=asked, few_labels=0)
        assert with_source_of_labels(config, found, y, 3) is config


def run(labels_from, *, batches=None, y=None, **changes):
    x, truth = labelled(60, hidden=0.3)
    y = truth if y is None else y
    config = tiny(labels_from=labels_from, unit_rows=True, **LIGHT, **changes)
    return annotate_cells(x, y, 3, config, device=CPU, engine="torch", seed=0, batches=batches), x, y


def test_the_machine_on_genes_labels_in_place_of_p():
    found, x, y = run("genes")
    said = softmax(3 * found.evidence.gene_decisions, axis=1)
    np.testing.assert_allclose(found.fit.p, said, atol=1e-6)
    known = y >= 0
    np.testing.assert_allclose(found.cross_fitted[known], said[known], atol=1e-6)  # these decisions are out of fold
    assert np.isnan(found.cross_fitted[~known]).all()
    other, _, _ = run("p")
    assert np.abs(other.fit.p - said).max() > 0.01
    np.testing.assert_array_equal(found.fit.q, other.fit.q)


def test_where_labels_are_few_the_machine_is_cross_fitted_without_what_was_believed_by_them():
    found, _, y = run("genes", anchor_refits=1)
    known = y >= 0
    said = softmax(3 * found.evidence.gene_decisions, axis=1)
    assert np.isfinite(found.cross_fitted[known]).all()
    assert np.abs(found.cross_fitted[known] - said[known]).max() > 1e-3  # beliefs in other cells rest on these labels


def test_a_labels_only_cell_is_not_cross_fitted():
    x, y = labelled(60)
    y[np.flatnonzero(y == 2)[1:]] = -1
    found, _, _ = run("genes", y=y)
    only = np.flatnonzero(y == 2)
    assert np.isnan(found.cross_fitted[only]).all()
    assert np.isfinite(found.cross_fitted[(y >= 0) & (y != 2)]).all()


def test_batches_are_cross_fitted_by_machines_that_knew_no_label_of_theirs():
    batches = np.arange(60) // 20
    found, x, y = run("genes", batches=batches)
    p = found.by_batch.p
    assert np.isfinite(p[y >= 0]).all()
    assert np.abs(p[y >= 0] - found.fit.p[y >= 0]).max() > 1e-3  # out of batch is not out of fold
    np.testing.assert_array_equal(found.cross_fitted, p)
    np.testing.assert_allclose(p[y >= 0].sum(1), 1, atol=1e-5)


@pytest.mark.parametrize("saved", [False, True])
def test_later_cells_are_labelled_by_the_machine_too(saved, tmp_path):
    found, x, y = run("genes")
    trust, _ = trust_of(found, of_its_own=False, seed=0)
    model = model_of(found, [f"gene {number}" for number in range(x.shape[1])], ["a", "b", "c"], trust=trust)
    if saved:
        from scbignn import read_model

        model.save(tmp_path / "model")
        model = read_model(tmp_path / "model")
    predictor = Predictor(model, np.ones(x.shape[1], dtype=bool), device=CPU, engine="torch")
    later, _ = labelled(20, seed=1)
    alone = predictor.inductive(later)
    together, _ = predictor.transductive(later, seed=0)
    said = softmax(3 * model.views.gene(found_profiles(later, model)), axis=1)
    np.testing.assert_allclose(alone.p, trust.calibration.apply(said.astype(np.float32)), atol=1e-5)
    np.testing.assert_allclose(together.p, alone.p, atol=1e-5)


def found_profiles(x, model):
    from scbignn.annotation._predict import profiles

    return profiles(x, np.ones(x.shape[1], dtype=bool), model)
