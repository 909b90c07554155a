"""What tokens go through one by one against the same by torch, in double precision."""

import numba
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from scbignn._layers import mlp
from scbignn.annotation._token_loops import add_and_normalize, embed, lines_of, weigh_and_sum

N_GENES, WIDTH, N_HIDDEN = 7, 12, 5


def normal(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def doubled(*tensors):
    return [tensor.detach().double().requires_grad_() for tensor in tensors]


def assert_same(found, expected, single, double):
    """Values, and gradients in all that is given."""
    torch.testing.assert_close(found.double(), expected, rtol=1e-5, atol=1e-5)
    upstream = normal(*found.shape, seed=1)
    found.backward(upstream)
    expected.backward(upstream.double())
    for one, other in zip(single, double, strict=True):
        torch.testing.assert_close(one.grad.double(), other.grad, rtol=1e-4, atol=1e-4)


def counts(n_hidden=N_HIDDEN, seed=0):
    return mlp(1, n_hidden, WIDTH, torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("n", [0, 1, 50])
def test_embedding_is_table_and_mlp(n):
    genes, values = torch.arange(n) % N_GENES, (3 * normal(n)).requires_grad_()
    table, count, other_count = normal(N_GENES, WIDTH).requires_grad_(), counts(), counts().double()
    other_values, other_table = doubled(values, table)
    found = embed(genes, values, table, count)
    expected = F.embedding(genes, other_table) + other_count(other_values[:, None])
    assert found.shape == (n, WIDTH)
    assert_same(
        found,
        expected,
        [values, table, *count.parameters()],
        [other_values, other_table, *other_count.parameters()],
    )


@torch.no_grad()
def test_units_that_never_change_have_no_end():
    count = counts(n_hidden=6)
    count[0].weight[:, 0] = torch.tensor([0.0, -0.0, 0.0, -0.0, 0.0, 2.0])
    count[0].bias[:] = torch.tensor([1.0, 2.0, -1.0, -2.0, 0.0, -3.0])
    values = torch.linspace(-5, 5, 41)
    ends, offsets, slopes = lines_of(count)
    line = torch.searchsorted(ends.nan_to_num(torch.inf), values)
    torch.testing.assert_close(offsets[line] + values[:, None] * slopes[line], count(values[:, None]))
    found = embed(torch.zeros(41, dtype=torch.int64), values, torch.zeros(1, WIDTH), count)
    torch.testing.assert_close(found, count(values[:, None]))


@torch.no_grad()
def test_lines_meet_at_their_ends():
    ends, offsets, slopes = lines_of(counts())
    assert ends.diff().min() > 0
    left, right = (offsets[part] + ends[:, None] * slopes[part] for part in (slice(None, -1), slice(1, None)))
    torch.testing.assert_close(left, right, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("n", [0, 1, 50])
def test_sum_is_normalized(n):
    norm = nn.LayerNorm(WIDTH)
    nn.init.normal_(norm.weight, generator=torch.Generator().manual_seed(2))
    nn.init.normal_(norm.bias, generator=torch.Generator().manual_seed(3))
    single = [normal(n, WIDTH).requires_grad_(), normal(n, WIDTH, seed=4).requires_grad_(), *norm.parameters()]
    double = doubled(*single)
    expected = F.layer_norm(double[0] + double[1], (WIDTH,), double[2], double[3], norm.eps)
    assert_same(add_and_normalize(*single[:2], norm), expected, single, double)


@torch.no_grad()
def test_tokens_that_hardly_vary_are_normalized_as_by_torch():
    f, out, norm = torch.full((2, WIDTH), 10.0), 1e-2 * normal(2, WIDTH), nn.LayerNorm(WIDTH)
    torch.testing.assert_close(add_and_normalize(f, out, norm), norm(f + out), rtol=0, atol=1e-3)


def test_tokens_are_weighed_and_summed_by_cell():
    starts, lengths = np.array([0, 3, 4, 10]), np.array([3, 1, 6, 20])
    genes = torch.arange(30) % N_GENES
    single = [a.requires_grad_() for a in (normal(30, WIDTH), normal(30, seed=5), normal(N_GENES, WIDTH, seed=6))]
    double = doubled(*single)
    rows = double[1][:, None] * double[2][genes] * double[0]
    expected = torch.stack([part.sum(0) for part in rows.split(lengths.tolist())])
    found = weigh_and_sum(single[0], single[1], genes, single[2], starts, lengths)
    assert_same(found, expected, single, double)


def test_memory_may_lie_in_another_order():
    f, norm = normal(WIDTH, 9).T, nn.LayerNorm(WIDTH)
    assert not f.is_contiguous()
    found = []
    for given in (f, f.contiguous()):
        given = given.detach().requires_grad_()
        out = add_and_normalize(given, given, norm) + weigh_and_sum(
            given, torch.ones(9), torch.zeros(9, dtype=torch.int64), torch.ones(1, WIDTH), np.array([0]), np.array([9])
        )
        out.T.contiguous().square().sum().backward()
        found.append(given.grad)
    assert torch.equal(*found)


@torch.no_grad()
def test_what_is_no_number_stays_none():
    values, genes = torch.tensor([1.0, torch.nan]), torch.zeros(2, dtype=torch.int64)
    one = torch.ones(1, WIDTH)
    assert embed(genes, values, one, counts()).isnan().any(1).tolist() == [False, True]
    f = values[:, None].expand(2, WIDTH)
    assert add_and_normalize(f, f, nn.LayerNorm(WIDTH)).isnan().any(1).tolist() == [False, True]
    assert weigh_and_sum(f, values, genes, one, np.arange(2), np.ones(2, int)).isnan().any(1).tolist() == [False, True]


def answers(dtype):
    f, genes = torch.ones(3, WIDTH, dtype=dtype), torch.zeros(3, dtype=torch.int64)
    return [
        embed(genes, f[:, 0], f, counts()),
        add_and_normalize(f, f, nn.LayerNorm(WIDTH)),
        weigh_and_sum(f, f[:, 0], genes, f, np.array([0]), np.array([3])),
    ]


def test_other_types_are_left_to_torch():
    assert answers(torch.float64) == [None] * 3


def test_numba_may_be_told_not_to_compile(monkeypatch):
    monkeypatch.setattr(numba.config, "DISABLE_JIT", 1)
    assert answers(torch.float32) == [None] * 3
