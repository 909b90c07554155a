import numpy as np
import pytest
import torch
from small import generator

from scbignn._training import progress_bar
from scbignn.regulation import Config, LinkGNN
from scbignn.regulation._gnn import Part, _mean_over, fit_gnn

CPU = torch.device("cpu")


def trained(known, shown, seed=0, n_epochs=6):
    rng = np.random.default_rng(0)
    tfs, vectors = np.arange(6), rng.normal(size=(20, 5))
    half = rng.random(known.shape) < 0.5
    offset = np.full(known.shape, -1.0)
    parts = [Part(known & shown & half, shown & ~half, offset), Part(known & shown & ~half, shown & half, offset)]
    config = Config(width=8, n_epochs=n_epochs)
    final = Part(known & shown, shown, offset)
    with progress_bar(n_epochs) as progress:
        return fit_gnn(
            parts, known, final, vectors, tfs, config, device=CPU, engine="torch", seed=seed, progress=progress
        )


@pytest.fixture
def edges():
    rng = np.random.default_rng(1)
    return rng.random((6, 20)) < 0.3, rng.random((6, 20)) < 0.8


def test_it_starts_from_the_offset():
    network = LinkGNN(Config(width=8), 5, init=generator(), noise=generator(1)).eval()
    mean = _mean_over(np.random.default_rng(0).random((6, 20)) < 0.3, np.arange(6), "torch", CPU)
    with torch.no_grad():
        scores = network(torch.randn(20, 5, generator=generator()), mean, torch.arange(6))
    assert scores.shape == (6, 20)
    assert (scores == 0).all()


def test_messages_are_means_over_targets_and_regulators(edges):
    known, _ = edges
    dense = np.zeros((20, 20))
    dense[:6] = known
    dense = np.maximum(dense, dense.T)
    z = np.random.default_rng(0).normal(size=(20, 3)).astype(np.float32)
    found = _mean_over(known, np.arange(6), "torch", CPU)(torch.tensor(z)).numpy()
    np.testing.assert_allclose(found, dense @ z / np.maximum(dense.sum(1, keepdims=True), 1), atol=1e-5)


def test_it_sees_training_edges_only(edges):
    known, shown = edges
    before, _ = trained(known, shown)
    after, _ = trained(known ^ ~shown, shown)
    np.testing.assert_array_equal(after, before)
    changed = known.copy()
    changed[tuple(np.argwhere(shown)[0])] ^= True
    assert (trained(changed, shown)[0] != before).any()


def test_seeds_decide(edges):
    first, history = trained(*edges)
    np.testing.assert_array_equal(trained(*edges)[0], first)
    assert (trained(*edges, seed=1)[0] != first).any()
    assert np.isfinite(first).all()
    assert [row["epoch"] for row in history] == list(range(6))


def test_it_learns(edges):
    _, history = trained(*edges, n_epochs=60)
    assert history[-1]["loss"] < 0.9 * history[0]["loss"]
