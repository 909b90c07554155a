import logging
from itertools import combinations

import numpy as np
import pytest
import scipy.sparse as sp
from sklearn.metrics import adjusted_rand_score
from small import CPU

from scbignn.clustering import Config, cluster_cells
from scbignn.clustering._landmarks import Others
from scbignn.clustering._scores import draw

SMALL = {"n_components": 6, "n_anchors": 30, "n_anchor_sets": 2, "n_resamples": 2, "max_clusters": 6}
NET = {"network": True, "n_resamples": 0, "width": 16, "n_heads": 2, "warm_up_epochs": 2, "n_epochs": 4, "n_tokens": 5}


def counts(n=150, m=40, n_types=3, seed=0):
    rng = np.random.default_rng(seed)
    truth = np.arange(n) % n_types
    x = rng.poisson(np.where(np.arange(m) % n_types == truth[:, None], 6.0, 0.5))
    x[:, 0] += 1
    return sp.csr_matrix(x, dtype=np.float32), truth


def cluster(x, k=3, seed=0, **changes):
    genes = np.array([f"gene_{number}" for number in range(x.shape[1])])
    return cluster_cells(x, x.shape, k, Config(**SMALL | changes), genes=genes, device=CPU, seed=seed)


@pytest.mark.parametrize("changes", [{}, NET, NET | {"attention": False, "start": "embedding"}])
def test_types_are_found(changes):
    x, truth = counts()
    found = cluster(x, **changes)
    assert adjusted_rand_score(truth, found.labels) > 0.95
    assert (found.assigned.memberships.argmax(1) == found.labels).all()
    assert np.bincount(found.labels).tolist() == sorted(np.bincount(found.labels), reverse=True)
    assert found.model.n_clusters == found.assigned.memberships.shape[1] == 3
    assert found.evidence is None
    assert bool(found.history) == bool(found.model.net)
    attends = bool(changes.get("network")) and changes.get("attention", True)
    assert (found.assigned.attention is not None) == attends
    if attends:
        assert found.assigned.attention.shape == (150, 5)
        assert (np.diff(found.assigned.attention.indptr) == 5).all()


def test_the_number_is_estimated_and_its_evidence_kept():
    x, truth = counts()
    found = cluster(x, None)
    assert found.model.n_clusters == 3
    assert found.evidence["n_clusters"].tolist() == [2, 3, 4, 5, 6]
    assert adjusted_rand_score(truth, found.labels) == 1


def test_stability_of_true_and_of_false_clusters():
    x, _ = counts()
    np.testing.assert_allclose(cluster(x).stability, 1)
    assert cluster(x, 6).stability.min() < 0.9
    assert cluster(x, n_resamples=0).stability is None


def test_the_same_seed_gives_the_same():
    x, _ = counts(seed=3)
    one, again, other = cluster(x, 5), cluster(x, 5), cluster(x, 5, seed=1)
    np.testing.assert_array_equal(one.assigned.memberships, again.assigned.memberships)
    np.testing.assert_array_equal(one.stability, again.stability)
    assert not np.array_equal(one.model.landmarks.anchors, other.model.landmarks.anchors)


def test_cells_that_are_only_mapped_are_clustered_as_well():
    x, truth = counts(600)
    assert adjusted_rand_score(truth, cluster(x, max_fit_cells=120).labels) == 1


def test_more_clusters_than_anchors():
    x, _ = counts()
    with pytest.raises(ValueError, match="n_clusters=40 is more than the 30 anchors there are as n_anchors says"):
        cluster(x, 40)
    with pytest.raises(ValueError, match="n_clusters=9 is more than the 8 anchors there are for 8 cells"):
        cluster(x[:8], 9)


def test_cells_that_are_alike(caplog):
    x, truth = counts(40, n_types=2)
    alike = x[np.where(truth == 0, 0, 1)]
    with caplog.at_level(logging.WARNING, "scbignn"):
        found = cluster(alike, 2)
    assert adjusted_rand_score(truth, found.labels) == 1
    assert caplog.records == []
    with pytest.raises(ValueError, match="more than the 2 anchors there are for 40 cells, some of which may be alike"):
        cluster(alike, 5)


@pytest.mark.parametrize("n", [2, 3, 5])
def test_very_few_cells(n):
    x, _ = counts(n)
    found = cluster(x, 2)
    assert len(found.labels) == n
    assert found.model.n_clusters <= 2
    assert cluster(x, None).model.n_clusters >= 1


def test_a_sample_is_drawn_once():
    assert len(draw(10, 20, np.random.default_rng(0))) == 10


def test_a_majority_of_partitions_depends_less_on_the_seed():
    x, _ = counts()
    found = {v: [cluster(x, 7, seed, n_partitions=v, n_resamples=0).labels for seed in range(6)] for v in (1, 9)}
    alike = {v: np.mean([adjusted_rand_score(a, b) for a, b in combinations(own, 2)]) for v, own in found.items()}
    assert alike[9] > alike[1] + 0.05


@pytest.mark.parametrize("max_fit_cells", [20_000, 60])
def test_cells_keep_the_cluster_of_the_majority_where_they_come_later(max_fit_cells):
    x, truth = counts()
    found = cluster(x, n_partitions=3, max_fit_cells=max_fit_cells)
    assert adjusted_rand_score(truth, found.labels) == 1
    assert (found.model.landmarks.assign(found.components) == found.labels).all()


def test_others_vote_on_a_sample_where_there_are_many_cells(monkeypatch):
    x, _ = counts()
    seen = []

    def note(others, graph, labels, n_clusters):
        seen.append((len(others.cells), [len(partition) for partition in others.partitions]))
        return labels

    monkeypatch.setattr(Others, "agreed", note)
    cluster(x, n_partitions=4, max_fit_cells=60, n_resamples=0)
    assert seen == [(60, [60, 60, 60])]


@pytest.mark.parametrize(
    ("changes", "votes"), [({}, 12), ({"n_partitions": 1}, 1), (NET, 1), (NET | {"n_partitions": 3}, 3)]
)
def test_how_many_partitions_vote(monkeypatch, changes, votes):
    x, _ = counts()
    seen = []
    agreed = Others.agreed
    monkeypatch.setattr(Others, "agreed", lambda self, *rest: seen.append(len(self.partitions)) or agreed(self, *rest))
    cluster(x, **changes)
    assert seen == ([votes - 1] if votes > 1 else [])


def test_partitions_that_share_no_more_clusters_than_there_are_types_give_the_number_asked_for(caplog):
    """Of seven clusters of three types, partitions agree on three: the others are one partition's word against another's."""
    x, _ = counts()
    for seed in range(6):
        assert cluster(x, 7, seed, n_resamples=0).model.n_clusters == 7
    assert caplog.records == []


def test_a_majority_across_batches():
    x, truth = counts()
    genes = np.array([f"gene_{number}" for number in range(x.shape[1])])
    config = Config(**SMALL, n_partitions=3, max_fit_cells=120)
    batches = np.arange(150) // 75
    found = cluster_cells(x, x.shape, 3, config, genes=genes, device=CPU, seed=0, batches=batches)
    assert adjusted_rand_score(truth, found.labels) == 1
