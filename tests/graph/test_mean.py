import importlib
import logging
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import reference
import scipy.sparse as sp
import torch
from small import CPU

from scbignn.graph import _mean, choose_engine, neighbor_mean

DGL = pytest.param("dgl", marks=pytest.mark.dgl)


@pytest.fixture
def dgl():
    try:
        return _mean._import_dgl()
    except Exception as error:  # noqa: BLE001 (a DGL that does not fit its torch fails in many ways)
        pytest.skip(f"DGL does not import: {error}")


@pytest.fixture(params=["torch", DGL])
def engine(request):
    if request.param == "dgl":
        request.getfixturevalue("dgl")
    return request.param


def directed(n=9, seed=0):
    """A directed graph with an empty row (2), a node nobody cites (4), a self-loop (5), and varying degrees."""
    rng = np.random.default_rng(seed)
    a = (rng.random((n, n)) < 0.35).astype(float)
    a[2], a[:, 4] = 0, 0
    a[5, 5] = 1
    return a


GRAPHS = {
    "directed": directed(),
    "no edges": np.zeros((4, 4)),
    "one edge": np.array([[0, 1, 0], [0, 0, 0], [0, 0, 0]]),
    "complete": 1 - np.eye(5),
}


@pytest.mark.parametrize("name", GRAPHS)
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-13), (torch.float32, 1e-6)])
def test_value_and_gradient_equal_dense(engine, name, dtype, tolerance):
    a, rng = GRAPHS[name], np.random.default_rng(1)
    z = torch.tensor(rng.normal(size=(len(a), 4)), dtype=dtype, requires_grad=True)
    upstream = torch.tensor(rng.normal(size=(len(a), 4)), dtype=dtype)
    out = neighbor_mean(sp.csr_matrix(a), engine, CPU, dtype)(z)
    out.backward(upstream)
    mean = reference.mean_matrix(a)
    np.testing.assert_allclose(out.detach(), mean @ z.detach().numpy(), rtol=tolerance, atol=tolerance)
    np.testing.assert_allclose(z.grad, mean.T @ upstream.numpy(), rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("name", GRAPHS)
def test_gradcheck(engine, name):
    a = GRAPHS[name]
    mean = neighbor_mean(sp.csr_matrix(a), engine, CPU, torch.float64)
    z = torch.tensor(np.random.default_rng(1).normal(size=(len(a), 3)), requires_grad=True)
    assert torch.autograd.gradcheck(mean, z)


@pytest.mark.dgl
@pytest.mark.usefixtures("dgl")
def test_engines_agree():
    rng = np.random.default_rng(0)
    a = sp.random(200, 200, 0.04, format="csr", random_state=rng)
    results = []
    for engine in ("dgl", "torch"):
        z = torch.tensor(np.random.default_rng(1).normal(size=(200, 16)), dtype=torch.float32, requires_grad=True)
        out = neighbor_mean(a, engine, CPU)(z)
        out.square().sum().backward()
        results.append((out.detach(), z.grad))
    for dgl_part, torch_part in zip(*results, strict=True):
        np.testing.assert_allclose(dgl_part, torch_part, rtol=1e-6, atol=1e-6)


def test_values_of_the_adjacency_are_ignored_also_zeros(engine):
    a = sp.csr_matrix(directed())
    a.data = np.linspace(-2, 2, a.nnz)
    a.data[0] = 0  # stored, hence an edge
    z = torch.tensor(np.random.default_rng(1).normal(size=(9, 2)))
    out = neighbor_mean(a, engine, CPU, torch.float64)(z)
    np.testing.assert_allclose(out, reference.mean_matrix(directed()) @ z.numpy(), atol=1e-13)


def test_adjacency_is_not_changed(engine):
    a = sp.csr_matrix(directed())
    a.data *= 3
    before = a.copy()
    neighbor_mean(a, engine, CPU)(torch.ones(9, 1))
    np.testing.assert_array_equal(a.data, before.data)
    np.testing.assert_array_equal(a.indices, before.indices)


# --- choice of the engine ---------------------------------------------------------------------------------------------


class FakeError(Exception):
    pass


def refuse(*_):
    msg = "trace\nDevice API is not enabled"
    raise FakeError(msg)


@pytest.fixture
def missing_dgl(monkeypatch):
    monkeypatch.setitem(sys.modules, "dgl", None)
    with pytest.raises(ImportError):
        importlib.import_module("dgl")


@pytest.fixture
def refusing_dgl(monkeypatch):
    """A DGL that imports, and refuses every device."""
    fake = SimpleNamespace(DGLError=FakeError, graph=lambda *_, **__: SimpleNamespace(to=refuse))
    monkeypatch.setitem(sys.modules, "dgl", fake)


@pytest.fixture(autouse=True)
def log_everything(caplog):
    caplog.set_level(logging.DEBUG, "scbignn")


@pytest.mark.dgl
@pytest.mark.parametrize("backend", ["auto", "dgl"])
def test_dgl_is_chosen_where_it_runs(backend, dgl, caplog):
    assert choose_engine(backend, CPU) == "dgl"
    assert not caplog.records


@pytest.mark.usefixtures("missing_dgl")
def test_torch_engine_needs_no_dgl(caplog):
    assert choose_engine("torch", CPU) == "torch"
    assert not caplog.records


@pytest.mark.parametrize("backend", ["DGL", "numpy", "", None])
def test_unknown_backend(backend):
    with pytest.raises(ValueError, match='Use backend="auto", "dgl" or "torch"'):
        choose_engine(backend, CPU)


@pytest.mark.usefixtures("missing_dgl")
def test_missing_dgl_falls_back_and_says_why_once(caplog):
    assert choose_engine("auto", CPU) == "torch"
    (record,) = caplog.records
    assert record.levelno == logging.INFO
    assert "DGL does not import (ModuleNotFoundError" in record.getMessage()


@pytest.mark.usefixtures("missing_dgl")
def test_missing_dgl_that_was_asked_for(caplog):
    with pytest.raises(RuntimeError, match='DGL does not import .*Use backend="torch"'):
        choose_engine("dgl", CPU)
    assert not caplog.records


@pytest.mark.parametrize("error", [OSError("cannot open\nlibdgl.so"), RuntimeError(""), AttributeError("x")])
def test_dgl_that_fails_to_import_in_another_way(monkeypatch, caplog, error):
    def fail():
        raise error

    monkeypatch.setattr(_mean, "_import_dgl", fail)
    assert choose_engine("auto", CPU) == "torch"
    (record,) = caplog.records
    assert f"({type(error).__name__}: " in record.getMessage()
    assert "\n" not in record.getMessage()


@pytest.mark.usefixtures("refusing_dgl")
def test_dgl_that_refuses_the_device_falls_back(caplog):
    assert choose_engine("auto", CPU) == "torch"
    (record,) = caplog.records
    assert record.levelno == logging.INFO
    assert "does not run on cpu (Device API is not enabled)" in record.getMessage()


@pytest.mark.usefixtures("refusing_dgl")
def test_dgl_that_refuses_the_cpu_and_was_asked_for():
    with pytest.raises(RuntimeError, match="does not run on cpu"):
        choose_engine("dgl", CPU)


@pytest.mark.usefixtures("refusing_dgl")
def test_dgl_that_refuses_an_accelerator_and_was_asked_for_warns(caplog):
    assert choose_engine("dgl", torch.device("cuda")) == "torch"
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert "does not run on cuda" in record.getMessage()
