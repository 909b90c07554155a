import numpy as np
import pytest
import reference
from small import tiny

from scbignn.annotation._neighbors import cell_graph
from scbignn.graph import Neighbors


@pytest.mark.parametrize("symmetric_graph", [False, True])
@pytest.mark.parametrize("self_loops", [False, True])
def test_cell_graph_equals_dense(symmetric_graph, self_loops):
    points = np.random.default_rng(0).normal(size=(14, 3))
    points[5] = points[4]  # an edge of length 0 is an edge
    indices = reference.neighbors(points, 4)
    lengths = np.take_along_axis(reference.distances(points), indices, 1).astype(np.float32)
    found = Neighbors(indices, lengths.copy())
    graph = cell_graph(found, tiny(symmetric_graph=symmetric_graph, self_loops=self_loops))
    expected = reference.adjacency(indices)
    if symmetric_graph:
        expected = np.maximum(expected, expected.T)
    if self_loops:
        expected += np.eye(14)
    np.testing.assert_array_equal(graph.toarray() != 0, expected != 0)
    assert graph.nnz == expected.sum()
    np.testing.assert_array_equal(found.distances, lengths)
