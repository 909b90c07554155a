import json

import numpy as np
import pytest

from scbignn.annotation import LabelTree, back_off, label_tree, label_tree_from_columns

PARENTS = {"naive": "CD4", "memory": "CD4", "CD4": "T", "CD8": "T", "T": None, "B": None}
LEAVES = ["naive", "memory", "CD8", "B"]


def answer(p, threshold, names=LEAVES, tree=PARENTS):
    found = back_off(np.array([p], dtype=np.float32), names, label_tree(tree), threshold)
    return found.label[0], pytest.approx(float(found.probability[0])), found.depth[0]


@pytest.mark.parametrize(
    "tree",
    [
        PARENTS,
        {"naive": "CD4", "memory": "CD4", "CD4": "T", "CD8": "T", "B": None},
        {"T": {"CD4": ["naive", "memory"], "CD8": None}, "B": {}},
        {"T": {"CD4": {"naive": None, "memory": None}, "CD8": ()}, "B": None},
    ],
)
def test_one_tree_many_ways(tree):
    assert label_tree(tree).parents == PARENTS


def test_tree_from_columns():
    coarse = ["T", "T", "T", "B", None]
    middle = ["CD4", "CD4", "CD8", "B", "CD8"]
    fine = ["naive", "memory", np.nan, np.nan, None]
    assert label_tree_from_columns([coarse, middle, fine]).parents == PARENTS


def test_path_and_round_trip_through_json():
    tree = label_tree({**PARENTS, "T/NK": None})
    assert tree.path("naive") == ["T", "CD4", "naive"]
    assert LabelTree.from_dict(json.loads(json.dumps(tree.to_dict()))) == tree


@pytest.mark.parametrize(
    ("p", "threshold", "expected"),
    [
        ([0.90, 0.05, 0.05, 0.0], 0.8, ("naive", 0.9, 3)),
        ([0.50, 0.40, 0.05, 0.05], 0.8, ("CD4", 0.9, 2)),
        ([0.30, 0.30, 0.35, 0.05], 0.8, ("T", 0.95, 1)),
        ([0.25, 0.25, 0.20, 0.30], 0.8, ("Unknown", 0.7, 0)),
        ([0.20, 0.20, 0.20, 0.40], 0.5, ("T", 0.6, 1)),  # B is the most probable leaf
        ([0.0, 0.0, 0.0, 1.0], 1.0, ("B", 1.0, 1)),
    ],
)
def test_back_off(p, threshold, expected):
    assert answer(p, threshold) == expected


def test_the_answer_is_the_deepest_label_that_passes():
    tree = label_tree(PARENTS)
    p = np.random.default_rng(0).dirichlet([0.5] * 4, size=300)
    found = back_off(p, LEAVES, tree, 0.6)
    for row, label in zip(p, found.label, strict=True):
        total = {node: sum(row[i] for i, leaf in enumerate(LEAVES) if node in tree.path(leaf)) for node in PARENTS}
        passing = [node for node in PARENTS if total[node] >= 0.6]
        assert label == max(passing, key=lambda node: len(tree.path(node)), default="Unknown")
    assert set(found.label) == {*PARENTS, "Unknown"}


def test_a_label_with_finer_ones_below_it_may_be_predicted():
    assert answer([0.7, 0.2, 0.1], 0.6, ["CD4", "naive", "B"]) == ("CD4", 0.9, 2)
    assert answer([0.2, 0.7, 0.1], 0.6, ["CD4", "naive", "B"]) == ("naive", 0.7, 3)


def test_rounding_does_not_miss_a_threshold_of_one():
    p = np.full((1, 3), 1 / 3, dtype=np.float32)
    assert back_off(p, ["a", "b", "c"], label_tree(dict.fromkeys("abc", "all")), 1.0).label[0] == "all"


@pytest.mark.parametrize(
    ("tree", "error", "message"),
    [
        ({"a": "b", "b": "c", "c": "a"}, ValueError, "circle: 'a' -> 'b' -> 'c' -> 'a'"),
        ({"a": "a"}, ValueError, "circle: 'a' -> 'a'"),
        ({"T": ["NK"], "ILC": ["NK"]}, ValueError, "'NK' stands below both 'T' and 'ILC'"),
        ({"T": {"CD4": 3}}, TypeError, "below 'CD4' the tree holds 3"),
        ({"T": [1]}, TypeError, "the tree holds 1"),
        ({}, TypeError, "Pass a dict"),
        (["T"], TypeError, "Pass a dict"),
    ],
)
def test_no_tree(tree, error, message):
    with pytest.raises(error, match=message):
        label_tree(tree)


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ([["T", "T", "ILC"], ["NK", "NK", "NK"]], "'NK' belongs to 'T' in 2 cells and to 'ILC' in 1"),
        ([["a", "b"], ["b", "a"]], "circle"),
        ([["a", "b"]], "found columns of lengths 2"),
        ([["a", "b"], ["c"]], "lengths 2, 1"),
    ],
)
def test_no_tree_in_columns(columns, message):
    with pytest.raises(ValueError, match=message):
        label_tree_from_columns(columns)


def test_what_back_off_refuses():
    p, tree = np.full((2, 2), 0.5), label_tree(PARENTS)
    with pytest.raises(ValueError, match="1 labels are not in the tree \\('Mono'\\)"):
        back_off(p, ["B", "Mono"], tree, 0.5)
    with pytest.raises(ValueError, match="threshold=0"):
        back_off(p, ["B", "T"], tree, 0)
    with pytest.raises(ValueError, match="p has shape"):
        back_off(p, LEAVES, tree, 0.5)
    with pytest.raises(ValueError, match="has a label 'B'"):
        back_off(p, ["B", "T"], tree, 0.5, unknown="B")
