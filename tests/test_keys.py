import numpy as np
import pytest

from scbignn._keys import (
    AnnotationKeys,
    AuditKeys,
    BackOffKeys,
    ClusterKeys,
    CrossValidationKeys,
    GrnKeys,
    column_names,
    is_annotation,
    is_audit,
    is_back_off,
    is_clustering,
    is_cross_validation,
    is_grn,
)


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        (["B", "NK"], ["B", "NK"]),
        (["T/NK", "CD4+/CD25 T Reg"], ["T|NK", "CD4+|CD25 T Reg"]),
        (["T/NK", "T|NK"], ["T|NK|", "T|NK"]),
        (["T|NK", "T/NK"], ["T|NK", "T|NK|"]),
        (["a/b/c", "a|b/c", "a|b|c"], ["a|b|c|", "a|b|c||", "a|b|c"]),
        (["γδ T", "/"], ["γδ T", "|"]),
    ],
)
def test_column_names_are_writable_and_distinct(labels, expected):
    names = column_names(labels)
    assert names == expected
    assert len(set(names)) == len(labels)
    assert not any("/" in name for name in names)


@pytest.mark.parametrize(
    ("kind", "n_slots"),
    [(AnnotationKeys, 13), (AuditKeys, 3), (BackOffKeys, 3), (ClusterKeys, 7), (CrossValidationKeys, 5), (GrnKeys, 5)],
)
def test_every_slot_carries_the_key_and_is_listed(kind, n_slots):
    keys = kind("mine")
    slots = [(attribute, name) for attribute, names in keys.slots.items() for name in names]
    assert len(set(slots)) == len(slots) == n_slots
    names = {name for _, name in slots}
    assert all("mine" in name for name in names)
    properties = {name for name, value in vars(kind).items() if isinstance(value, property)} - {"slots"}
    assert {getattr(keys, name) for name in properties} | {keys.key} == names


def test_runs_are_told_apart():
    runs = [
        {"gene_importance": 1, "params": {}},
        {"noise_rate": 0.1},
        {"threshold": 0.8, "tree": 1},
        {"folds": 1, "rounds": 1, "gene_importance": 1},
        {"verdict": "", "metrics": {}},
        {"anchors": {}, "clusters": {}},
    ]
    tests = is_annotation, is_audit, is_back_off, is_cross_validation, is_grn, is_clustering
    for told in tests:
        assert not any(told(other) for other in (None, 3, "noise_rate", {}))
    np.testing.assert_array_equal([[told(run) for run in runs] for told in tests], np.eye(6, dtype=bool))
