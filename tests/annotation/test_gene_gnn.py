import numpy as np
import pytest
import reference
import torch
from small import CPU, alpha, expression, gene_gnn, generator, shaken, tiny, weights

from scbignn.annotation import _gene_gnn
from scbignn.annotation._gene_gnn import GeneGNN, ValueReadOut
from scbignn.annotation._gram_attention import gram_attention
from scbignn.annotation._tokens import Bucket, Tokens, pack

VARIANTS = {
    "one head": {"n_heads": 1},
    "four heads": {"n_heads": 4},
    "two layers, one head": {"n_layers": 2, "n_heads": 1},
    "two layers, two heads": {"n_layers": 2, "n_heads": 2},
    "mean read-out": {"read_out": "mean"},
    "two layers, two heads of width eight": {"n_layers": 2, "n_heads": 2, "width": 16},
    "scaled": {"scale_attention": True, "n_layers": 2},
    "residual": {"residual": True, "n_layers": 2},
    "residual from the first layer": {"residual": True, "gene_width": 8},
    "layer norm": {"layer_norm": True, "n_layers": 2},
    "all options": {"scale_attention": True, "residual": True, "layer_norm": True, "n_layers": 3, "read_out": "mean"},
}


def options(network, config):
    return {"alpha": alpha(network), "scaled": config.scale_attention, "residual": config.residual}


def by_reference(network, config, x):
    return reference.embeddings(weights(network), x.toarray(), config.n_heads, config.width, **options(network, config))


def everything(x):
    return Tokens(x, CPU), np.arange(x.shape[0])


@pytest.mark.parametrize("name", VARIANTS)
def test_embedding_equals_reference(name):
    config = tiny(**VARIANTS[name])
    network, x = gene_gnn(config), expression(empty=(2, 11))
    h = network(*everything(x))
    assert h.shape == (20, config.width)
    np.testing.assert_allclose(h.detach(), by_reference(network, config, x), rtol=1e-4, atol=2e-5)


@pytest.mark.parametrize("n_layers", [1, 2])
def test_scaled_logits_are_those_of_eq_4_in_another_unit(n_layers):
    x = expression()
    scaled, plain = (gene_gnn(tiny(n_layers=n_layers, scale_attention=scale)) for scale in (True, False))
    plain.load_state_dict(scaled.state_dict())
    unit = scaled.layers[0].d_head ** -0.25
    assert (scaled(*everything(x)) - plain(*everything(x))).abs().max() > 1e-3
    with torch.no_grad():
        for layer in plain.layers:
            layer.w_g.weight.mul_(unit)
            layer.mlp_g.w1.div_(unit)
    torch.testing.assert_close(scaled(*everything(x)), plain(*everything(x)), rtol=1e-4, atol=1e-5)


