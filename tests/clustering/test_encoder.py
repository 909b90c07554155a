import numpy as np
import pytest
import torch
from scipy.special import softmax
from small import generator, shaken, weights

from scbignn.clustering import Config
from scbignn.clustering._encoder import BGFormer, BipartiteAttention, Decoder


def network(*, attention=True, n_genes=7, n_tokens=5, **changes):
    config = Config(width=8, n_heads=2, attention=attention, **changes)
    found = BGFormer(config, n_genes, n_tokens, init=generator(), noise=generator(1))
    return shaken(found).eval()


@pytest.mark.parametrize("n_heads", [1, 2, 4])
@pytest.mark.parametrize("scale", [True, False])
def test_attention_equals_a_dense_one(n_heads, scale):
    attention = shaken(BipartiteAttention(8, n_heads, generator(), scale=scale))
    rng = np.random.default_rng(0)
    n, tokens = rng.normal(size=(6, 8)), rng.normal(size=(5, 8))
    w = weights(attention)
    keys = tokens @ w["keys.weight"].T + w["keys.bias"]
    values = tokens @ w["values.weight"].T + w["values.bias"]
    width = 8 // n_heads
    expected = np.zeros((6, 8))
    for cell in range(6):
        for head in range(n_heads):
            own = slice(head * width, (head + 1) * width)
            logits = keys[:, own] @ n[cell, own] / (np.sqrt(width) if scale else 1)
            expected[cell, own] = softmax(logits) @ values[:, own]
    found = attention(*(torch.tensor(x, dtype=torch.float32) for x in (n, tokens)))
    np.testing.assert_allclose(found.detach(), expected, atol=1e-5)


@pytest.mark.parametrize("attention", [True, False])
def test_cells_do_not_mix(attention):
    g = network(attention=attention)
    x = torch.randn((6, 7), generator=generator(3))
    whole = g(x)
    for cell in range(6):
        np.testing.assert_allclose(g(x[[cell]])[0].detach(), whole[cell].detach(), atol=1e-5)


def test_the_embedding_equals_a_dense_one():
    g = network()
    x = np.random.default_rng(0).normal(size=(4, 7))
    w = weights(g)

    def norm(name, x):
        x = (x - x.mean(1, keepdims=True)) / np.sqrt(x.var(1, keepdims=True) + 1e-5)
        return x * w[f"{name}.weight"] + w[f"{name}.bias"]

    def linear(name, x):
        return x @ w[f"{name}.weight"].T + w[f"{name}.bias"]

    u = linear("input", x)
    n = norm("norm", u)
    attended = g.attention(*(torch.tensor(y, dtype=torch.float32) for y in (n, w["quantiser.tokens"])))
    z = n + attended.detach().numpy()
    z = z + linear("ffn.2", np.maximum(linear("ffn.0", norm("norm_ffn", z)), 0))
    out = linear("out.2", np.maximum(linear("out.0", norm("norm_out", z)), 0)) + u
    expected = norm("norm_last", out / np.linalg.norm(out, axis=1, keepdims=True))
    np.testing.assert_allclose(g(torch.tensor(x, dtype=torch.float32)).detach(), expected, atol=2e-4)


def test_attention_sends_no_gradient_to_the_tokens():
    g = network()
    g(torch.randn((6, 7), generator=generator(3))).pow(3).sum().backward()
    assert g.quantiser.tokens.grad is None
    assert g.attention.keys.weight.grad.abs().max() > 0


def test_attention_weights_are_the_mean_of_heads():
    g = network()
    x = torch.randn((6, 7), generator=generator(3))
    found = g.attention_weights(x)
    assert found.shape == (6, 5)
    np.testing.assert_allclose(found.sum(1).detach(), 1, atol=1e-5)
    heads = g.attention.weights(g.norm(g.input(x)), g.quantiser.tokens)
    np.testing.assert_allclose(found.detach(), heads.mean(0).detach())


def test_what_is_decoded_is_within_bounds():
    decoder = shaken(Decoder(8, 5, generator()), size=30.0)
    z = torch.randn((20, 8), generator=generator(2))
    mean, dispersion, dropout = decoder(z, torch.ones(20, 1))
    assert mean.min() >= 1e-5
    assert mean.max() <= 1e6
    assert dispersion.min() >= 1e-4
    assert dispersion.max() <= 1e4
    assert dropout.min() < 0 < dropout.max()
    np.testing.assert_allclose(decoder(z, torch.full((20, 1), 2.0))[0].detach(), 2 * mean.detach(), rtol=1e-6)


def test_without_attention_there_are_no_tokens():
    g = network(attention=False)
    assert not any("quantiser" in name or "anchor" in name for name in g.state_dict())
