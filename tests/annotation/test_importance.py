import numpy as np
import pytest
import torch
from small import CPU, expression, gene_gnn, tiny

from scbignn.annotation import Anchored, _importance, importance_of
from scbignn.annotation._attention import attention_of_pairs
from scbignn.annotation._tokens import Tokens

CONFIGS = [
    {},
    {"n_layers": 2},
    {"n_layers": 0, "read_out": "value"},
    {"read_out": "value"},
    {"batch_norm": True},
    {"anchor": True},
]


def problem(changes, n_cells=30):
    config, rng = tiny(**changes), np.random.default_rng(1)
    x = expression(n_cells, density=0.5)
    anchored = None
    if config.anchor:
        slopes = rng.normal(size=(3, 12)).astype(np.float32)
        anchored = Anchored(np.asarray(x @ slopes.T, dtype=np.float32), slopes)
    return gene_gnn(config).eval(), x, rng.integers(0, 3, n_cells), anchored


def margins(network, x, labels, anchored):
    decisions = None if anchored is None else torch.from_numpy(np.asarray(x @ anchored.slopes.T, dtype=np.float32))
    with torch.no_grad():
        cells = np.arange(x.shape[0])
        logits = network.logits(network(Tokens(x, CPU), cells), decisions).double().numpy()
    return np.array(
        [
            own[label] - (np.delete(own, label).max() + np.delete(own, label).mean()) / 2
            for own, label in zip(logits, labels, strict=True)
        ]
    )


@pytest.mark.parametrize("changes", CONFIGS, ids=str)
def test_attribution_is_the_slope_of_the_margin_times_expression(changes):
    network, x, labels, anchored = problem(changes)
    found, *_ = importance_of(network, x, labels, 3, min_count=1, anchored=anchored, device=CPU)
    added, step = np.zeros(x.shape), 3e-3
    for gene in range(12):  # what is said of a cell depends on no other
        ends = []
        for sign in (-1, 1):
            moved = x.copy()
            moved.data[x.indices == gene] += sign * step
            ends.append(margins(network, moved, labels, anchored))
        added[:, gene] = x[:, gene].toarray()[:, 0] * (ends[1] - ends[0]) / (2 * step)
    np.testing.assert_allclose(found.attribution, added.mean(0), atol=2e-3 * np.abs(added).max())
    for label in range(3):
        expected = added[labels == label].mean(0)
        np.testing.assert_allclose(found.attribution_per_label[:, label], expected, atol=5e-3 * np.abs(added).max())
    assert np.abs(found.attribution).max() > 1e-4


def test_attention_received_overall_and_per_label():
    network, x, labels, _ = problem({})
    found, attention, _ = importance_of(network, x, labels, 3, min_count=2, device=CPU)
    expected = attention_of_pairs(network, Tokens(x, CPU), x).mean(2)
    assert attention.dtype == np.float32
    np.testing.assert_allclose(attention.toarray(), expected, rtol=1e-6)
    np.testing.assert_allclose(found.received, attention.toarray().astype(float).sum(0), rtol=1e-6)
    for label in range(3):
        own = x[labels == label]
        expected = attention_of_pairs(network, Tokens(own, CPU), own).mean(2).sum(0)
        np.testing.assert_allclose(found.received_per_label[:, label], expected, rtol=1e-5)
    assert found.received_per_label.std(1).max() > 0


def test_a_label_that_no_cell_has_is_not_a_number():
    network, x, labels, _ = problem({})
    labels[labels == 1] = 0
    found, _, edges = importance_of(network, x, labels, 3, min_count=1, device=CPU)
    for scores in (found.received_per_label, found.attribution_per_label):
        np.testing.assert_array_equal(np.isnan(scores).any(0), [False, True, False])
    assert np.isfinite(found.attribution).all()
    assert set(edges.label) == {0, 2}


def test_attention_of_a_label_with_too_few_cells_is_not_a_number():
    network, x, labels, _ = problem({})
    labels[:] = 0
    labels[:2] = 1
    found, *_ = importance_of(network, x, labels, 2, min_count=3, device=CPU)
    np.testing.assert_array_equal(np.isnan(found.received_per_label).all(0), [False, True])
    np.testing.assert_array_equal(np.isnan(found.received_per_label).any(0), [False, True])
    assert np.isfinite(found.attribution_per_label).all()
    assert np.isfinite(found.received).all()


def test_cells_drawn_stand_for_all_of_their_label(monkeypatch):
    network, x, _, _ = problem({}, 8)
    many = x[np.repeat(np.arange(8), [30, 1, 1, 1, 1, 1, 1, 1])]
    labels = np.repeat([0, 1], [30, 7])
    whole = importance_of(network, many, labels, 2, min_count=1, device=CPU)
    monkeypatch.setattr(_importance, "_CELLS_OF_LABEL", 10)
    drawn = importance_of(network, many, labels, 2, min_count=1, device=CPU)
    np.testing.assert_allclose(drawn[0].attribution, whole[0].attribution, rtol=1e-5)
    np.testing.assert_allclose(drawn[1].toarray(), whole[1].toarray(), rtol=1e-5)
    assert drawn[2].n_cells.max() <= 17 < whole[2].n_cells.max()


def test_training_mode_does_not_matter():
    network, x, labels, anchored = problem({"dropout": 0.5, "batch_norm": True})
    expected, *_ = importance_of(network, x, labels, 3, min_count=1, anchored=anchored, device=CPU)
    found, *_ = importance_of(network.train(), x, labels, 3, min_count=1, anchored=anchored, device=CPU)
    np.testing.assert_array_equal(found.attribution, expected.attribution)
