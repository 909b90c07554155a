import dataclasses

import numpy as np
import pytest
from small import CPU, labelled, tiny

from scbignn.annotation import _cross_fit, cross_fit, fit, gather_evidence
from scbignn.annotation._draws import deal_folds

#: q trains once, and p sees nothing of it but pseudo-labels.
LIGHT = tiny(
    anchor=True,
    cell_input="components",
    graph_from="components",
    n_rounds=0,
    mask_labels=0.5,
    pseudo_labels="soft",
    validation_fraction=0.0,
    cross_fit_folds=3,
    anchor_refits=0,
)
FULL = {
    "graph from h": dataclasses.replace(LIGHT, graph_from="h"),
    "genes into p": dataclasses.replace(LIGHT, cell_input="genes"),
    "a round": dataclasses.replace(LIGHT, n_rounds=1),
    "paper": tiny(cross_fit_folds=3),
}
WHERE = {"device": CPU, "engine": "torch", "seed": 0}


def start(config, **data):
    x, y = labelled(**data)
    evidence = gather_evidence(x, y, 3, config, device=CPU, seed=0) if config.has_components else None
    return x, y, evidence, fit(x, y, 3, config, evidence=evidence, **WHERE)


def run(config, x, y, evidence, found):
    return cross_fit(x, y, 3, config, evidence=evidence, expression=x, found=found, **WHERE)


@pytest.fixture
def dealt(monkeypatch):
    """Folds by the place of a cell among labelled ones, whatever the labels are."""
    monkeypatch.setattr(_cross_fit, "deal_folds", lambda y, n, _rng: np.arange(len(y)) % n)


@pytest.mark.parametrize("config", [LIGHT, FULL["paper"]], ids=["light", "full"])
def test_rows_of_labelled_cells_are_probabilities_and_others_are_nan(config):
    x, y, evidence, found = start(config)
    p = run(config, x, y, evidence, found)
    assert (p.shape, p.dtype) == ((36, 3), np.float32)
    assert np.isnan(p[y < 0]).all()
    assert np.isfinite(p[y >= 0]).all()
    np.testing.assert_allclose(p[y >= 0].sum(1), 1, atol=1e-6)
    assert p[y >= 0].min() >= 0


def test_a_labels_only_cell_is_not_spared():
    x, y = labelled()
    y[(y == 2) & (np.arange(36) != 2)] = -1
    evidence = gather_evidence(x, y, 3, LIGHT, device=CPU, seed=0)
    p = run(LIGHT, x, y, evidence, fit(x, y, 3, LIGHT, evidence=evidence, **WHERE))
    assert y[2] == 2
    np.testing.assert_array_equal(np.isnan(p).all(1), (y < 0) | (np.arange(36) == 2))


def test_every_cell_is_the_only_one_of_its_label():
    x, y = labelled(hidden=1.0)
    evidence = gather_evidence(x, y, 3, LIGHT, device=CPU, seed=0)
    p = run(LIGHT, x, y, evidence, fit(x, y, 3, LIGHT, evidence=evidence, **WHERE))
    assert np.isnan(p).all()


def test_all_cells_may_be_labelled():
    x, _ = labelled()
    y = np.arange(36) % 3
    evidence = gather_evidence(x, y, 3, LIGHT, device=CPU, seed=0)
    p = run(LIGHT, x, y, evidence, fit(x, y, 3, LIGHT, evidence=evidence, **WHERE))
    assert np.isfinite(p).all()


@pytest.mark.usefixtures("dealt")
def test_what_is_said_of_a_cell_does_not_depend_on_its_label_or_on_those_of_its_fold():
    """The evidence and q being what they are."""
    x, y, evidence, found = start(LIGHT)
    known = np.flatnonzero(y >= 0)
    before = run(LIGHT, x, y, evidence, found)
    changed = y.copy()
    changed[known[0]] = (y[known[0]] + 1) % 3
    after = run(LIGHT, x, changed, evidence, found)
    np.testing.assert_array_equal(after[known[::3]], before[known[::3]])  # the first fold
    assert (after[known[1::3]] != before[known[1::3]]).any(1).all()  # others learn from that cell


@pytest.mark.usefixtures("dealt")
def test_what_q_believes_of_a_cell_does_not_count_for_its_fold():
    x, y, evidence, found = start(LIGHT)
    known = np.flatnonzero(y >= 0)
    before = run(LIGHT, x, y, evidence, found)
    q = found.q.copy()
    q[known] = np.roll(q[known], 1, axis=1)
    after = run(LIGHT, x, y, evidence, dataclasses.replace(found, q=q))
    np.testing.assert_array_equal(after, before)
    q[y < 0] = np.roll(q[y < 0], 1, axis=1)
    assert (run(LIGHT, x, y, evidence, dataclasses.replace(found, q=q))[known] != before[known]).any()


@pytest.mark.parametrize("name", FULL)
def test_where_p_sees_more_of_q_the_whole_runs_without_the_fold(name):
    config = FULL[name]
    x, y, evidence, found = start(config)
    p = run(config, x, y, evidence, found)
    known = np.flatnonzero(y >= 0)
    fold = deal_folds(y[known], 3, np.random.default_rng(0))
    for number in range(3):
        cells = known[fold == number]
        hidden = np.where(np.isin(np.arange(36), cells), -1, y)
        alone = fit(x, hidden, 3, config, evidence=evidence, **WHERE)
        np.testing.assert_array_equal(p[cells], alone.p[cells])


