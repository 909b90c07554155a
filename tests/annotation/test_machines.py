import numpy as np
import pytest
import scipy.sparse as sp
from sklearn.svm import LinearSVC

from scbignn.annotation import _machines, unit_rows
from scbignn.annotation._machines import InnerProducts, fit_machines, inner_products


def cells(n=150, m=80, density=0.3, seed=0):
    x = sp.random(n, m, density, format="csr", random_state=seed, dtype=np.float32)
    return unit_rows(sp.csr_matrix(x + sp.csr_matrix(np.eye(n, m, dtype=np.float32) * 0.1)))


def problem(n_labels=4, n=150):
    x = cells(n)
    direction = np.random.default_rng(1).normal(size=(80, n_labels))
    y = np.asarray(x @ direction).argmax(1)
    sign = np.where(y[:, None] == np.arange(n_labels), 1, -1).astype(np.float32)
    return x, y, sign, inner_products(x) + 1


def exact(x, y, penalty, weights=None):
    """Weights and biases of scikit-learn's machines, a row a label."""
    machine = LinearSVC(C=penalty, tol=1e-8, max_iter=100_000, random_state=0).fit(x, y, sample_weight=weights)
    return machine.coef_, machine.intercept_


def objective(weights, bias, x, sign, cost):
    short = np.maximum(0, 1 - sign * (x @ weights.T + bias))
    return 0.5 * (np.sum(weights**2, axis=1) + bias**2) + np.sum(cost * short**2, axis=0)


def test_inner_products_by_their_definition(monkeypatch):
    x = cells(200, 90, 0.1)
    n_cells = np.diff(x.tocsc().indptr)
    assert n_cells.min() < 20 < n_cells.max()
    expected = x.toarray().astype(np.float64) @ x.toarray().T
    for few in (0, 20, 1000):
        monkeypatch.setattr(_machines, "_FEW_CELLS", few)
        for n_genes in (7, 2048):
            monkeypatch.setattr(_machines, "_GENES", n_genes)
            found = inner_products(x)
            assert found.dtype == np.float32
            np.testing.assert_allclose(found, expected, atol=1e-6)
            np.testing.assert_array_equal(found, found.T)


@pytest.mark.parametrize("keep", [False, True])
def test_inner_products_of_all_cells_are_kept_on_request(monkeypatch, keep):
    x, asked = cells(), []
    monkeypatch.setattr(_machines, "inner_products", lambda part: asked.append(part.shape[0]) or inner_products(part))
    products, expected = InnerProducts(x, keep=keep), inner_products(x)
    for some in ([30, 2, 77], [77, 30], [5]):
        np.testing.assert_allclose(products.among(np.array(some)), expected[np.ix_(some, some)], atol=1e-6)
    assert asked == ([150] if keep else [3, 2, 1])


def test_inner_products_asked_for_last_are_not_found_again_nor_among_more_cells(monkeypatch):
    x, asked = cells(), []
    monkeypatch.setattr(_machines, "inner_products", lambda part: asked.append(part.shape[0]) or inner_products(part))
    place = np.arange(0, 150, 3)
    products, some, others = InnerProducts(x[place]), np.array([4, 9, 30]), np.array([4, 9, 31])
    for _ in range(2):
        found = products.among(some)
    assert asked == [3]
    more = products.within(x, place)
    np.testing.assert_array_equal(more.among(place[some]), found)
    assert asked == [3]
    np.testing.assert_allclose(more.among(place[others]), inner_products(x[place[others]]), atol=1e-6)
    np.testing.assert_allclose(products.among(others), inner_products(x[place[others]]), atol=1e-6)
    assert asked == [3, 3, 3]
    fresh = InnerProducts(x[place]).within(x, place)
    np.testing.assert_allclose(fresh.among(some), inner_products(x[some]), atol=1e-6)


@pytest.mark.parametrize("penalty", [0.1, 1.0, 5.0])
def test_machines_are_those_of_scikit_learn(penalty):
    x, y, sign, gram = problem()
    beta, decisions = fit_machines(gram, sign, np.full_like(sign, penalty))
    weights, bias = exact(x, y, penalty)
    np.testing.assert_allclose(beta.T @ x, weights, atol=1e-3)
    np.testing.assert_allclose(beta.sum(0), bias, atol=1e-3)
    np.testing.assert_allclose(decisions, x @ weights.T + bias, atol=1e-3)
    assert beta.dtype == decisions.dtype == np.float32


def test_cells_count_by_their_cost_and_those_without_one_are_not_seen():
    x, y, sign, gram = problem()
    rng = np.random.default_rng(0)
    shares = rng.random(150), np.where(np.arange(150) % 3, 1.0, 0.0)
    cost = np.repeat(np.column_stack(shares), 4, axis=1).astype(np.float32)
    beta, decisions = fit_machines(gram, np.tile(sign, 2), cost)
    assert not beta[::3, 4:].any()
    for share, part in zip(shares, np.split(decisions, 2, axis=1), strict=True):
        seen = share > 0
        weights, bias = exact(x[seen], y[seen], 1.0, share[seen])
        np.testing.assert_allclose(part, x @ weights.T + bias, atol=1e-3)


def test_the_minimum_is_found_from_anywhere():
    x, y, sign, gram = problem()
    cost = np.full_like(sign, 5.0)
    weights, bias = exact(x, y, 5.0)
    least = objective(weights, bias, x, sign, cost)
    rng = np.random.default_rng(0)
    for scale in (0, 0.1, 100):
        start = scale * rng.normal(size=sign.shape).astype(np.float32)
        before = objective((start.T @ x), start.sum(0), x, sign, cost)
        beta, _ = fit_machines(gram, sign, cost, start)
        found = objective(beta.T @ x, beta.sum(0), x, sign, cost)
        np.testing.assert_allclose(found, least, rtol=1e-4)
        assert scale == 0 or (before > 1.5 * least).all()


def test_a_whole_step_may_be_too_far(monkeypatch):
    """Where every cell is far beyond its margin, one step back finds none there and all of them short."""
    x, y, sign, gram = problem()
    cost, start = np.full_like(sign, 5.0), 100 * sign
    shares, search = [], _machines._line_search
    monkeypatch.setattr(_machines, "_line_search", lambda *of: shares.append(search(*of)) or shares[-1])
    from_afar, _ = fit_machines(gram, sign, cost, start)
    assert min(share.min() for share in shares) < 1
    assert all(share.min() > 0 and share.max() <= 1 for share in shares)
    least = objective(*exact(x, y, 5.0), x, sign, cost)
    np.testing.assert_allclose(objective(from_afar.T @ x, from_afar.sum(0), x, sign, cost), least, rtol=3e-4)


def test_machines_do_not_depend_on_those_beside_them(monkeypatch):
    _, _, sign, gram = problem(n_labels=5)
    cost = np.full_like(sign, 1.0)
    together = fit_machines(gram, sign, cost)[1]
    monkeypatch.setattr(_machines, "_BLOCK", 2)
    np.testing.assert_allclose(fit_machines(gram, sign, cost)[1], together, atol=1e-3)


def test_what_is_given_stays_as_it_is():
    _, _, sign, gram = problem()
    given = gram, sign, np.full_like(sign, 1.0), 0.1 * sign
    before = [part.copy() for part in given]
    fit_machines(*given)
    for part, as_it_was in zip(given, before, strict=True):
        np.testing.assert_array_equal(part, as_it_was)
