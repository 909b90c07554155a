import numpy as np
import pytest
import scipy.sparse as sp
import torch
from small import CPU

from scbignn.graph import SparseProduct


def sparse(n=7, m=5, seed=0):
    """Random, with an empty row and an empty column."""
    rng = np.random.default_rng(seed)
    s = np.where(rng.random((n, m)) < 0.5, rng.normal(size=(n, m)), 0)
    s[2], s[:, 1] = 0, 0
    return s


@pytest.mark.parametrize("form", [sp.csr_matrix, sp.csc_matrix, sp.coo_matrix, sp.csr_array, sp.coo_array])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-13), (torch.float32, 1e-6)])
def test_value_and_gradient_equal_dense(form, dtype, tolerance):
    s, rng = sparse(), np.random.default_rng(1)
    z = torch.tensor(rng.normal(size=(5, 3)), dtype=dtype, requires_grad=True)
    upstream = torch.tensor(rng.normal(size=(7, 3)), dtype=dtype)
    out = SparseProduct(form(s), CPU, dtype)(z)
    out.backward(upstream)
    assert out.dtype == z.grad.dtype == dtype
    np.testing.assert_allclose(out.detach(), s @ z.detach().numpy(), rtol=tolerance, atol=tolerance)
    np.testing.assert_allclose(z.grad, s.T @ upstream.numpy(), rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("shape", [(7, 5), (4, 9), (3, 3)])
def test_gradcheck(shape):
    product = SparseProduct(sp.csr_matrix(sparse(*shape)), CPU, torch.float64)
    z = torch.tensor(np.random.default_rng(1).normal(size=(shape[1], 2)), requires_grad=True)
    assert torch.autograd.gradcheck(product, z)


def test_matrix_without_entries():
    product = SparseProduct(sp.csr_matrix((4, 3)), CPU, torch.float64)
    z = torch.ones(3, 2, dtype=torch.float64, requires_grad=True)
    out = product(z)
    out.sum().backward()
    assert out.shape == (4, 2)
    assert not out.any()
    assert not z.grad.any()


def test_repeated_entries_add_up():
    twice = sp.coo_matrix(([1.0, 2.0, 4.0], ([0, 0, 1], [1, 1, 0])), shape=(2, 2))
    out = SparseProduct(twice, CPU)(torch.eye(2))
    np.testing.assert_array_equal(out, [[0, 3], [4, 0]])


def test_gradient_that_is_not_contiguous():
    s = sparse()
    z = torch.randn(5, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0), requires_grad=True)
    SparseProduct(sp.csr_matrix(s), CPU, torch.float64)(z).sum().backward()  # an expanded scalar
    np.testing.assert_allclose(z.grad, np.repeat(s.sum(0)[:, None], 3, axis=1), atol=1e-12)


def test_later_changes_of_the_matrix_do_not_reach_the_product():
    matrix = sp.csr_matrix(sparse())
    product, z = SparseProduct(matrix, CPU, torch.float64), torch.ones(5, 2, dtype=torch.float64)
    before = product(z)
    matrix.data[:], matrix.indices[:] = 0, 0
    assert torch.equal(product(z), before)