def test_tokens_equal_eq_3():
    network, x = gene_gnn(tiny()), expression()
    w = weights(network)
    for bucket in Tokens(x, CPU).buckets(np.arange(20)):
        tokens = pack([bucket])
        (found,) = tokens.split(network.embedding(tokens).detach())
        for row, own, expressed in zip(bucket.rows, found, bucket.expressed, strict=True):
            cell = x[[row.item()]]
            expected = reference.tokens(w, cell.indices, cell.data.astype(float))
            np.testing.assert_allclose(own[expressed], expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", VARIANTS)
def test_attention_matrices_equal_reference(name):
    config = tiny(**VARIANTS[name])
    network, x = gene_gnn(config), expression()
    for bucket in Tokens(x, CPU).buckets(np.arange(20)):
        layers = network.attention(bucket)
        assert len(layers) == config.n_layers
        for b, row in enumerate(bucket.rows.tolist()):
            n = int(bucket.expressed[b].sum())
            _, expected = reference.gene_network(
                weights(network), x[[row]].toarray()[0].astype(float), config.n_heads, **options(network, config)
            )
            for found, heads in zip(layers, expected, strict=True):
                assert found.shape[1] == len(heads) == config.n_heads
                np.testing.assert_allclose(found[b, :, :n, :n].detach(), heads, rtol=1e-4, atol=2e-5)
                assert not found[b, :, :, n:].any()


def test_classifier_equals_eq_6():
    network = gene_gnn(tiny())
    h = torch.randn(7, 8, generator=generator(3))
    expected = reference.mlp(weights(network), "classifier", h.double().numpy())
    np.testing.assert_allclose(network.logits(h).detach(), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", VARIANTS)
def test_gradient_equals_finite_differences_of_the_reference(name):
    config = tiny(**VARIANTS[name])
    network, x = gene_gnn(config), expression(8, empty=(5,))
    rng = np.random.default_rng(0)
    upstream = rng.normal(size=(8, config.width))
    (network(*everything(x)) * torch.from_numpy(upstream)).sum().backward()
    w = weights(network)
    gradients = {k: p.grad.double().numpy() for k, p in network.named_parameters() if p.grad is not None}
    direction = {k: rng.normal(size=g.shape) for k, g in gradients.items()}

    def value(size):
        moved = {k: v + size * direction.get(k, 0) for k, v in w.items()}
        chosen = options(network, config)
        if chosen["alpha"] is not None:
            chosen["alpha"] = moved["read_out.alpha"] / network.read_out.mean_length
        return np.sum(reference.embeddings(moved, x.toarray(), config.n_heads, config.width, **chosen) * upstream)

    along = sum(np.sum(g * direction[k]) for k, g in gradients.items())
    assert along == pytest.approx((value(1e-6) - value(-1e-6)) / 2e-6, rel=1e-3, abs=1e-3)
    assert {k.split(".")[0] for k in gradients} >= {"embedding", "layers"}


@pytest.mark.parametrize("name", VARIANTS)
def test_a_cell_does_not_depend_on_the_others(name):
    network, x = gene_gnn(tiny(**VARIANTS[name])), expression(empty=(2,))
    tokens, cells = everything(x)
    together = network(tokens, cells)
    for i in cells:
        torch.testing.assert_close(network(tokens, np.array([i])), together[[i]], rtol=1e-5, atol=1e-6)
    order = np.random.default_rng(0).permutation(cells)
    torch.testing.assert_close(network(tokens, order), together[order], rtol=1e-5, atol=1e-6)


def test_padding_holds_whatever_it_likes():
    network, x = gene_gnn(tiny(n_layers=2)), expression()
    padded = False
    for bucket in Tokens(x, CPU).buckets(np.arange(20)):
        padding = ~bucket.expressed
        noisy = bucket._replace(
            genes=bucket.genes.masked_fill(padding, 7), values=bucket.values.masked_fill(padding, 1e3)
        )
        torch.testing.assert_close(network.embed(pack([noisy])), network.embed(pack([bucket])), rtol=1e-5, atol=1e-6)
        padded |= padding.any().item()
    assert padded


@pytest.mark.parametrize("size", [1, 30])
def test_padded_and_ragged_cells_get_the_same(monkeypatch, size):
    asked = []
    monkeypatch.setattr(_gene_gnn, "gram_attention", lambda *given: asked.append(gram_attention(*given)) or asked[-1])
    network, x = gene_gnn(tiny(n_layers=2, n_heads=2, width=16, layer_norm=True)), expression(empty=(4,))
    with torch.no_grad():
        network.layers[1].w_g.weight.mul_(size)
    tokens, cells = everything(x)
    assert not network.is_padded(tokens)
    ragged = network(tokens, cells)
    gradient = torch.autograd.grad(ragged.square().sum(), network.layers[0].w_g.weight)
    assert [found is None for found in asked] == [False, size > 1]
    monkeypatch.setattr(network, "is_padded", lambda _: True)
    torch.testing.assert_close(network(tokens, cells), ragged, rtol=1e-4, atol=1e-5)
    padded = torch.autograd.grad(network(tokens, cells).square().sum(), network.layers[0].w_g.weight)
    torch.testing.assert_close(padded, gradient, rtol=1e-4, atol=1e-4)
    assert len(asked) == 2


@pytest.mark.parametrize(
    ("options", "padded"), [({"n_heads": 1}, False), ({"n_heads": 2}, True), ({"n_layers": 0, "gene_width": 8}, False)]
)
def test_heads_of_width_eight_need_no_padding(options, padded):
    assert gene_gnn(tiny(**options)).is_padded(Tokens(expression(), CPU)) == padded


@pytest.mark.parametrize("read_out", ["learned", "mean"])
def test_cells_without_genes_get_zero_and_no_nan_reaches_the_gradient(read_out):
    network, x = gene_gnn(tiny(read_out=read_out)), expression(6, empty=(0, 3))
    h = network(*everything(x))
    assert not h[[0, 3]].any()
    assert h[[1, 2, 4, 5]].abs().sum(1).all()
    network.logits(h).sum().backward()
    assert all(torch.isfinite(p.grad).all() for p in network.parameters())


def test_only_cells_without_genes():
    network, x = gene_gnn(tiny()), expression(3, empty=(0, 1, 2))
    h = network(*everything(x))
    assert h.shape == (3, 8)
    assert not h.any()
    network.logits(h).sum().backward()


def test_large_values_stay_finite():
    network, x = gene_gnn(tiny(n_layers=2)), expression()
    x.data *= 1e3
    assert torch.isfinite(network(*everything(x))).all()


def test_dropout_acts_before_the_classifier_in_training_only():
    network = gene_gnn(tiny(dropout=0.5))
    h = torch.randn(50, 8, generator=generator(2))
    assert torch.equal(network.logits(h), network.logits(h))
    network.train()
    assert not torch.equal(network.logits(h), network.logits(h))
    tokens, cells = everything(expression())
    assert torch.equal(network(tokens, cells), network(tokens, cells))


def test_new_network_draws_from_its_generator_only():
    before = torch.get_rng_state()
    same, again, other = (
        GeneGNN(tiny(), 12, 3, mean_length=3.0, init=generator(seed), noise=generator()) for seed in (0, 0, 1)
    )
    assert torch.equal(torch.get_rng_state(), before)
    for a, b in zip(same.parameters(), again.parameters(), strict=True):
        assert torch.equal(a, b)
        assert torch.isfinite(a).all()
    assert any(not torch.equal(a, c) for a, c in zip(same.parameters(), other.parameters(), strict=True))


def test_value_read_out_equals_its_formula():
    rng = np.random.default_rng(0)
    read_out = shaken(ValueReadOut(12, 6, 8, 5.0, generator())).double()
    bucket = Bucket(
        rows=torch.arange(2),
        genes=torch.tensor([[3, 5, 7], [1, 2, 0]]),
        values=torch.tensor([[1.0, 2.0, 0.5], [3.0, 1.0, 0.0]], dtype=torch.float64),
        expressed=torch.tensor([[True, True, True], [True, True, False]]),
    )
    tokens = pack([bucket])
    f = rng.normal(size=(6, 6))  # the last is padding
    w = weights(read_out)
    expected = np.zeros((2, 8))
    for cell, (genes, values) in enumerate((([3, 5, 7], [1, 2, 0.5]), ([1, 2], [3, 1]))):
        for place, (gene, value) in enumerate(zip(genes, values, strict=True)):
            expected[cell] += value / 5 * w["v"][gene] * (w["w.weight"] @ f[3 * cell + place] + w["w.bias"])
    found = read_out(torch.from_numpy(f), tokens).detach()
    np.testing.assert_allclose(found, expected, rtol=1e-12)
    np.testing.assert_allclose(read_out(torch.from_numpy(f), tokens, 0.5).detach(), 2 * expected, rtol=1e-12)


def test_a_new_anchored_network_says_what_the_anchor_says():
    x = expression(20)
    network = GeneGNN(
        tiny(anchor=True, batch_norm=True), 12, 3, mean_length=4.0, init=generator(), noise=generator()
    ).eval()
    decisions = torch.randn(20, 3, generator=generator())
    h = network(Tokens(x, CPU), np.arange(20))
    assert (h >= 0).all()
    torch.testing.assert_close(network.logits(h, decisions), 3 * decisions)


def test_without_attention_layers_there_is_no_attention():
    network = gene_gnn(tiny(n_layers=0, read_out="value", gene_width=6))
    tokens = Tokens(expression(20), CPU)
    assert network(tokens, np.arange(20)).shape == (20, 8)
    assert all(network.attention(bucket) == [] for bucket in tokens.buckets(np.arange(20)))
