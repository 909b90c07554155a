import numpy as np
import pytest
import scipy.sparse as sp
import torch
from sklearn.metrics import adjusted_rand_score
from small import CPU

from scbignn.clustering import Config, Counts, row_sums
from scbignn.clustering._network import embed_cells, token_count, train_network
from scbignn.clustering._scores import learn_scores

TINY = {
    "network": True,
    "width": 16,
    "n_heads": 2,
    "n_tokens": 6,
    "n_top_genes": 30,
    "n_components": 5,
    "batch_size": 32,
    "warm_up_epochs": 6,
    "n_epochs": 12,
    "learning_rate": 1e-2,
    "clustering_weight": 0.1,
}


def problem(n=96, m=30, seed=0, **changes):
    rng = np.random.default_rng(seed)
    truth = np.arange(n) % 3
    x = rng.poisson(np.where(np.arange(m) % 3 == truth[:, None], 5.0, 0.4))
    x[:, 0] += 1
    rows = sp.csr_matrix(x, dtype=np.float32)
    config = Config(**TINY | changes)
    scores = learn_scores(rows, rows.shape, config, rng)
    return Counts(sp.csr_matrix(rows[:, scores.panel]), row_sums(rows)), scores, config, truth


def train(counts, scores, config, partition, seed=0):
    return train_network(counts, scores, 3, partition, config, device=CPU, seed=seed)


@pytest.mark.parametrize(
    "changes",
    [{}, {"clustering_weight": 0.0}, {"attention": False}, {"commitment": "joint"}, {"scale_attention": False}],
)
def test_types_are_told_apart(changes):
    counts, scores, config, truth = problem(**changes)
    found = train(counts, scores, config, lambda z: truth)
    assert adjusted_rand_score(truth, found.q.argmax(1)) > 0.9
    assert found.z.shape == (96, 16)
    np.testing.assert_allclose(found.q.sum(1), 1, rtol=1e-5)
    np.testing.assert_array_equal(found.z, embed_cells(found.network, counts, scores, CPU))
    assert found.history[-1]["reconstruction"] < found.history[0]["reconstruction"]
    assert ("commitment" in found.history[0]) == config.attention


def test_centres_start_from_the_given_partition_after_warm_up():
    counts, scores, config, truth = problem(n_epochs=6)
    seen = []
    found = train(counts, scores, config, lambda z: seen.append(z) or truth)
    assert len(seen) == 1
    means = np.stack([found.z[truth == k].mean(0) for k in range(3)])
    np.testing.assert_allclose(found.centers, means, atol=1e-4)
    spread = np.mean([np.sum((cell - means[k]) ** 2) for cell, k in zip(found.z, truth, strict=True)])
    assert found.scale == pytest.approx(spread, rel=1e-4)
    assert not any("clustering" in row for row in found.history)


def test_soft_assignments_are_not_all_alike():
    """As they are in the release, whose centres lie on another scale than its embedding."""
    counts, scores, config, truth = problem()
    found = train(counts, scores, config, lambda z: truth)
    assert found.q.max(1).mean() > 0.5  # of three, all alike would be 0.33


def test_training_stops_once_assignments_stay():
    counts, scores, config, truth = problem(n_epochs=40, tolerance=0.5)
    history = train(counts, scores, config, lambda z: truth).history
    assert len(history) == 7
    assert history[-1]["changed"] < 0.5
    counts, scores, config, truth = problem(tolerance=0.0)
    assert len(train(counts, scores, config, lambda z: truth).history) == 12


def test_without_the_clustering_loss_training_ends_with_the_warm_up():
    counts, scores, config, truth = problem(clustering_weight=0.0)
    asked = []
    found = train(counts, scores, config, lambda z: asked.append(z) or truth)
    assert len(found.history) == config.warm_up_epochs
    assert not any("clustering" in row or "changed" in row for row in found.history)
    np.testing.assert_array_equal(asked[0], found.z)
    means = np.stack([found.z[truth == k].mean(0) for k in range(3)])
    np.testing.assert_allclose(found.centers, means, atol=1e-4)
    assert adjusted_rand_score(truth, found.q.argmax(1)) > 0.9


def test_the_same_seed_gives_the_same_bits_and_global_states_stay():
    counts, scores, config, truth = problem(n_epochs=7)
    torch_state, numpy_state = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    one, again, other = (train(counts, scores, config, lambda z: truth, seed) for seed in (0, 0, 1))
    np.testing.assert_array_equal(one.q, again.q)
    np.testing.assert_array_equal(one.z, again.z)
    assert not np.array_equal(one.z, other.z)
    assert torch.equal(torch.get_rng_state(), torch_state)
    np.testing.assert_array_equal(np.random.get_state()[1], numpy_state)  # noqa: NPY002


def test_tokens_are_used():
    counts, scores, config, truth = problem()
    usage = train(counts, scores, config, lambda z: truth).network.quantiser.usage
    assert (usage > 0.01).sum() >= 2


@pytest.mark.parametrize(("n_tokens", "n_clusters", "m"), [(None, 2, 64), (None, 20, 160), (None, 99, 512), (7, 9, 7)])
def test_number_of_tokens(n_tokens, n_clusters, m):
    assert token_count(Config(n_tokens=n_tokens), n_clusters) == m
