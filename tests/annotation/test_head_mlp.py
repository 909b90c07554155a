"""MLPs of narrow heads against the same in double precision."""

import numba
import numpy as np
import pytest
import torch

from scbignn.annotation import _head_mlp
from scbignn.annotation._head_mlp import head_mlp

N_HEADS, N_HIDDEN = 3, 16


def given(n, seed=0):
    """x, w1, b1, w2, b2."""
    generator = torch.Generator().manual_seed(seed)
    shapes = (N_HEADS, 8, n), (N_HEADS, 8, N_HIDDEN), (N_HEADS, N_HIDDEN), (N_HEADS, N_HIDDEN, 8), (N_HEADS, 8)
    return [torch.randn(shape, generator=generator, requires_grad=True) for shape in shapes]


def by_products(x, w1, b1, w2, b2):
    hidden = (w1.mT @ x + b1[..., None]).relu()
    return (w2.mT @ hidden + b2[..., None]).permute(2, 0, 1).flatten(1)


# Around the eight numbers that are worked on at once, and around a block.
@pytest.mark.parametrize("n", [0, 1, 7, 8, 9, _head_mlp._BLOCK, 2 * _head_mlp._BLOCK + 3])
def test_values_and_gradients_are_those_of_the_products(n):
    single = given(n)
    double = [a.detach().double().requires_grad_() for a in single]
    found, expected = head_mlp(*single), by_products(*double)
    assert found.shape == (n, 8 * N_HEADS)
    torch.testing.assert_close(found.double(), expected, rtol=1e-5, atol=1e-5)
    upstream = torch.randn(found.shape, generator=torch.Generator().manual_seed(1))
    found.backward(upstream)
    expected.backward(upstream.double())
    for one, other in zip(single, double, strict=True):
        torch.testing.assert_close(one.grad.double(), other.grad, rtol=1e-4, atol=1e-4)


def test_threads_share_the_positions(monkeypatch):
    monkeypatch.setattr(_head_mlp, "_PRODUCTS_PER_THREAD", 1000)
    before = torch.get_num_threads()
    found = []
    try:
        for n_threads in (1, 3, 20):
            torch.set_num_threads(n_threads)
            arguments = given(4 * _head_mlp._BLOCK + 5)
            assert len(_head_mlp._parts(*arguments[:2])) == min(n_threads, 5)
            out = head_mlp(*arguments)
            out.square().sum().backward()
            found.append((out.detach(), arguments))
    finally:
        torch.set_num_threads(before)
    for out, arguments in found[1:]:
        assert torch.equal(out, found[0][0])
        for one, other in zip(arguments, found[0][1], strict=True):
            torch.testing.assert_close(one.grad, other.grad, rtol=1e-4, atol=1e-2)  # of sums in another order


def test_memory_may_lie_in_another_order():
    plain, moved = given(20), given(20)
    moved[0] = moved[0].detach().permute(2, 0, 1).contiguous().permute(1, 2, 0).requires_grad_()
    for arguments in (plain, moved):
        head_mlp(*arguments).T.contiguous().square().sum().backward()
    assert not moved[0].is_contiguous()
    assert torch.equal(plain[0].grad, moved[0].grad)


@pytest.mark.parametrize("place", range(5))
def test_what_is_no_number_stays_none(place):
    arguments = [a.detach() for a in given(9)]
    arguments[place].view(-1)[0] = np.nan
    assert head_mlp(*arguments).isnan().any()


def test_other_types_are_left_to_torch():
    assert head_mlp(*(a.detach().double() for a in given(9))) is None


def test_numba_may_be_told_not_to_compile(monkeypatch):
    monkeypatch.setattr(numba.config, "DISABLE_JIT", 1)
    assert head_mlp(*(a.detach() for a in given(9))) is None


def test_there_is_no_second_derivative():
    arguments = given(9)
    (slope,) = torch.autograd.grad(head_mlp(*arguments).square().sum(), arguments[0], create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        slope.sum().backward()
