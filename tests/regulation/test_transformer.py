import numpy as np
import pytest
import scipy.sparse as sp
import torch
from scipy.special import softmax
from sklearn.decomposition import PCA
from small import generator

from scbignn import _checkpoints
from scbignn.regulation import Config, GeneTransformer, fit_transformer

CPU = torch.device("cpu")
SMALL = Config(encoder_width=8, encoder_heads=2, encoder_layers=2, encoder_context=10, encoder_epochs=4)


def cells(n_cells=40, n_genes=12, seed=0):
    """Two programs of genes, so that a hidden gene can be told from others."""
    rng = np.random.default_rng(seed)
    level = rng.normal(size=(n_cells, 2))[:, np.arange(n_genes) % 2]
    return sp.csr_matrix(np.maximum(level + rng.normal(1, 0.3, (n_cells, n_genes)), 0))


def network_of(n_genes=12):
    x = torch.tensor(cells(n_genes=n_genes).toarray(), dtype=torch.float32)
    network = GeneTransformer(SMALL, x.mean(0), x.std(0, correction=0), init=generator()).double().eval()
    with torch.no_grad():
        network.slope.normal_(generator=generator(3))
        for norm in network.norms:  # so that a norm that is left out would be seen
            norm.weight.normal_(1, 0.2, generator=generator(1))
            norm.bias.normal_(0, 0.2, generator=generator(2))
    return network, x.double()


def reference(network, f):
    """One cell, (T, d) -> vectors and the attention received."""
    w = {name: value.detach().numpy() for name, value in network.state_dict().items()}

    def norm(f, number):
        f = (f - f.mean(-1, keepdims=True)) / np.sqrt(f.var(-1, keepdims=True) + 1e-5)
        return f * w[f"norms.{number}.weight"] + w[f"norms.{number}.bias"]

    received = []
    for layer in range(2):
        qkv = (norm(f, 2 * layer) @ w[f"qkv.{layer}.weight"].T).reshape(len(f), 3, 2, 4)
        q, k, v = qkv.transpose(1, 2, 0, 3)
        a = softmax(q @ k.transpose(0, 2, 1) / 2, axis=-1)
        received.append(a.mean((0, 1)) * len(f))
        mixed = (a @ v).transpose(1, 0, 2).reshape(len(f), 8)
        f = f + mixed @ w[f"out.{layer}.weight"].T + w[f"out.{layer}.bias"]
        inner = norm(f, 2 * layer + 1) @ w[f"mlps.{layer}.0.weight"].T + w[f"mlps.{layer}.0.bias"]
        f = f + np.maximum(inner, 0) @ w[f"mlps.{layer}.2.weight"].T + w[f"mlps.{layer}.2.bias"]
    return norm(f, 4), np.mean(received, axis=0)


@torch.no_grad()
def test_layers_are_as_documented():
    network, x = network_of()
    f = network.embed(torch.arange(12)[None], network.standardize(x[:1]))
    vectors, attention = reference(network, f[0].numpy())
    np.testing.assert_allclose(network(f)[0].numpy(), vectors, rtol=1e-8)
    np.testing.assert_allclose(network.received(f).numpy(), attention, rtol=1e-8)


@torch.no_grad()
def test_hidden_values_are_not_seen():
    network, x = network_of()
    z = network.standardize(x[:1])
    hidden = torch.zeros(1, 12, dtype=torch.bool)
    hidden[0, 3] = True
    genes = torch.arange(12)[None]
    before = network(network.embed(genes, z, hidden))
    z[0, 3] += 1
    torch.testing.assert_close(network(network.embed(genes, z, hidden)), before)
    z[0, 4] += 1
    assert not torch.allclose(network(network.embed(genes, z, hidden)), before)


def test_expression_is_standardised_and_constant_genes_are_zero():
    x = torch.tensor(cells().toarray())
    x[:, 5] = 2.0
    network = GeneTransformer(SMALL, x.mean(0), x.std(0, correction=0), init=generator())
    z = network.standardize(x)
    kept = [gene for gene in range(12) if gene != 5]
    torch.testing.assert_close(z[:, kept].mean(0), torch.zeros(11, dtype=torch.float64), atol=0.01, rtol=0)
    assert (z[:, 5] == 0).all()
    assert network.standardize(x + 1000).max() <= 4


def test_it_starts_from_the_loadings_of_components():
    network, x = network_of()
    z = network.standardize(x)
    network.float().start(z.float())
    loadings = PCA(8, svd_solver="full").fit_transform(z.numpy().T)
    theirs = (loadings - loadings.mean(0)) / loadings.std(0)
    np.testing.assert_allclose(np.abs(network.slope.detach().numpy()), np.abs(theirs), atol=1e-3)
    h = network(network.embed(torch.arange(12)[None], z[:1].float()))
    assert (network.predict(h, torch.arange(12)[None]) == 0).all()


def test_states_are_those_of_single_cells():
    network, _ = network_of()
    network.float()
    x = cells()
    together = list(network.states(x, np.arange(12), CPU, received=True))
    alone = next(network.states(x[7], np.arange(12), CPU, received=True))
    torch.testing.assert_close(alone.vectors, together[7].vectors)
    assert alone.vectors.shape == (12, 8)
    assert alone.attention.mean() == pytest.approx(1)


def test_it_learns_to_tell_hidden_expression():
    config = Config(encoder_width=16, encoder_heads=2, encoder_layers=1, encoder_epochs=40, encoder_learning_rate=1e-2)
    _, history = fit_transformer(cells(80), config, device=CPU, seed=0)
    assert [row["epoch"] for row in history] == list(range(40))
    assert np.mean([row["loss"] for row in history[-5:]]) < 0.5


def weights(network):
    return torch.cat([value.flatten() for value in network.state_dict().values()])


def test_seeds_decide_and_an_interrupted_run_ends_the_same(tmp_path, monkeypatch):
    whole, history = fit_transformer(cells(), SMALL, device=CPU, seed=0)
    assert not torch.equal(weights(fit_transformer(cells(), SMALL, device=CPU, seed=1)[0]), weights(whole))
    file, calls = tmp_path / "run.safetensors", []
    offer = _checkpoints.Keeper.offer

    def offer_and_stop(self, epochs, parts):
        self._interval = 0
        offer(self, epochs, parts)
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(_checkpoints.Keeper, "offer", offer_and_stop)
        with pytest.raises(KeyboardInterrupt):
            fit_transformer(cells(), SMALL, device=CPU, seed=0, checkpoint=file)
    resumed, again = fit_transformer(cells(), SMALL, device=CPU, seed=0, checkpoint=file)
    assert torch.equal(weights(resumed), weights(whole))
    assert again == history
    # A run that is done is read, not run again.
    monkeypatch.setattr("scbignn.regulation._transformer.train", lambda *_, **__: pytest.fail("trained again"))
    read, kept = fit_transformer(cells(), SMALL, device=CPU, seed=0, checkpoint=file)
    assert torch.equal(weights(read), weights(whole))
    assert kept == history
    with pytest.raises(ValueError, match="differs from this one in seed"):
        fit_transformer(cells(), SMALL, device=CPU, seed=1, checkpoint=file)
    with pytest.raises(ValueError, match="differs from this one in expression"):
        fit_transformer(cells(seed=1), SMALL, device=CPU, seed=0, checkpoint=file)
