import numpy as np
import pytest
import scipy.sparse as sp
from small import labelled

from scbignn.annotation import Believed, _anchor, _linear, fit_anchor, unit_rows
from scbignn.annotation._linear import Linear


def test_linear_decisions_by_their_definition():
    rng = np.random.default_rng(0)
    x = sp.random(20, 7, 0.4, format="csr", random_state=0, dtype=np.float32)
    machine = Linear(rng.normal(size=(3, 7)).astype(np.float32), rng.normal(size=3).astype(np.float32))
    expected = x.toarray().astype(np.float64) @ machine.weights.T + machine.bias
    for cells in (x, x.toarray()):
        found = machine(cells)
        assert (found.shape, found.dtype, type(found)) == ((20, 3), np.float32, np.ndarray)
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


def test_many_cells_are_fitted_in_mini_batches(monkeypatch):
    x, y = labelled(300)
    exact = fit_anchor(x, y, 3, seed=0).decisions
    monkeypatch.setattr(_linear, "MINI_BATCH_CELLS", 50)
    found = fit_anchor(x, y, 3, seed=0).decisions
    assert (found != exact).any()
    assert np.mean(found.argmax(1) == exact.argmax(1)) > 0.9


@pytest.mark.parametrize("n_labels", [2, 3])
@pytest.mark.parametrize("beside", [False, True])
@pytest.mark.parametrize("refit", [False, True])
def test_machines_found_together_are_those_found_one_by_one(monkeypatch, n_labels, beside, refit):
    rng = np.random.default_rng(0)
    x, y = labelled(300, n_labels=n_labels)
    x = unit_rows(x + sp.random(300, 12, 0.9, format="csr", random_state=0) * 2)
    y[np.flatnonzero(y == n_labels - 1)[1:]] = -1  # a label's only cell
    monkeypatch.setattr(_linear, "_PRODUCTS_OF_VALUE", 1000)
    named = {"seed": 0, "beside": rng.normal(size=(300, 4)).astype(np.float32) / 4 if beside else None}
    if refit:
        weights = np.where(y >= 0, 1, rng.random(300).round(1))
        named["believed"] = Believed(rng.integers(n_labels, size=300), weights)
        monkeypatch.setattr(_anchor, "_REFIT_TOLERANCE", 1e-4)
    together = fit_anchor(x, y, n_labels + 1, **named)
    monkeypatch.setattr(_linear, "TOGETHER_CELLS", 0)
    one_by_one = fit_anchor(x, y, n_labels + 1, **named)
    assert together.penalty == one_by_one.penalty
    np.testing.assert_allclose(together.decisions, one_by_one.decisions, atol=5e-3)
    np.testing.assert_allclose(together.machine.weights, one_by_one.machine.weights, atol=1e-2)
    np.testing.assert_allclose(together.machine.bias, one_by_one.machine.bias, atol=1e-2)
    assert together.machine.weights.dtype == together.decisions.dtype == np.float32
    assert (together.decisions[:, -1] == -1).all()  # no cell has it
    if n_labels == 2:
        np.testing.assert_array_equal(together.decisions[:, 0], -together.decisions[:, 1])


def test_cells_of_any_length_and_very_many_are_not_fitted_together(monkeypatch):
    x, y = labelled(60)
    n_cells, n_values = np.sum(y >= 0), x[y >= 0].nnz
    called, together = [], _linear._Together
    monkeypatch.setattr(_linear, "_Together", lambda *of: called.append(True) or together(*of))
    fit_anchor(x, y, 3, seed=0)
    assert not called
    for most, products in ((n_cells - 1, 1000), (n_cells, 0.99 * n_cells**2 / n_values)):
        monkeypatch.setattr(_linear, "TOGETHER_CELLS", most)
        monkeypatch.setattr(_linear, "_PRODUCTS_OF_VALUE", products)
        fit_anchor(unit_rows(x), y, 3, seed=0)
        assert not called
    monkeypatch.setattr(_linear, "_PRODUCTS_OF_VALUE", 1.01 * n_cells**2 / n_values)
    fit_anchor(unit_rows(x), y, 3, seed=0)
    assert called
