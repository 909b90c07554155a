import copy
import dataclasses
import functools
import math

import numpy as np
import pytest
import reference
import torch
from small import CPU, alpha, expression, generator, labelled, shaken, tiny, weights

from scbignn._checkpoints import Keeper
from scbignn._settings import settings
from scbignn._training import Schedule, progress_bar
from scbignn.annotation import _em, _fit, fit, gather_evidence
from scbignn.annotation._draws import validation_split

N_LABELS = 3


@pytest.fixture(autouse=True)
def quiet():
    with settings.override(progress=False):
        yield


#: The default's parts, on a small problem.
ANCHORED = {
    "anchor": True,
    "read_out": "value",
    "scale_attention": True,
    "residual": True,
    "layer_norm": True,
    "batch_norm": True,
    "dropout": 0.2,
    "gene_dropout": 0.2,
    "cell_input": "components",
    "mask_labels": 0.5,
    "graph_from": "components",
    "self_loops": True,
    "pseudo_labels": "soft",
    "confidence_power": 2.0,
    "label_smoothing": 0.05,
    "decoupled_weight_decay": True,
    "validation_fraction": 0.0,
}


def evidence_of(x, y, seed=0):
    return gather_evidence(x, y, N_LABELS, tiny(anchor=True), device=CPU, seed=seed)


def run(config=None, *, seed=0, data=None, **options):
    x, y = data or labelled()
    if config is not None and config.anchor:
        options["evidence"] = evidence_of(x, y)
    return fit(x, y, N_LABELS, config or tiny(), device=CPU, engine="torch", seed=seed, **options)


def same_run(a, b):
    """Bit for bit: p, q, h, graph, weights, history."""
    assert len(a.history) == len(b.history)
    for one, other in zip(a.history, b.history, strict=True):
        assert one.keys() == other.keys()
        assert all(u == v or (u != u and v != v) for u, v in zip(one.values(), other.values(), strict=True))
    return (
        all(np.array_equal(getattr(a, name), getattr(b, name)) for name in ("p", "q", "h"))
        and all(np.array_equal(u, v) for u, v in zip(a.neighbors, b.neighbors, strict=True))
        and all(torch.equal(u, v) for u, v in zip(a.gene_gnn.parameters(), b.gene_gnn.parameters(), strict=True))
    )


# --- losses of the steps ----------------------------------------------------------------------------------------------


def new_em(config, data=None):
    x, y = data or labelled()
    evidence = evidence_of(x, y) if config.anchor or config.cell_input == "components" else None
    em = _em.EM(x, y, N_LABELS, config, device=CPU, engine="torch", seed=0, evidence=evidence)
    shaken(em.gene_gnn, 1)
    return em


def schedule(n_steps=1):
    return Schedule(n_epochs=1, steps_per_epoch=n_steps, learning_rate=0.0, weight_decay=0.0, patience=1)


@pytest.fixture
def one_epoch(monkeypatch):
    """In place of training: run one epoch of random weights without updates; keeps the losses and what began."""
    seen = {}

    def train(module, run_epoch, validate, _schedule, **_):
        seen["module"], seen["losses"], seen["start"] = module, [], weights(module)
        shaken(module, 2).eval()
        seen["epoch_loss"] = run_epoch(lambda loss: seen["losses"].append(loss.item()))
        seen["validation"] = validate() if validate else None
        return []

    monkeypatch.setattr(_em, "train", train)
    return seen


def gene_logits(em, x):
    w = weights(em.gene_gnn)
    h = reference.embeddings(w, x.toarray(), em.config.n_heads, em.config.width, alpha=alpha(em.gene_gnn))
    return h, reference.mlp(w, "classifier", h)


def one_hot(codes):
    return np.eye(N_LABELS)[codes]


def accuracy(logits, y):
    return np.mean(logits.argmax(1) == y)


def balanced():
    """12 labelled and 24 unlabelled cells: batches of 24 hold every labelled cell twice, every unlabelled one once."""
    x, y = labelled(36, hidden=0.0)
    y[12:] = -1
    return x, y


def test_pretraining_is_cross_entropy_on_labelled_cells(one_epoch):
    data = labelled()
    x, y = data
    em = new_em(tiny(batch_size=1000, validation_fraction=0.25), data)
    em.pretrain(0, schedule())
    _, logits = gene_logits(em, x)
    train, kept = em.train_cells, em.validation_cells
    expected = reference.cross_entropy(logits[train], one_hot(y[train])).mean()
    assert one_epoch["losses"] == [pytest.approx(expected, rel=1e-4)]
    assert one_epoch["epoch_loss"] == pytest.approx(expected, rel=1e-4)
    assert len(kept)
    assert one_epoch["validation"] == (
        pytest.approx(reference.cross_entropy(logits[kept], one_hot(y[kept])).mean(), rel=1e-4),
        pytest.approx(accuracy(logits[kept], y[kept])),
    )


