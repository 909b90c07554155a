import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.special import expit

from scbignn.regulation import fit_degree


def problem(seed=0):
    rng = np.random.default_rng(seed)
    p = expit(-1 + rng.normal(size=(6, 1)) + rng.normal(size=9))
    return rng.random((6, 9)) < p, rng.random((6, 9)) < 0.8


@pytest.mark.parametrize("penalties", [(0.1, 0.5), (1.0, 3.0)])
def test_rates_minimise_the_penalised_likelihood(penalties):
    known, shown = problem()

    def loss(theta):
        mu, a, b = theta[0], theta[1:7], theta[7:]
        logits = (mu + a[:, None] + b)[shown]
        likelihood = known[shown] @ logits - np.logaddexp(0, logits).sum()
        return -likelihood + (penalties[0] * a @ a + penalties[1] * b @ b) / 2

    best = minimize(loss, np.zeros(16), method="BFGS", options={"gtol": 1e-8}).x
    found = fit_degree(known, shown, *penalties)
    np.testing.assert_allclose(np.r_[found.intercept, found.tf, found.gene], best, atol=1e-4)
    np.testing.assert_allclose(found.logits(), best[0] + best[1:7, None] + best[7:], atol=1e-4)


def test_hidden_pairs_are_not_read():
    known, shown = problem()
    np.testing.assert_array_equal(fit_degree(known ^ ~shown, shown).logits(), fit_degree(known, shown).logits())


def test_of_what_is_not_shown_the_rate_is_average():
    known, shown = problem()
    shown[2], shown[:, 4] = False, False
    found = fit_degree(known, shown)
    assert found.tf[2] == 0
    assert found.gene[4] == 0
    assert np.isfinite(fit_degree(known, np.zeros_like(shown)).logits()).all()


@pytest.mark.parametrize("value", [True, False])
def test_all_or_no_edges_give_finite_rates(value):
    known = np.full((5, 7), value)
    assert np.isfinite(fit_degree(known, np.ones((5, 7), dtype=bool)).logits()).all()
