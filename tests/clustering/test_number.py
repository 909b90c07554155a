import itertools
import random

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp

from scbignn.clustering import anchor_graph, best_number, evidence, find_anchors, modularity


def blobs(n_blobs=4, per=50, seed=0):
    rng = np.random.default_rng(seed)
    centers = 12 * rng.normal(size=(n_blobs, 5))
    return (np.repeat(centers, per, axis=0) + rng.normal(size=(n_blobs * per, 5))).astype(np.float32)


def graph(points, n_sets=3, m=30):
    anchors = find_anchors(points, m, n_sets, np.random.default_rng(0))
    return anchor_graph(points, anchors, 4)


def test_modularity_equals_that_of_the_dense_cell_graph():
    z = graph(blobs())
    labels = np.random.default_rng(0).integers(3, size=200)
    dense = z.toarray().astype(np.float64)
    cells = dense @ np.diag(1 / np.maximum(dense.sum(0), 1e-300)) @ dense.T
    degree, total = cells.sum(1), cells.sum()
    same = labels[:, None] == labels
    expected = ((cells - np.outer(degree, degree) / total) * same).sum() / total
    assert modularity(z, labels, 3) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("n_blobs", [2, 4, 6])
def test_the_number_of_blobs_is_found(n_blobs):
    table = evidence(graph(blobs(n_blobs)), 3, np.random.default_rng(0))
    assert best_number(table, 30) == n_blobs
    row = table[table["resolution"] == 1].iloc[0]
    assert row["lowest"] == row["n_clusters"] == row["highest"] == n_blobs
    truth = np.repeat(np.arange(n_blobs), 50)
    own = [graph(blobs(n_blobs))[:, s * 30 : (s + 1) * 30] * 3 for s in range(3)]
    assert row["modularity"] == pytest.approx(np.mean([modularity(z, truth, n_blobs) for z in own]), abs=1e-6)


def test_communities_maximise_modularity_of_anchors():
    """None of all partitions of a few anchors is better."""
    rng = np.random.default_rng(3)
    z = sp.csr_matrix(np.kron(np.eye(3), np.ones((20, 2))) * rng.random((60, 6)) + 0.05 * rng.random((60, 6)))
    weight = (z.T @ z).toarray()
    weight[np.diag_indices(6)] *= 2  # both ends of a loop are at its anchor
    degree, total = weight.sum(1), weight.sum()

    def value(labels):
        same = labels[:, None] == labels
        return ((weight - np.outer(degree, degree) / total) * same).sum() / total

    best = max((np.array(labels) for labels in itertools.product(range(4), repeat=6)), key=value)
    assert best_number(evidence(z, 1, np.random.default_rng(0)), 30) == len(np.unique(best)) == 3


def test_finer_resolutions_find_more():
    rng = np.random.default_rng(0)
    table = evidence(graph(rng.normal(size=(300, 5)).astype(np.float32)), 3, rng)
    assert table["n_clusters"].iloc[0] < table["n_clusters"].iloc[-1]
    assert (table["lowest"] <= table["n_clusters"]).all()
    assert (table["n_clusters"] <= table["highest"]).all()


def test_the_same_seed_gives_the_same_and_global_states_stay():
    z, state = graph(blobs()), random.getstate()
    one, again = (evidence(z, 3, np.random.default_rng(4)) for _ in range(2))
    pd.testing.assert_frame_equal(one, again)
    assert random.getstate() == state


def test_where_cells_or_anchors_are_few():
    assert best_number(evidence(graph(blobs(), m=4), 3, np.random.default_rng(0)), 30) <= 4
    alone = evidence(sp.csr_matrix(np.ones((2, 1))), 1, np.random.default_rng(0))
    assert best_number(alone, 30) == 1
    idle = sp.csr_matrix(np.eye(2)[[0, 0, 0]])
    assert best_number(evidence(idle, 1, np.random.default_rng(0)), 30) == 1