def test_pretraining_visits_every_labelled_cell_once_an_epoch(monkeypatch, one_epoch):
    em = new_em(tiny())
    batches, logits = [], em._gene_logits
    monkeypatch.setattr(em, "_gene_logits", lambda cells, *tokens: batches.append(cells) or logits(cells, *tokens))
    em.pretrain(0, schedule(3))
    training = batches[:3]  # what follows is validation
    assert len(one_epoch["losses"]) == 3
    np.testing.assert_array_equal(np.sort(np.concatenate(training)), em.train_cells)


@pytest.mark.parametrize("pseudo_labels", ["soft", "hard"])
@pytest.mark.parametrize("graph", [{}, {"symmetric_graph": True}, {"self_loops": True}])
def test_m_step_loss_equals_reference(one_epoch, pseudo_labels, graph):
    x, y = labelled()
    em = new_em(tiny(pseudo_labels=pseudo_labels, n_cell_layers=3, **graph), (x, y))
    em.m_step(1, schedule())
    h, logits = gene_logits(em, x)
    np.testing.assert_allclose(em.h, h, rtol=1e-4, atol=2e-5)
    q = reference.softmax(logits)
    np.testing.assert_allclose(em.q, q, rtol=1e-4, atol=1e-5)

    edges = reference.adjacency(reference.neighbors(em.h.numpy(), 3))
    if graph.get("symmetric_graph"):
        edges = np.maximum(edges, edges.T)
    if graph.get("self_loops"):
        edges += np.eye(36)
    logits = reference.cell_network(weights(em.cell_gnn), x.toarray(), h, reference.mean_matrix(edges))
    train, kept = em.train_cells, em.validation_cells
    others = np.setdiff1d(np.arange(36), train)
    pseudo = q if pseudo_labels == "soft" else one_hot(q.argmax(1))
    loss = reference.cross_entropy(logits[train], one_hot(y[train])).sum()
    loss += reference.cross_entropy(logits[others], pseudo[others]).sum()
    assert one_epoch["losses"] == [pytest.approx(loss / 36, rel=1e-4)]
    assert one_epoch["validation"] == (
        pytest.approx(reference.cross_entropy(logits[kept], one_hot(y[kept])).mean(), rel=1e-4),
        pytest.approx(accuracy(logits[kept], y[kept])),
    )
    np.testing.assert_allclose(em.p, reference.softmax(logits), rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("pseudo_labels", ["soft", "hard"])
@pytest.mark.parametrize(("e_step_weights", "share"), [("sums", 24 / 36), ("batches", 0.5)])
@pytest.mark.parametrize("beta", [0.0, 1.0, 2.5])
def test_e_step_loss_equals_reference(one_epoch, pseudo_labels, e_step_weights, share, beta):
    x, y = balanced()
    em = new_em(
        tiny(
            pseudo_labels=pseudo_labels,
            e_step_weights=e_step_weights,
            beta=beta,
            batch_size=24,
            validation_fraction=0.0,
        ),
        (x, y),
    )
    p = reference.softmax(np.random.default_rng(0).normal(size=(36, N_LABELS)))
    em.p = torch.tensor(p, dtype=torch.float32)
    em.e_step(1, schedule())
    _, logits = gene_logits(em, x)
    pseudo = p if pseudo_labels == "soft" else one_hot(p.argmax(1))
    known = reference.cross_entropy(logits[:12], one_hot(y[:12])).mean()
    believed = reference.cross_entropy(logits[12:], pseudo[12:]).mean()
    expected = share * believed + beta * (1 - share) * known
    assert one_epoch["losses"] == [pytest.approx(expected, rel=1e-4)]
    assert one_epoch["validation"] is None


def test_e_step_goes_through_all_cells_of_both_kinds(monkeypatch, one_epoch):
    x, y = balanced()
    em = new_em(tiny(batch_size=6, validation_fraction=0.0), (x, y))
    em.p = torch.full((36, N_LABELS), 1 / N_LABELS)
    batches, logits = [], em._gene_logits
    monkeypatch.setattr(em, "_gene_logits", lambda cells, *tokens: batches.append(cells) or logits(cells, *tokens))
    em.e_step(1, schedule(4))
    assert [len(cells) for cells in batches] == [12] * 4
    np.testing.assert_array_equal(np.sort(np.concatenate([c[:6] for c in batches])), np.repeat(np.arange(12), 2))
    np.testing.assert_array_equal(np.sort(np.concatenate([c[6:] for c in batches])), np.arange(12, 36))


def test_confidence_and_smoothing_in_the_e_step(one_epoch):
    x, y = balanced()
    em = new_em(
        tiny(pseudo_labels="soft", confidence_power=2.0, label_smoothing=0.3, batch_size=24, validation_fraction=0.0),
        (x, y),
    )
    p = reference.softmax(np.random.default_rng(0).normal(size=(36, N_LABELS)))
    em.p = torch.tensor(p, dtype=torch.float32)
    em.e_step(1, schedule())
    _, logits = gene_logits(em, x)
    known = reference.cross_entropy(logits[:12], 0.7 * one_hot(y[:12]) + 0.1).mean()
    believed = (p[12:].max(1) ** 2 * reference.cross_entropy(logits[12:], 0.7 * p[12:] + 0.1)).mean()
    assert one_epoch["losses"] == [pytest.approx(24 / 36 * believed + 12 / 36 * known, rel=1e-4)]


def test_anchored_q_corrects_the_decisions_of_its_cells(one_epoch):
    x, y = labelled()
    em = new_em(tiny(anchor=True, batch_size=1000, validation_fraction=0.0), (x, y))
    em.pretrain(0, schedule())
    w = weights(em.gene_gnn)
    h = reference.embeddings(w, x.toarray(), em.config.n_heads, em.config.width, alpha=alpha(em.gene_gnn))
    logits = reference.correction(w, "classifier", h, evidence_of(x, y).gene_decisions)
    expected = reference.cross_entropy(logits[em.train_cells], one_hot(y[em.train_cells])).mean()
    assert one_epoch["losses"] == [pytest.approx(expected, rel=1e-4)]


@pytest.mark.parametrize("very_few", [0, 2])
def test_networks_learn_believed_labels_where_labels_are_very_few(very_few):
    """The believed ones are learned, and never shown."""
    x, y = labelled(60, hidden=1.0)
    em = new_em(tiny(anchor=True, very_few_labels=very_few, validation_fraction=0.0), (x, y))
    cells, believed = np.flatnonzero(y >= 0), evidence_of(x, y).cell_decisions.argmax(1)
    assert len(cells) == 3
    trained = np.arange(60) if very_few else cells
    np.testing.assert_array_equal(em.train_cells, trained)
    np.testing.assert_array_equal(em.unlabelled_cells, np.setdiff1d(np.arange(60), trained))
    np.testing.assert_array_equal(em.labels[trained], np.where(y >= 0, y, believed)[trained])
    np.testing.assert_array_equal(em.known.sum(1), y >= 0)


@pytest.fixture
def half_hidden(monkeypatch):
    """In place of a draw: every other training cell is hidden."""
    monkeypatch.setattr(_em.EM, "_hidden_cells", lambda _em, train_cells: train_cells[::2])


def test_p_learns_hidden_labels_from_shown_ones(one_epoch, half_hidden):
    x, y = labelled()
    config = tiny(**{**ANCHORED, "dropout": 0.0, "batch_norm": False, "cell_input": "genes", "label_smoothing": 0.0})
    em = new_em(config, (x, y))
    em.m_step(1, schedule())
    evidence = evidence_of(x, y)
    hidden = em.train_cells[::2]
    shown = np.zeros((36, N_LABELS))
    shown[em.train_cells[1::2]] = one_hot(y[em.train_cells[1::2]])
    edges = reference.adjacency(reference.neighbors(evidence.points, 3)) + np.eye(36)
    w = weights(em.cell_gnn)
    logits = reference.cell_network(
        w, x.toarray(), em.h.numpy(), reference.mean_matrix(edges), shown=shown, decisions=evidence.cell_decisions
    )
    others = np.setdiff1d(np.arange(36), em.train_cells)
    q = em.q.numpy()[others]
    loss = reference.cross_entropy(logits[hidden], one_hot(y[hidden])).mean() * len(em.train_cells)
    loss += (q.max(1) ** 2 * reference.cross_entropy(logits[others], q)).sum()
    assert one_epoch["losses"] == [pytest.approx(loss / 36, rel=1e-4)]


def test_no_cell_is_predicted_from_its_own_label(one_epoch):
    """A network that only repeats the label it is shown gives every cell the same answer, labelled or not."""
    x, y = labelled()
    em = new_em(tiny(mask_labels=0.5, n_cell_layers=1), (x, y))
    em.m_step(1, schedule())
    everyone = em._everyone()
    with torch.no_grad():
        for name, parameter in em.cell_gnn.named_parameters():
            if name != "known_input.weight":
                parameter.zero_()
        em.cell_gnn.known_input.weight.fill_(1.0)
        em.cell_gnn.classifier[0].weight[:, : em.config.width * 2] = 1.0  # z itself
        em.cell_gnn.classifier[2].weight[:] = torch.arange(3.0)[:, None]
    em.h.zero_()
    everyone_shown = em._cell_logits(everyone, torch.empty(0, dtype=torch.int64))
    assert (everyone_shown[em.train_cells] != 0).any()
    em._cell_beliefs(everyone)
    np.testing.assert_allclose(em.p, 1 / 3)


def test_p_learns_from_the_cells_drawn_as_if_they_were_all(one_epoch, half_hidden):
    x, y = labelled()
    config = tiny(**{**ANCHORED, "dropout": 0.0, "batch_norm": False, "cell_input": "genes", "label_smoothing": 0.0})
    em = new_em(dataclasses.replace(config, pool_size=8), (x, y))
    em.m_step(1, schedule())
    train_cells, unlabelled = em._drawn(1)
    assert len(unlabelled) == 8
    drawn = np.union1d(train_cells, unlabelled)
    evidence = evidence_of(x, y)
    shown = np.zeros((36, N_LABELS))
    shown[train_cells[1::2]] = one_hot(y[train_cells[1::2]])
    edges = reference.adjacency(reference.neighbors(evidence.points[drawn], 3)) + np.eye(len(drawn))
    logits = np.full((36, N_LABELS), np.nan)
    logits[drawn] = reference.cell_network(
        weights(em.cell_gnn),
        x.toarray()[drawn],
        em.h.numpy()[drawn],
        reference.mean_matrix(edges),
        shown=shown[drawn],
        decisions=evidence.cell_decisions[drawn],
    )
    hidden, q = train_cells[::2], em.q.numpy()[unlabelled]
    loss = reference.cross_entropy(logits[hidden], one_hot(y[hidden])).mean() * len(em.train_cells)
    believed = (q.max(1) ** 2 * reference.cross_entropy(logits[unlabelled], q)).sum()
    loss += believed * len(em.unlabelled_cells) / 8
    assert one_epoch["losses"] == [pytest.approx(loss / 36, rel=1e-4)]
    assert em.p.shape == (36, N_LABELS)
    assert em.p.isfinite().all()


def test_every_step_draws_its_own_cells_and_keeps_rare_labels():
    x, y = labelled()
    em = new_em(tiny(pool_size=8), (x, y))
    first, again, other = em._drawn(1), em._drawn(1), em._drawn(2)
    np.testing.assert_array_equal(first[1], again[1])
    assert (first[1] != other[1]).any()
    assert set(first[1]) <= set(em.unlabelled_cells)
    assert set(y[first[0]]) == set(y[y >= 0])


@pytest.mark.parametrize("anchored", [False, True])
def test_a_pool_as_large_as_the_data_changes_nothing(anchored):
    config = tiny(**(ANCHORED if anchored else {}), n_rounds=1)
    one, other = (run(dataclasses.replace(config, pool_size=size)) for size in (36, None))
    assert same_run(one, other)


def test_training_of_q_takes_no_more_cells_an_epoch_than_the_pool_holds(one_epoch):
    x, y = labelled()
    em = new_em(tiny(pool_size=4, batch_size=4), (x, y))
    batches, logits = [], em._gene_logits
    em._gene_logits = lambda cells, *tokens: batches.append(cells) or logits(cells, *tokens)
    (stage, *_) = em.stages()
    assert stage.schedule.steps_per_epoch == 1
    em.pretrain(0, schedule())
    assert sum(len(cells) for cells in batches if len(cells)) >= 4
    assert len(batches[0]) == 4


def test_hidden_cells_are_drawn_anew_and_never_none():
    em = new_em(tiny(mask_labels=0.9))
    draws = [em._hidden_cells(torch.arange(20)) for _ in range(400)]
    assert min(len(hidden) for hidden in draws) >= 1
    assert np.mean([len(hidden) for hidden in draws]) == pytest.approx(1 + 19 * 0.1, abs=0.4)
    assert any(len(hidden) > 3 for hidden in draws)
    assert not torch.equal(draws[0], draws[1])


def test_without_masking_no_label_is_shown_and_none_is_left_out():
    em = new_em(tiny())
    assert torch.equal(em._hidden_cells(torch.arange(20)), torch.arange(20))


def test_graph_of_components_is_that_of_the_evidence():
    x, y = labelled()
    found = run(tiny(**ANCHORED), data=(x, y))
    expected = reference.neighbors(evidence_of(x, y).points, 3)
    np.testing.assert_array_equal(np.sort(found.neighbors.indices), np.sort(expected))


def test_certain_beliefs_make_all_pseudo_labels_the_same(one_epoch):
    losses = []
    for pseudo_labels in ("sample", "soft", "hard"):
        em = new_em(tiny(pseudo_labels=pseudo_labels, batch_size=24, validation_fraction=0.0), balanced())
        em.p = torch.from_numpy(one_hot(np.arange(36) % 3)).float()
        em.e_step(1, schedule())
        losses += one_epoch["losses"]
    np.testing.assert_allclose(losses, losses[0], rtol=1e-5)
    assert len(losses) == 3


def test_sampled_pseudo_labels_follow_the_belief_and_are_drawn_anew():
    em = new_em(tiny(pseudo_labels="sample"))
    belief = torch.tensor([[0.1, 0.2, 0.7]]).expand(20_000, 3)
    first, second = em._pseudo_labels(belief), em._pseudo_labels(belief)
    share = np.bincount(first, minlength=3) / 20_000
    np.testing.assert_allclose(share, [0.1, 0.2, 0.7], atol=0.015)  # more than four standard deviations
    assert 0.4 < (first == second).float().mean() < 0.7  # 0.54 is expected


def test_sampled_pseudo_labels_are_drawn_at_every_update(monkeypatch):
    draws, draw = [], _em.EM._pseudo_labels
    monkeypatch.setattr(_em.EM, "_pseudo_labels", lambda em, belief: draws.append(draw(em, belief)) or draws[-1])
    run(tiny(m_step_updates=5, final_m_step=False, e_step_epochs=1, batch_size=1000))
    assert len(draws) == 5 + 1
    assert any(not torch.equal(draws[0], other) for other in draws[1:5])


def test_h_is_a_constant_of_the_m_step(monkeypatch):
    em = new_em(tiny())
    before = weights(em.gene_gnn)
    monkeypatch.setattr(em, "_pseudo_labels", lambda belief: belief)
    em.m_step(
        1,
        Schedule(n_epochs=3, steps_per_epoch=1, learning_rate=0.1, weight_decay=0.0, patience=9),
        progress=progress_bar(3),
        keeper=Keeper(None, {}, generator()),
    )
    after = weights(em.gene_gnn)
    assert all(np.array_equal(before[name], after[name]) for name in before)
    assert all(p.grad is None for p in em.gene_gnn.parameters())
    assert not em.h.requires_grad


@pytest.mark.parametrize("warm_start", [True, False])
def test_warm_start_decides_whether_a_step_begins_with_new_weights(one_epoch, warm_start):
    em = new_em(tiny(warm_start=warm_start))
    em.m_step(1, schedule())
    for step, name in (("m_step", "cell_gnn"), ("e_step", "gene_gnn")):
        before = weights(getattr(em, name))
        getattr(em, step)(2, schedule())
        assert one_epoch["module"] is getattr(em, name)
        assert warm_start == all(np.array_equal(before[key], one_epoch["start"][key]) for key in before)


# --- whole runs -------------------------------------------------------------------------------------------------------

RUNS = {
    "sample": {},
    "soft": {"pseudo_labels": "soft"},
    "hard": {"pseudo_labels": "hard"},
    "dropout": {"dropout": 0.3},
    "cold start": {"warm_start": False},
    "without final M-step": {"final_m_step": False},
    "symmetric, self-loops": {"symmetric_graph": True, "self_loops": True},
    "without validation": {"validation_fraction": 0.0},
    "without EM": {"n_rounds": 0},
    "two rounds, batches": {"n_rounds": 2, "e_step_weights": "batches", "beta": 0.5},
    "anchored": ANCHORED,
    "anchored, without attention": {**ANCHORED, "n_layers": 0},
    "anchored, sampled": {**ANCHORED, "pseudo_labels": "sample", "n_rounds": 2},
    "masked labels beside genes": {"mask_labels": 0.3},
    "batch norm alone": {"batch_norm": True},
    "impatient": {"patience": 0.01, "gene_learning_rate": 0.5, "cell_learning_rate": 0.5, "m_step_updates": 20},
}


@pytest.mark.parametrize("name", RUNS)
def test_results_and_history_are_complete(name):
    config = tiny(**RUNS[name])
    x, y = labelled()
    found = run(config)
    for belief in (found.p, found.q):
        assert belief.shape == (36, N_LABELS)
        assert belief.dtype == np.float32
        np.testing.assert_allclose(belief.sum(1), 1, rtol=1e-5)
    assert found.h.shape == (36, config.width)
    assert found.neighbors.indices.shape == (36, config.n_neighbors)

    stages = [(0, "pretrain", config.pretrain_epochs)]
    for number in range(1, config.n_rounds + 1):
        stages += [(number, "M", config.m_step_updates), (number, "E", config.e_step_epochs)]
    if config.final_m_step:
        stages.append((config.n_rounds + 1, "M", config.m_step_updates))
    rows = {}
    for row in found.history:
        assert row.keys() == {"round", "step", "epoch", "loss", "val_loss", "val_accuracy", "selected"}
        assert math.isfinite(row["loss"])
        assert math.isnan(row["val_loss"]) == math.isnan(row["val_accuracy"]) == (config.validation_fraction == 0)
        rows.setdefault((row["round"], row["step"]), []).append(row)
    assert list(rows) == [stage[:2] for stage in stages]
    assert name != "impatient" or len(found.history) < sum(most for *_, most in stages)
    for number, step, most in stages:
        stage = rows[number, step]
        assert [row["epoch"] for row in stage] == list(range(len(stage)))
        assert len(stage) == most or (name == "impatient" and len(stage) < most)
        (selected,) = (row for row in stage if row["selected"])
        if config.validation_fraction:
            assert selected["val_loss"] == min(row["val_loss"] for row in stage)
        else:
            assert selected is stage[-1]


def test_graph_and_distances_of_the_result_are_those_of_h():
    found = run()
    expected = reference.distances(found.h)
    np.testing.assert_allclose(found.neighbors.distances, np.sort(expected)[:, :3], rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(
        found.neighbors.distances, np.take_along_axis(expected, found.neighbors.indices, 1), rtol=1e-3, atol=1e-4
    )


def test_q_of_the_result_is_that_of_the_network_after_a_final_m_step():
    x, y = labelled()
    found = run(data=(x, y))
    w = weights(found.gene_gnn)
    h = reference.embeddings(w, x.toarray(), 2, 8, alpha=alpha(found.gene_gnn))
    np.testing.assert_allclose(found.h, h, rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(found.q, reference.softmax(reference.mlp(w, "classifier", h)), rtol=1e-3, atol=1e-4)


def test_learns_an_easy_problem():
    x, y = labelled(90, hidden=0.6)
    found = run(tiny(pretrain_epochs=20, m_step_updates=40), data=(x, y))
    hidden = y < 0
    assert accuracy(found.p[hidden], (np.arange(90) % 3)[hidden]) > 0.8


def test_a_run_without_any_m_step_is_refused():
    with pytest.raises(ValueError, match="final_m_step"):
        run(tiny(n_rounds=0, final_m_step=False))


@pytest.mark.parametrize("name", ["sample", "dropout", "cold start", "symmetric, self-loops"])
def test_same_seed_same_bits(name):
    config = tiny(**RUNS[name])
    first = run(config, seed=5)
    torch.rand(3)  # moves the global generator, which must not matter
    np.random.random_sample(3)  # noqa: NPY002 (as above)
    assert same_run(first, run(config, seed=5))


def test_another_seed_gives_another_result():
    first, second = run(seed=0), run(seed=1)
    assert not np.array_equal(first.h, second.h)
    assert not np.array_equal(first.p, second.p)


def test_global_generators_and_inputs_stay_as_they_were():
    x, y = labelled()
    before = x.copy(), y.copy()
    states = torch.get_rng_state(), np.random.get_state()  # noqa: NPY002 (the global state is looked at)
    run(tiny(dropout=0.2, warm_start=False), data=(x, y))
    assert torch.equal(torch.get_rng_state(), states[0])
    for old, new in zip(states[1], np.random.get_state(), strict=True):  # noqa: NPY002
        np.testing.assert_array_equal(old, new)
    np.testing.assert_array_equal(x.toarray(), before[0].toarray())
    np.testing.assert_array_equal(y, before[1])


@pytest.mark.dgl
def test_engines_give_the_same_run_up_to_rounding():
    try:
        from scbignn.graph._mean import _import_dgl

        _import_dgl()
    except Exception as error:  # noqa: BLE001 (a DGL that does not fit its torch fails in many ways)
        pytest.skip(f"DGL does not import: {error}")
    x, y = labelled()
    config = tiny(pseudo_labels="soft", self_loops=True)
    by_dgl, by_torch = (fit(x, y, N_LABELS, config, device=CPU, engine=e, seed=0) for e in ("dgl", "torch"))
    np.testing.assert_allclose(by_dgl.p, by_torch.p, rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(by_dgl.h, by_torch.h, rtol=1e-3, atol=1e-4)


def test_labels_of_validation_cells_reach_nothing_but_the_choice_of_epochs(monkeypatch):
    """With the split and the validation score held fixed, other labels on the validation cells change no bit."""
    x, y = labelled()
    train, kept = validation_split(y, 0.3, np.random.default_rng(0))
    scores = iter(np.linspace(2, 1, 1000).tolist() * 2)
    monkeypatch.setattr(_em, "validation_split", lambda *_: (train, kept))
    monkeypatch.setattr(_em.EM, "_validator", lambda *_: lambda: (next(scores), 0.0))
    other = y.copy()
    other[kept] = (other[kept] + 1) % N_LABELS
    first = run(data=(x, y))
    second = run(data=(x, other))
    for row in first.history + second.history:
        row["val_loss"] = 0  # the fixed scores go on from run to run
    assert len(kept) >= 3
    assert same_run(first, second)


def test_validation_cells_train_as_unlabelled_ones():
    em = new_em(tiny(validation_fraction=0.3))
    assert set(em.validation_cells) <= set(em.unlabelled_cells)
    assert not set(em.train_cells) & set(em.unlabelled_cells)
    np.testing.assert_array_equal(np.union1d(em.train_cells, em.unlabelled_cells), np.arange(36))


def test_labels_of_training_cells_do_matter():
    x, y = labelled()
    other = y.copy()
    other[other >= 0] = (other[other >= 0] + 1) % N_LABELS
    assert not np.array_equal(run(data=(x, y)).p, run(data=(x, other)).p)


def test_cells_without_expressed_genes_get_labels_and_no_nan():
    x = expression(30, 12, empty=(0, 7, 29))
    y = np.arange(30) % N_LABELS
    y[20:] = -1
    found = run(tiny(validation_fraction=0.4), data=(x, y))
    assert not found.h[[0, 7, 29]].any()
    assert all(np.isfinite(belief).all() for belief in (found.p, found.q, found.h, found.neighbors.distances))


def test_more_neighbours_than_cells():
    with pytest.raises(ValueError, match="n_neighbors between 1 and 35"):
        run(tiny(n_neighbors=36))


# --- interrupted and resumed ------------------------------------------------------------------------------------------

RESUMED = {
    "sample, dropout": {"n_rounds": 2, "dropout": 0.3},
    "cold start": {"n_rounds": 2, "warm_start": False},
    "without validation": {"validation_fraction": 0.0, "dropout": 0.3},
    "without final M-step": {"n_rounds": 2, "final_m_step": False, "dropout": 0.3},
}


def stop_at(monkeypatch, target, name, call):
    """The given call of a function, counted from 0, is interrupted after it has run."""
    function, calls = getattr(target, name), []

    @functools.wraps(function)
    def wrapper(*arguments, **options):
        result = function(*arguments, **options)
        calls.append(name)
        if len(calls) == call + 1:
            raise KeyboardInterrupt
        return result

    monkeypatch.setattr(target, name, wrapper)


@pytest.mark.parametrize("name", RESUMED)
@pytest.mark.parametrize("stage", [0, 1, 2])
def test_resumed_between_stages_ends_with_the_same_bits(monkeypatch, tmp_path, name, stage):
    config, path = tiny(**RESUMED[name]), tmp_path / "run.safetensors"
    whole = run(config)
    n_stages = 1 + 2 * config.n_rounds + config.final_m_step
    with monkeypatch.context() as patch:
        stop_at(patch, Keeper, "finish_stage", min(stage, n_stages - 1))
        with pytest.raises(KeyboardInterrupt):
            run(config, checkpoint=path)
    assert same_run(whole, run(config, checkpoint=path))


@pytest.mark.parametrize("name", RESUMED)
@pytest.mark.parametrize("epoch", [1, 4, 7, 11])  # pre-training (3 epochs), M-step (4), E-step (3), M-step
def test_resumed_within_a_stage_ends_with_the_same_bits(monkeypatch, tmp_path, name, epoch):
    config, path = tiny(**RESUMED[name]), tmp_path / "run.safetensors"
    whole = run(config)
    with monkeypatch.context() as patch:
        patch.setattr(_fit, "Keeper", functools.partial(Keeper, interval=0))
        stop_at(patch, Keeper, "offer", epoch)
        with pytest.raises(KeyboardInterrupt):
            run(config, checkpoint=path)
    assert path.exists()
    assert same_run(whole, run(config, checkpoint=path))


def test_a_resumed_run_repeats_no_finished_stage(monkeypatch, tmp_path):
    path, stages = tmp_path / "run.safetensors", []
    with monkeypatch.context() as patch:
        stop_at(patch, Keeper, "finish_stage", 1)
        with pytest.raises(KeyboardInterrupt):
            run(checkpoint=path)
    train = _em.train
    monkeypatch.setattr(_em, "train", lambda module, *a, **k: stages.append(type(module)) or train(module, *a, **k))
    run(checkpoint=path)
    assert [stage.__name__ for stage in stages] == ["GeneGNN", "CellGNN"]


def test_keeping_a_run_does_not_change_it(tmp_path):
    assert same_run(run(), run(checkpoint=tmp_path / "run.safetensors"))


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"seed": 1}, "seed"),
        ({"config": tiny(beta=0.5)}, "config"),
        ({"fingerprint": {"expression": "b"}}, "expression"),
    ],
)
def test_checkpoint_of_another_run_is_refused(tmp_path, changes, named):
    path = tmp_path / "run.safetensors"
    run(checkpoint=path, fingerprint={"expression": "a"})
    before = path.read_bytes()
    with pytest.raises(ValueError, match=f"differs from this one in {named}\\."):
        run(**{"checkpoint": path, "fingerprint": {"expression": "a"}, **changes})
    assert path.read_bytes() == before