@pytest.mark.parametrize(("name", "n_fits"), [("light", 0), *((name, 3) for name in FULL)])
def test_q_trains_again_only_where_it_must(name, n_fits, monkeypatch):
    config = {"light": LIGHT, **FULL}[name]
    state, fits = start(config), []
    monkeypatch.setattr(_cross_fit, "fit", lambda *given, **named: fits.append(named) or fit(*given, **named))
    run(config, *state)
    assert len(fits) == 3
    assert sum(named.get("gene_level") is None for named in fits) == n_fits


@pytest.mark.parametrize("n_folds", [2, 3, 5, 1000])
def test_every_fold_is_hidden_once(n_folds, monkeypatch):
    config = dataclasses.replace(LIGHT, cross_fit_folds=n_folds)
    x, y, evidence, found = start(config)
    n_known, hidden = np.sum(y >= 0), []

    def seen(x, shown, *given, silent, **named):
        assert (shown[silent] == -1).all()
        np.testing.assert_array_equal(np.delete(shown, silent), np.delete(y, silent))
        assert set(shown[shown >= 0]) == {0, 1, 2}
        hidden.append(silent)
        return fit(x, shown, *given, silent=silent, **named)

    monkeypatch.setattr(_cross_fit, "fit", seen)
    run(config, x, y, evidence, found)
    assert len(hidden) == min(n_folds, n_known)
    np.testing.assert_array_equal(np.sort(np.concatenate(hidden)), np.flatnonzero(y >= 0))


@pytest.mark.parametrize("name", ["light", "a round", "paper"])
def test_deterministic_and_nothing_given_is_changed(name):
    config = {"light": LIGHT, **FULL}[name]
    x, y, evidence, found = start(config)
    labels, networks = y.copy(), (found.gene_gnn, found.cell_gnn)
    weights = [{key: value.clone() for key, value in network.state_dict().items()} for network in networks]
    arrays = [array.copy() for array in (x.data, found.p, found.q, found.h, found.neighbors.indices)]
    one, again = (run(config, x, y, evidence, found) for _ in range(2))
    np.testing.assert_array_equal(one, again)
    np.testing.assert_array_equal(y, labels)
    for before, after in zip(arrays, (x.data, found.p, found.q, found.h, found.neighbors.indices), strict=True):
        np.testing.assert_array_equal(after, before)
    for before, network in zip(weights, networks, strict=True):
        for key, value in network.state_dict().items():
            assert value.equal(before[key]), key
        assert not network.training


def test_another_seed_deals_other_folds():
    x, y, evidence, found = start(LIGHT)
    one = run(LIGHT, x, y, evidence, found)
    other = cross_fit(x, y, 3, LIGHT, evidence=evidence, expression=x, found=found, **(WHERE | {"seed": 1}))
    assert (one[y >= 0] != other[y >= 0]).any()


def test_labels_that_say_nothing_are_not_found_again():
    """Whoever has seen a random label may know it; p, cross-fitted, is no better than chance."""
    rng = np.random.default_rng(0)
    x, _ = labelled(200, hidden=0.0)
    y = rng.integers(3, size=200)
    y[-5:] = -1
    config = dataclasses.replace(LIGHT, m_step_updates=20)
    evidence = gather_evidence(x, y, 3, config, device=CPU, seed=0)
    p = run(config, x, y, evidence, fit(x, y, 3, config, evidence=evidence, **WHERE))
    assert np.mean(p[y >= 0].argmax(1) == y[y >= 0]) < 0.45


def test_where_labels_are_few_evidence_is_gathered_without_the_fold(monkeypatch, dealt):
    """What the anchors believe would else know the fold's labels."""
    config = dataclasses.replace(LIGHT, anchor_refits=1)
    x, y, evidence, found = start(config)
    seen = []
    monkeypatch.setattr(_cross_fit, "gather_evidence", lambda _, y, *args, **kwargs: seen.append(y) or evidence)
    run(config, x, y, evidence, found)
    labelled_cells = np.flatnonzero(y >= 0)
    assert len(seen) == 3
    for number, shown in enumerate(seen):
        hidden = labelled_cells[np.arange(len(labelled_cells)) % 3 == number]
        assert (shown[hidden] == -1).all()
        np.testing.assert_array_equal(np.delete(shown, hidden), np.delete(y, hidden))


@pytest.mark.parametrize("n_labelled", [6, 9])
def test_folds_learn_believed_labels_only_where_the_run_does(monkeypatch, n_labelled):
    """Nine labelled cells of three labels are not very few; the six that a fold leaves would be."""
    x, y = labelled(hidden=0.0)
    y[n_labelled:] = -1
    evidence = gather_evidence(x, y, 3, LIGHT, device=CPU, seed=0)
    found, configs = fit(x, y, 3, LIGHT, evidence=evidence, **WHERE), []
    monkeypatch.setattr(_cross_fit, "fit", lambda *args, **kwargs: configs.append(args[3]) or fit(*args, **kwargs))
    run(LIGHT, x, y, evidence, found)
    assert {config.very_few_labels for config in configs} == {2 if n_labelled == 6 else 0}
