import numpy as np
import pytest
import torch
from small import generator

from scbignn.regulation import _performer
from scbignn.regulation._performer import performer_attention


def drawn(length, seed=0, n_heads=3, d=8, n_features=12):
    g = generator(seed)
    q, k, v = (torch.randn(n_heads, length, d, generator=g, dtype=torch.float64) * 2 for _ in range(3))
    return q, k, v, torch.randn(n_features, d, generator=g, dtype=torch.float64)


def dense(q, k, v, projection):
    """The same with all of A written out: features, kernel, rows that sum to 1."""
    q, k, v, projection = (part.numpy() for part in (q, k, v, projection))
    d = q.shape[-1]

    def features(x, highest):
        logits = np.einsum("hld,md->hlm", x / d**0.25, projection)
        top = logits.max(axis=-1, keepdims=True) if highest == "query" else logits.max()
        return np.exp(logits - (x**2).sum(-1, keepdims=True) / (2 * np.sqrt(d)) - top) + 1e-4

    a = features(q, "query") @ features(k, "all").transpose(0, 2, 1)
    a /= a.sum(-1, keepdims=True)
    return a @ v, a.mean((0, 1))


@pytest.mark.parametrize("length", [1, 7, 40])
def test_it_equals_the_dense_kernel(length, monkeypatch):
    monkeypatch.setattr(_performer, "_CHUNK", 6)  # several chunks, the last of them shorter
    problem = drawn(length)
    out, received = performer_attention(*problem, received=True)
    expected, expected_received = dense(*problem)
    np.testing.assert_allclose(out.numpy(), expected, rtol=1e-10)
    np.testing.assert_allclose(received.numpy(), expected_received, rtol=1e-10)
    assert received.sum() == pytest.approx(1)


def test_attention_is_only_computed_where_it_is_asked_for():
    problem = drawn(5)
    out, received = performer_attention(*problem)
    assert received is None
    np.testing.assert_array_equal(out, performer_attention(*problem, received=True)[0])


def test_with_many_features_it_comes_close_to_softmax():
    q, k, v, _ = drawn(20, d=4)
    q, k = q / 4, k / 4
    projection = torch.randn(20_000, 4, generator=generator(1), dtype=torch.float64)
    expected = (q @ k.transpose(1, 2) / 2).softmax(-1) @ v
    np.testing.assert_allclose(performer_attention(q, k, v, projection)[0], expected, atol=0.1)


def test_large_values_do_not_overflow():
    q, k, v, projection = drawn(9)
    out, received = performer_attention(30 * q.float(), 30 * k.float(), v.float(), projection.float(), received=True)
    assert torch.isfinite(out).all()
    assert torch.isfinite(received).all()
