import numpy as np
import pytest
import scipy.sparse as sp
import torch
from small import generator

from scbignn.graph import _mean, neighbor_attention, neighbor_sum

CPU = torch.device("cpu")


@pytest.fixture(params=["torch", pytest.param("dgl", marks=pytest.mark.dgl)])
def engine(request):
    if request.param == "dgl":
        try:
            _mean._import_dgl()
        except Exception as error:  # noqa: BLE001
            pytest.skip(f"DGL does not import: {error}")
    return request.param


def graph(n=9):
    rng = np.random.default_rng(0)
    a = rng.random((n, n)) < 0.4
    a[3] = False  # a gene without neighbours
    return sp.csr_matrix(a.astype(float) * rng.normal(size=(n, n)))


def leaves(*shapes):
    g = generator()
    return [torch.randn(shape, generator=g, dtype=torch.float64, requires_grad=True) for shape in shapes]


def dense_attention(a, z, left, right):
    logits = torch.nn.functional.leaky_relu(left[:, None] + right, 0.2)  # (n, n, H)
    weight = torch.where(torch.as_tensor(a.toarray() != 0)[..., None], logits.exp(), 0)
    total = weight.sum(1, keepdim=True)
    return torch.einsum("ijh,jhd->ihd", weight / torch.where(total > 0, total, 1), z)


def test_attention_equals_dense_in_value_and_gradient(engine):
    found, expected = leaves((9, 2, 3), (9, 2), (9, 2)), leaves((9, 2, 3), (9, 2), (9, 2))
    out = neighbor_attention(graph(), engine, CPU)(*found)
    dense = dense_attention(graph(), *expected)
    torch.testing.assert_close(out, dense)
    assert (out[3] == 0).all()
    weight = torch.randn(9, 2, 3, generator=generator(5), dtype=torch.float64)
    (out * weight).sum().backward()
    (dense * weight).sum().backward()
    for ours, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(ours.grad, theirs.grad)


def test_large_logits_do_not_overflow(engine):
    z, left, right = leaves((9, 1, 2), (9, 1), (9, 1))
    assert torch.isfinite(neighbor_attention(graph(), engine, CPU)(z, 1e3 * left, 1e3 * right)).all()


def test_sums_are_weighted(engine):
    (z,) = leaves((9, 4))
    out = neighbor_sum(graph(), engine, CPU, torch.float64)(z)
    np.testing.assert_allclose(out.detach(), graph() @ z.detach().numpy())
    out.square().sum().backward()
    np.testing.assert_allclose(z.grad, 2 * graph().T @ (graph() @ z.detach().numpy()))