# --- genes and cells that are left out --------------------------------------------------------------------------------


def test_genes_are_left_out_anew_each_epoch_and_only_in_training(monkeypatch):
    em = new_em(tiny(gene_dropout=0.5, pretrain_epochs=2))
    seen, forward = [], type(em.gene_gnn).forward
    monkeypatch.setattr(
        type(em.gene_gnn),
        "forward",
        lambda network, tokens, cells: seen.append((network.training, tokens)) or forward(network, tokens, cells),
    )
    with progress_bar(1) as bar:
        em.pretrain(0, em.stages()[0].schedule, progress=bar, keeper=Keeper(None, {}, em.generator))
    trained = {id(tokens): tokens for training, tokens in seen if training}.values()
    assert [tokens.share for tokens in trained] == [0.5, 0.5]
    assert all(tokens is em.tokens for training, tokens in seen if not training)


def test_fit_needs_cells_with_a_label():
    with pytest.raises(ValueError, match="Label some cells"):
        fit(expression(3, 5), np.array([-1, -1, -1]), 2, tiny(), device=CPU, engine="torch", seed=0)


@pytest.mark.parametrize("config", [{"n_rounds": 2, "validation_fraction": 0.0}, ANCHORED])
def test_where_all_cells_are_labelled_one_m_step_follows_pretraining(config):
    x, y = labelled(60, hidden=0.0)
    y[-1] = 0
    found = run(tiny(**config), data=(x, y))
    steps = [row["step"] for row in found.history]
    assert sorted(set(steps), key=steps.index) == ["pretrain", "M"]
    assert np.isfinite(found.p).all()


