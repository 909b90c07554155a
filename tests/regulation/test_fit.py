import dataclasses

import numpy as np
import pytest
import scipy.sparse as sp
import torch
from sklearn.metrics import auc, precision_recall_curve, roc_auc_score

from scbignn.regulation import Config, _fit, expression_encoder, infer_links
from scbignn.regulation._fit import _calibrate, _found_edges, _gain, _is_first, _precisions

CONFIG = Config(members=("ridge",), n_folds=2, n_inner_folds=2, n_components=4, penalties=(10.0, np.inf))


def problem(seed=0):
    rng = np.random.default_rng(seed)
    program = np.arange(60) % 2
    x = np.maximum(rng.normal(size=(50, 2))[:, program] + rng.normal(1, 0.5, size=(50, 60)), 0)
    tfs = np.arange(12)
    known = rng.random((12, 60)) < np.where(program[:12, None] == program, 0.4, 0.05)
    known[np.arange(12), tfs] = False
    return sp.csr_matrix(x), known, tfs


def infer(known, config=CONFIG, split="edge", n_with_edges=12, seed=0):
    x, _, tfs = problem()
    common = {"device": torch.device("cpu"), "engine": "torch", "n_edges": 50}
    encoder = expression_encoder(4)
    return infer_links(x, known, tfs, config, split, encoder, n_with_edges=n_with_edges, seed=seed, **common)


def test_scores_are_calibrated_probabilities():
    _, known, tfs = problem()
    found = infer(known)
    assert found.scores.min() >= 0
    assert found.scores.max() <= 1
    assert (found.scores[np.arange(12), tfs] == 0).all()
    assert found.scores.sum() == pytest.approx(known.sum(), rel=0.01)
    high = found.scores > np.median(found.scores)
    assert abs(known[high].mean() - found.scores[high].mean()) < 0.05
    assert found.deviation is None


def test_seeds_decide():
    _, known, _ = problem()
    before = infer(known)
    np.testing.assert_array_equal(infer(known).scores, before.scores)
    assert (infer(known, seed=1).scores != before.scores).any()


def test_repeats_give_a_deviation_and_a_frequency():
    _, known, _ = problem()
    found = infer(known, Config(**{**CONFIG.to_dict(), "members": ("ridge",), "penalties": (10.0,), "n_repeats": 3}))
    assert found.deviation.shape == known.shape
    assert (found.deviation > 0).any()
    assert set(np.round(3 * found.frequency).ravel().astype(int)) <= {0, 1, 2, 3}
    assert found.frequency.sum() == pytest.approx(50)


@pytest.mark.parametrize("split", ["tf", "both"])
def test_tfs_without_edges_are_scored_where_tfs_are_held_out(split):
    _, known, _ = problem()
    known[10:] = False
    found = infer(known, split=split, n_with_edges=10)
    assert np.isfinite(found.scores).all()
    assert found.scores[10].std() > 0
    assert found.metrics["model"]["n_pairs"] == 10 * 59


def test_the_verdict_says_what_expression_adds():
    _, known, _ = problem()
    found = infer(
        known, Config(**{**CONFIG.to_dict(), "members": ("ridge",), "penalties": (10.0,), "n_folds": 4}), "target"
    )
    assert found.gain.mean > 0.1
    assert found.gain.p < 0.05
    assert "surely above" in found.verdict
    shuffled = np.random.default_rng(0).permuted(known, axis=1)
    shuffled[np.arange(12), np.arange(12)] = False
    assert "not surely different" in infer(shuffled, split="target").verdict


def test_calibration_keeps_the_order_where_scores_say_nothing():
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(4, 50))
    fold = np.zeros((4, 50), dtype=int)
    p = _calibrate(logits, -logits > 1, fold, np.arange(0))
    assert (np.argsort(p, axis=None) == np.argsort(logits, axis=None)).all()
    assert p.mean() == pytest.approx((-logits > 1).mean(), abs=0.01)


def test_curves_are_the_best_precision_at_a_recall_or_beyond():
    rng = np.random.default_rng(0)
    y, s = rng.random(200) < 0.3, rng.normal(size=200).round(1)
    (found,) = _precisions(y, s + y, s)
    precision, recall, _ = precision_recall_curve(y, s)
    for at in (0, 50, 130, 200):
        assert found[1][at] == pytest.approx(precision[:-1][recall[:-1] >= at / 200 - 1e-12].max())


def test_roc_curves_hold_the_area():
    rng = np.random.default_rng(0)
    y, s = rng.random(300) < 0.3, rng.normal(size=300)
    (found,) = _found_edges(y, s + y, s)
    for values, curve in ((s + y, found[0]), (s, found[1])):
        assert auc(np.linspace(0, 1, 201), curve) == pytest.approx(roc_auc_score(y, values), abs=0.01)
        assert (np.diff(curve) >= 0).all()
    assert _found_edges(np.zeros(5, dtype=bool), np.arange(5)) == []


@pytest.mark.parametrize(("split", "ratio"), [("edge", 1 / 3), ("tf", 1 / 3), ("both", 1 / 9)])
def test_gains_are_tested_by_how_many_pairs_are_hidden_of_those_that_are_shown(monkeypatch, split, ratio):
    asked, gain = [], _fit._gain
    monkeypatch.setattr(_fit, "_gain", lambda *of: asked.append(of[-1]) or gain(*of))
    infer(problem()[1], dataclasses.replace(CONFIG, n_folds=4), split)
    assert asked == [pytest.approx(ratio)] * 2


def test_gains_are_paired_and_strict():
    records = [{"a": {"auprc": v + 0.1 + d}, "b": {"auprc": v}} for v, d in ((0.2, 0.01), (0.5, 0.0), (0.4, -0.01))]
    gain = _gain(records, "a", "b", 0.5)
    assert gain.mean == pytest.approx(0.1)
    assert gain.words() == "surely above"
    assert _gain(records, "b", "a", 0.5).words() == "surely below"
    assert _gain(records[:1], "a", "b", 0.5).words() == "not surely different from"


def test_the_first_pairs_are_as_many_as_asked_for():
    found = _is_first(np.array([[0.5, 0.5], [0.5, 0.9]]), 2)
    np.testing.assert_array_equal(found, [[True, False], [False, True]])
