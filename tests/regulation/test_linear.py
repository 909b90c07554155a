import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from scbignn.regulation._linear import ridge_logistic


@pytest.mark.parametrize("penalty", [0.5, 20.0])
def test_without_an_offset_it_is_that_of_scikit_learn(penalty):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(80, 4))
    y = (x[:, 0] + rng.normal(size=80) > 0.3).astype(float)
    w, c = ridge_logistic(x, y, np.zeros(80), penalty)
    theirs = LogisticRegression(C=1 / penalty, tol=1e-8, max_iter=1000).fit(x, y)
    np.testing.assert_allclose(w, theirs.coef_[0], atol=1e-3)
    assert c == pytest.approx(theirs.intercept_[0], abs=1e-3)


def test_it_corrects_an_offset():
    rng = np.random.default_rng(0)
    x, offset = rng.normal(size=(4000, 2)), rng.normal(size=4000)
    y = (rng.random(4000) < 1 / (1 + np.exp(-(offset + 2 * x[:, 0] - 1)))).astype(float)
    w, c = ridge_logistic(x, y, offset, 1.0)
    np.testing.assert_allclose([*w, c], [2, 0, -1], atol=0.2)


def test_an_infinite_penalty_leaves_the_offset():
    w, c = ridge_logistic(np.ones((3, 2)), np.array([0.0, 1, 1]), np.zeros(3), np.inf)
    assert (w == 0).all()
    assert c == 0
