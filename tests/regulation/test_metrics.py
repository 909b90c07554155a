import numpy as np
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score

from scbignn.regulation import link_scores
from scbignn.regulation._metrics import early_precision


@pytest.mark.parametrize("ties", [False, True])
def test_figures_equal_those_of_scikit_learn(ties):
    rng = np.random.default_rng(0)
    known, asked = rng.random((6, 50)) < 0.3, rng.random((6, 50)) < 0.7
    scores = rng.normal(size=(6, 50)) + known
    scores = np.round(scores) if ties else scores
    found = link_scores(known, scores, asked)
    y, s = known[asked], scores[asked]
    assert found["auroc"] == pytest.approx(roc_auc_score(y, s))
    assert found["auprc"] == pytest.approx(average_precision_score(y, s))
    assert found["auprc_ratio"] == pytest.approx(average_precision_score(y, s) / y.mean())
    own = [(known[tf, asked[tf]], scores[tf, asked[tf]]) for tf in range(6)]
    assert found["tf_auroc"] == pytest.approx(np.mean([roc_auc_score(*pair) for pair in own]))
    assert found["tf_auprc"] == pytest.approx(np.mean([average_precision_score(*pair) for pair in own]))
    assert (found["n_edges"], found["n_pairs"], found["n_tfs"]) == (y.sum(), len(y), 6)


def test_early_precision_counts_ties_in_expectation():
    y = np.array([True, False, True, False])
    assert early_precision(y, np.array([4.0, 3, 2, 1])) == 0.5
    assert early_precision(y, np.zeros(4)) == 0.5
    assert early_precision(y, np.array([1.0, 0, 0, 0])) == pytest.approx((1 + 1 / 3) / 2)


def test_nothing_to_tell_apart_gives_nan():
    found = link_scores(np.zeros((2, 4), dtype=bool), np.zeros((2, 4)), np.ones((2, 4), dtype=bool))
    assert np.isnan(found["auroc"])
    assert found["n_edges"] == 0
