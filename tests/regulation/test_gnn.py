import numpy as np
import pytest
import torch
from small import generator

from scbignn._training import progress_bar
from scbignn.graph import _mean
from scbignn.regulation import Config, LinkGNN
from scbignn.regulation._gnn import Part, fit_gnn, messages_over

CPU = torch.device("cpu")


LAYERS = ["sage", "gcn", "gat"]


def trained(known, shown, seed=0, n_epochs=6, layer="sage", engine="torch", cells=None):
    rng = np.random.default_rng(0)
    tfs, vectors = np.arange(6), rng.normal(size=(20, 5))
    half = rng.random(known.shape) < 0.5
    offset = np.full(known.shape, -1.0)
    parts = [Part(known & shown & half, shown & ~half, offset), Part(known & shown & ~half, shown & half, offset)]
    config = Config(width=8, n_epochs=n_epochs, layer=layer)
    final = Part(known & shown, shown, offset)
    with progress_bar(n_epochs) as progress:
        return fit_gnn(
            parts,
            known,
            final,
            vectors,
            tfs,
            config,
            device=CPU,
            engine=engine,
            seed=seed,
            progress=progress,
            cells=cells,
        )


@pytest.fixture
def edges():
    rng = np.random.default_rng(1)
    return rng.random((6, 20)) < 0.3, rng.random((6, 20)) < 0.8


@pytest.mark.parametrize("layer", LAYERS)
def test_it_starts_from_the_offset(layer):
    network = LinkGNN(Config(width=8, layer=layer), 5, init=generator(), noise=generator(1)).eval()
    messages = messages_over(np.random.default_rng(0).random((6, 20)) < 0.3, np.arange(6), layer, "torch", CPU)
    with torch.no_grad():
        scores = network(torch.randn(20, 5, generator=generator()), messages, torch.arange(6))
    assert scores.shape == (6, 20)
    assert (scores == 0).all()


@pytest.mark.parametrize("layer", LAYERS)
def test_layers_are_as_documented(edges, layer):
    """Against dense matrices; no gene is without an edge to itself, so no row of GCN's and GAT's is empty."""
    known, _ = edges
    network = LinkGNN(Config(width=8, layer=layer, n_heads=2), 5, init=generator(), noise=generator(1)).eval()
    with torch.no_grad():
        for bias in network.bias:
            bias.normal_(generator=generator(2))
        h = torch.randn(20, 5, generator=generator())
        found = network._pass(h, 0, messages_over(known, np.arange(6), layer, "torch", CPU)).numpy()
    w = {name: value.detach().double().numpy() for name, value in network.state_dict().items()}
    a = np.zeros((20, 20))
    a[:6] = known
    a = np.maximum(a, a.T)
    z = h.double().numpy() @ w["around.0.weight"].T
    if layer == "sage":
        own = h.double().numpy() @ w["own.0.weight"].T + w["own.0.bias"]
        expected = own + a @ z / np.maximum(a.sum(1, keepdims=True), 1)
    elif layer == "gcn":
        a = np.maximum(a, np.eye(20))
        degree = a.sum(1)
        expected = a / np.sqrt(degree[:, None] * degree) @ z + w["bias.0"]
    else:
        a = np.maximum(a, np.eye(20))
        heads = []
        for head in range(2):
            own = z[:, 4 * head : 4 * head + 4]
            left, right = (own @ w["attention.0"][side, head] for side in range(2))
            logits = left[:, None] + right
            weight = np.where(a > 0, np.exp(np.where(logits > 0, logits, 0.2 * logits)), 0)
            heads.append(weight / weight.sum(1, keepdims=True) @ own)
        expected = np.hstack(heads) + w["bias.0"]
    np.testing.assert_allclose(found, expected, atol=1e-5)


@pytest.mark.dgl
@pytest.mark.parametrize("layer", LAYERS)
def test_engines_agree(edges, layer):
    try:
        _mean._import_dgl()
    except Exception as error:  # noqa: BLE001
        pytest.skip(f"DGL does not import: {error}")
    found = [trained(*edges, layer=layer, engine=engine)[0] for engine in ("torch", "dgl")]
    np.testing.assert_allclose(found[1], found[0], atol=1e-4)


def test_messages_are_means_over_targets_and_regulators(edges):
    known, _ = edges
    dense = np.zeros((20, 20))
    dense[:6] = known
    dense = np.maximum(dense, dense.T)
    z = np.random.default_rng(0).normal(size=(20, 3)).astype(np.float32)
    found = messages_over(known, np.arange(6), "sage", "torch", CPU)(torch.tensor(z)).numpy()
    np.testing.assert_allclose(found, dense @ z / np.maximum(dense.sum(1, keepdims=True), 1), atol=1e-5)


@pytest.mark.parametrize("layer", LAYERS)
def test_it_sees_training_edges_only(edges, layer):
    known, shown = edges
    before, _ = trained(known, shown, layer=layer)
    after, _ = trained(known ^ ~shown, shown, layer=layer)
    np.testing.assert_array_equal(after, before)
    changed = known.copy()
    changed[tuple(np.argwhere(shown)[0])] ^= True
    assert (trained(changed, shown, layer=layer)[0] != before).any()


def test_seeds_decide(edges):
    first, history = trained(*edges)
    np.testing.assert_array_equal(trained(*edges)[0], first)
    assert (trained(*edges, seed=1)[0] != first).any()
    assert np.isfinite(first).all()
    assert [row["epoch"] for row in history] == list(range(6))


@pytest.mark.parametrize("layer", LAYERS)
def test_it_learns(edges, layer):
    _, history = trained(*edges, n_epochs=60, layer=layer)
    assert history[-1]["loss"] < 0.9 * history[0]["loss"]


def test_pooling_over_cells_is_learned_with_the_edges(edges):
    cells = np.random.default_rng(3).normal(size=(20, 4, 3))
    found, _ = trained(*edges, cells=cells)
    assert (found != trained(*edges)[0]).any()
    np.testing.assert_array_equal(trained(*edges, cells=cells)[0], found)
    network = LinkGNN(Config(width=8), 5, init=generator(), noise=generator(1), d_cells=3).eval()
    with torch.no_grad():
        network.target_head[-1].weight.normal_(generator=generator(2))
        messages = messages_over(edges[0], np.arange(6), "sage", "torch", CPU)
        vectors, inside = torch.randn(20, 5, generator=generator()), torch.tensor(cells, dtype=torch.float32)
        scores = network(vectors, messages, torch.arange(6), inside)
        mean = torch.cat([vectors[:, :2], inside.mean(1)], dim=1)
        torch.testing.assert_close(network(mean, messages, torch.arange(6)), scores)