def test_a_gene_level_that_is_known_takes_the_place_of_pretraining():
    x, y = labelled(60)
    config = tiny(n_rounds=0, m_step_updates=60)
    whole = run(config, data=(x, y))
    again = fit(
        x,
        y,
        N_LABELS,
        config,
        device=CPU,
        engine="torch",
        seed=0,
        evidence=None,
        gene_level=_em.GeneLevel(whole.gene_gnn, whole.h, whole.q),
    )
    np.testing.assert_array_equal(again.q, whole.q)
    np.testing.assert_array_equal(again.neighbors.indices, whole.neighbors.indices)
    assert {row["step"] for row in again.history} == {"M"}
    assert (again.p.argmax(1) == whole.p.argmax(1)).mean() > 0.8


@pytest.mark.parametrize("stage", [0, 1, 2])
def test_with_a_gene_level_that_is_known_resumed_runs_end_with_the_same_bits(monkeypatch, tmp_path, stage):
    x, y = labelled()
    whole = run(tiny(n_rounds=0), data=(x, y))
    path, options = tmp_path / "run.safetensors", {"gene_level": _em.GeneLevel(whole.gene_gnn, whole.h, whole.q)}
    config = tiny(n_rounds=2, dropout=0.3)

    def again(**more):
        known = dataclasses.replace(whole, gene_gnn=copy.deepcopy(whole.gene_gnn))
        options["gene_level"] = _em.GeneLevel(known.gene_gnn, known.h, known.q)
        return run(config, data=(x, y), **options, **more)

    expected = again()
    with monkeypatch.context() as patch:
        stop_at(patch, Keeper, "finish_stage", stage)
        with pytest.raises(KeyboardInterrupt):
            again(checkpoint=path)
    assert same_run(expected, again(checkpoint=path))


def test_q_before_em_does_not_see_unlabelled_cells():
    x, y = labelled(60)
    config = tiny(**{**ANCHORED, "n_rounds": 0})
    other = x.copy()
    for cell in np.flatnonzero(y < 0):  # as many expressed genes, so that as many random numbers are drawn
        other.data[other.indptr[cell] : other.indptr[cell + 1]] *= 3
    one, changed = (run(config, data=(z, y)) for z in (x, other))
    np.testing.assert_array_equal(one.q[y >= 0], changed.q[y >= 0])
    assert (one.q[y < 0] != changed.q[y < 0]).any()
    assert (one.p[y >= 0] != changed.p[y >= 0]).any()
