import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from scbignn.regulation._linear import ridge_logistic, ridge_logistics


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


@pytest.mark.parametrize("penalty", [0.5, 20.0])
def test_where_it_starts_from_does_not_matter(penalty):
    rng = np.random.default_rng(0)
    x, offset = rng.normal(size=(200, 3)), rng.normal(size=200)
    y = (rng.random(200) < 1 / (1 + np.exp(-offset - x[:, 0]))).astype(float)
    w, c = ridge_logistic(x, y, offset, penalty)
    other, other_c = ridge_logistic(x, y, offset, penalty, (rng.normal(size=3) * 5, -4.0))
    np.testing.assert_allclose([*other, other_c], [*w, c], atol=1e-3)


@pytest.mark.parametrize("penalty", [0.5, 20.0, np.inf])
@pytest.mark.parametrize("started", [False, True])
def test_many_at_once_are_each_by_itself(penalty, started):
    rng = np.random.default_rng(0)
    x, offset = rng.normal(size=(60, 3)), rng.normal(size=(7, 60))
    y = (rng.random((7, 60)) < 1 / (1 + np.exp(-offset - 3 * x[:, 0]))).astype(float)
    y[5] = 0  # one without an edge
    inside = rng.random((7, 60)) < 0.7
    inside[6] = False
    start = (rng.normal(size=(7, 3)) * inside.any(1, keepdims=True) * 5, np.zeros(7)) if started else None
    w, c = ridge_logistics(x, y, offset, inside, penalty, start)
    for row in range(5):
        own = inside[row]
        expected, expected_c = ridge_logistic(x[own], y[row, own], offset[row, own], penalty)
        np.testing.assert_allclose([*w[row], c[row]], [*expected, expected_c], atol=2e-3)
    assert (w[5] @ x.T + c[5] + offset[5] < -8).all() or np.isinf(penalty)  # as sure as may be
    assert not w[6].any()
    assert c[6] == 0
