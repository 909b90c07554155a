"""Attention of narrow heads against the softmax of Eq. 4 in double precision."""

import numba
import numpy as np
import pytest
import torch

from scbignn.annotation import _gram_attention
from scbignn.annotation._gram_attention import gram_attention

#: Around the eight numbers that are worked on at once; two positions of padding after each.
LENGTHS = np.array([1, 2, 7, 8, 9, 0, 33, 150])
STARTS = (LENGTHS + 2).cumsum() - LENGTHS - 2
N = int((LENGTHS + 2).sum())
SCALE = 8**-0.5


def matrix(size, seed=0):
    rng = np.random.default_rng(seed)
    return torch.from_numpy(size * rng.normal(size=(3, 8, N)).astype(np.float32)).requires_grad_()


def by_softmax(p, scale):
    """R P in double precision, 0 where padded."""
    parts = []
    for start, length in zip(STARTS, LENGTHS, strict=True):
        own = p[:, :, start : start + length]
        parts += [own @ (scale * own.mT @ own).softmax(1), torch.zeros_like(p[:, :, :2])]
    return torch.cat(parts, 2)


# Largest exponents of 2: .02, 18, 70, 165; the last is shifted down.
@pytest.mark.parametrize("size", [0.03, 1.0, 2.0, 3.0])
def test_values_and_gradients_are_those_of_the_softmax(size):
    p, double = matrix(size), matrix(size).detach().double().requires_grad_()
    upstream = torch.from_numpy(np.random.default_rng(1).normal(size=p.shape))
    found, expected = gram_attention(p, STARTS, LENGTHS, SCALE), by_softmax(double, SCALE)
    torch.testing.assert_close(found.double(), expected, rtol=0, atol=2e-6 * expected.abs().max().item())
    found.backward(upstream.float())
    expected.backward(upstream)
    torch.testing.assert_close(p.grad.double(), double.grad, rtol=0, atol=1e-5 * double.grad.abs().max().item())
    padding = torch.ones(N, dtype=torch.bool)
    for start, length in zip(STARTS, LENGTHS, strict=True):
        padding[start : start + length] = False
    assert padding.sum() == 2 * len(LENGTHS)
    assert not found[:, :, padding].any()
    assert not p.grad[:, :, padding].any()


def test_small_gradients_keep_their_digits():
    p = matrix(3.0)
    upstream = torch.randn(p.shape, generator=torch.Generator().manual_seed(0))
    one, tiny = (
        torch.autograd.grad(gram_attention(p, STARTS, LENGTHS, SCALE), p, size * upstream)[0] / size
        for size in (1, 1e-8)
    )
    torch.testing.assert_close(tiny, one, rtol=1e-4, atol=1e-6 * one.abs().max().item())


def test_any_number_of_threads_gives_the_same(monkeypatch):
    monkeypatch.setattr(_gram_attention, "_ENTRIES_PER_THREAD", 5000)  # of 72,000
    before = torch.get_num_threads()
    found = []
    try:
        for n_threads in (1, 3, 20):
            torch.set_num_threads(n_threads)
            p = matrix(1.0)
            mixed = gram_attention(p, STARTS, LENGTHS, SCALE)
            mixed.square().sum().backward()
            found.append((mixed.detach(), p.grad))
    finally:
        torch.set_num_threads(before)
    for other in found[1:]:
        assert torch.equal(other[0], found[0][0])
        assert torch.equal(other[1], found[0][1])


def test_memory_may_lie_in_another_order():
    p = matrix(1.0).detach()
    other = p.permute(2, 0, 1).contiguous().permute(1, 2, 0).requires_grad_()
    p.requires_grad_()
    for x in (p, other):
        gram_attention(x, STARTS, LENGTHS, SCALE).mT.contiguous().square().sum().backward()
    assert not other.is_contiguous()
    assert torch.equal(p.grad, other.grad)


@pytest.mark.parametrize("spoilt", [50.0, np.nan, np.inf])
def test_what_is_too_large_or_no_number_is_left_to_torch(spoilt):
    p = matrix(1.0).detach()
    assert gram_attention(p, STARTS, LENGTHS, SCALE) is not None
    p[1, 3, 20] = spoilt
    assert gram_attention(p, STARTS, LENGTHS, SCALE) is None


def test_other_types_and_long_cells_are_left_to_torch(monkeypatch):
    p = matrix(1.0).detach()
    assert gram_attention(p.double(), STARTS, LENGTHS, SCALE) is None
    monkeypatch.setattr(_gram_attention, "MAX_LENGTH", 149)
    assert gram_attention(p, STARTS, LENGTHS, SCALE) is None


def test_numba_may_be_told_not_to_compile(monkeypatch):
    monkeypatch.setattr(numba.config, "DISABLE_JIT", 1)
    assert gram_attention(matrix(1.0).detach(), STARTS, LENGTHS, SCALE) is None


def test_a_long_cell_has_room():
    length = np.array([_gram_attention.MAX_LENGTH])
    p = torch.randn(1, 8, length[0], generator=torch.Generator().manual_seed(0))
    found = gram_attention(p, np.array([0]), length, SCALE)
    torch.testing.assert_close(found, p @ (SCALE * p.mT @ p).softmax(1), rtol=1e-4, atol=1e-5)


def test_there_is_no_second_derivative():
    p = matrix(1.0)
    (slope,) = torch.autograd.grad(gram_attention(p, STARTS, LENGTHS, SCALE).square().sum(), p, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        slope.sum().backward()
