import pandas as pd

from scbignn.inspection import batch_findings


def found(batches, labels=None):
    labels = None if labels is None else pd.Series(labels, dtype=object)
    return {one.what: one for one in batch_findings(pd.Series(batches, dtype=object), "k", labels)}


def test_sizes():
    assert found(["a"] * 1200 + ["b"] * 2)["batches"].found == "2 batches in obs['k'], of 2 ('b') to 1,200 cells ('a')"
    assert found(["a"] * 3)["batches"].found == "one batch in obs['k'], 'a'"


def test_no_value():
    assert found([None, None])["batches"].level == "problem"


def test_names_are_no_batches():
    assert found([str(n) for n in range(10)])["batches"].level == "problem"
    assert found([str(n) for n in range(9)])["batches"].level == "ok"


def test_missing():
    assert found(["a", "b", None] * 2)["no batch"].found == "2 cells without a batch"


def test_small():
    assert found(["a", "a", "b", "c10", "c9"])["small batches"].found == "3 of one cell only: 'b', 'c9', 'c10'"


def test_confounded():
    batches = ["a", "a", "b", "b", "c", "c"]
    assert "confounded" not in found(batches, ["x", "y"] * 3)
    assert "confounded" not in found(batches, ["x"] * 6)
    assert "confounded" not in found(["a"] * 6, ["x", "y"] * 3)
    one = found(batches, ["x", "x", "x", "y", None, "y"])["confounded"]
    assert one.level == "note"
    assert one.found.startswith("2 of 3 batches with one label only ('a', 'c')")


def test_a_batch_without_labels_is_not_confounded():
    assert "confounded" not in found(["a", "a", "b", "b"], ["x", "y", None, None])
