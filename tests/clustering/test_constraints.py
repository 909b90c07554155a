import itertools

import numpy as np
import pytest
from sklearn.metrics import adjusted_rand_score

from scbignn.clustering import constrained_partition, constraints_of

NAMES = np.array([f"cell_{number}" for number in range(200)])
NONE = np.zeros((0, 2), dtype=np.int64)


def pairs(*found):
    return np.array(found, dtype=np.int64).reshape(-1, 2)


def known(n, labels=(), together=NONE, apart=NONE):
    """Constraints of n cells; `labels` are pairs of cell and label."""
    codes = np.full(n, -1)
    for cell, label in labels:
        codes[cell] = label
    return constraints_of(codes, codes.max(initial=-1) + 1, together, apart, NAMES)


def blobs(per=30, seed=0):
    rng = np.random.default_rng(seed)
    truth = np.repeat(np.arange(4), per)
    return 8 * np.eye(4)[truth] + rng.normal(size=(4 * per, 4)), truth


def parted(points, k, constraints, seed=0):
    rng = np.random.default_rng(seed)
    return constrained_partition(points, k, constraints, rng, cells=np.arange(len(points)))


def test_links_are_passed_on():
    found = known(8, [(0, 0), (5, 1)], pairs((0, 1), (1, 2), (3, 4)), pairs((4, 6), (2, 7)))
    group = found.group
    assert group[[0, 1, 2]].tolist() == [0, 0, 0]
    assert group[5] == 1
    assert group[3] == group[4] >= 2
    assert len({group[3], group[6], group[7], 0, 1}) == 5
    assert found.held.all()
    expected = {(0, 1), tuple(sorted((group[4], group[6]))), (0, group[7])}
    assert {tuple(pair) for pair in found.apart} == expected


def test_nothing_known_is_no_group():
    found = known(5)
    assert not found.held.any()
    assert (len(found.apart), found.n_labels) == (0, 0)
    assert known(5, [(1, 0), (3, 1)]).of(np.array([3, 4])).group.tolist() == [1, -1]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            {"labels": [(0, 0), (1, 1)], "together": pairs((0, 2), (2, 1))},
            "must_link .*two labels.*'cell_0' and 'cell_1'",
        ),
        ({"labels": [(0, 0), (1, 0), (2, 1)], "apart": pairs((0, 1))}, "cannot_link parts .*'cell_0' and 'cell_1'"),
        ({"together": pairs((3, 4), (4, 5)), "apart": pairs((1, 2), (5, 3))}, "'cell_5' and 'cell_3'.*must_link join"),
    ],
)
def test_contradictions_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        known(6, **arguments)


def test_without_constraints_it_is_k_means():
    points, truth = blobs()
    assert adjusted_rand_score(truth, parted(points, 4, known(120))) == 1


def test_labels_number_the_clusters_and_hold():
    points, truth = blobs()
    # Two cells of the third blob are said to be of the first label.
    labels = [(0, 0), (1, 0), (60, 0), (61, 0), (90, 1)]
    found = parted(points, 4, known(120, labels))
    assert [found[cell] for cell, _ in labels] == [label for _, label in labels]
    free = np.setdiff1d(np.arange(120), [60, 61])
    assert adjusted_rand_score(truth[free], found[free]) == 1
    assert (found[truth == 3] == 1).all()


def test_labels_decide_between_two_ways_to_cut():
    # A cross of four blobs, to be cut in two: along either axis is as good.
    centers = np.array([[1.0, 1], [1, -1], [-1, 1], [-1, -1]])
    truth = np.repeat(np.arange(4), 30)
    points = 8 * centers[truth] + np.random.default_rng(0).normal(size=(120, 2))
    left = known(120, [(0, 0), (30, 0), (60, 1), (90, 1)])
    top = known(120, [(0, 0), (60, 0), (30, 1), (90, 1)])
    np.testing.assert_array_equal(parted(points, 2, left), truth // 2)
    np.testing.assert_array_equal(parted(points, 2, top), truth % 2)


def test_pairs_hold():
    points, _ = blobs()
    rng = np.random.default_rng(1)
    cells = rng.permutation(120)
    together, apart = cells[:16].reshape(-1, 2), cells[16:40].reshape(-1, 2)
    found = parted(points, 4, known(120, together=together, apart=apart))
    assert (found[together[:, 0]] == found[together[:, 1]]).all()
    assert (found[apart[:, 0]] != found[apart[:, 1]]).all()


def test_cells_of_one_blob_that_are_all_apart_get_a_cluster_each():
    points, _ = blobs()
    apart = pairs(*itertools.combinations([0, 1, 2, 3], 2))
    assert len(set(parted(points, 4, known(120, apart=apart))[:4])) == 4
    with pytest.raises(ValueError, match="no place in 3 clusters"):
        parted(points, 3, known(120, apart=apart))


def test_labels_leave_no_place():
    points, _ = blobs()
    labels, apart = [(0, 0), (30, 1)], pairs((5, 0), (5, 30))
    assert parted(points, 3, known(120, labels, apart=apart))[5] == 2
    with pytest.raises(ValueError, match="no place in 2 clusters"):
        parted(points, 2, known(120, labels, apart=apart))


def test_a_group_goes_where_most_of_it_is():
    points, truth = blobs()
    found = parted(points, 4, known(120, together=pairs((0, 1), (1, 2), (2, 40))))
    assert len({found[cell] for cell in (0, 1, 2, 40)}) == 1
    assert found[0] == found[5]
    assert found[40] != found[41]


def test_centres_of_some_cells_take_the_others():
    points, truth = blobs()
    cells = np.arange(0, 120, 3)
    found = constrained_partition(points, 4, known(120, [(0, 0), (30, 1)]), np.random.default_rng(0), cells=cells)
    assert adjusted_rand_score(truth, found) == 1


def test_order_of_pairs_does_not_matter():
    points, _ = blobs()
    one = parted(points, 4, known(120, together=pairs((0, 40), (70, 71)), apart=pairs((3, 4))))
    other = parted(points, 4, known(120, together=pairs((71, 70), (40, 0)), apart=pairs((4, 3))))
    assert adjusted_rand_score(one, other) == 1
