import pandas as pd
import pytest

from scbignn.inspection import label_findings


def found(values, reference=None):
    strings = pd.Series(values, dtype=object)
    return {one.what: one for one in label_findings(strings, "k", "Unknown", reference)}


def test_sizes():
    assert found(["a"] * 3 + ["b"] * 1200 + [None] * 4)["labels"].found == (
        "2 labels in obs['k'], on 3 ('a') to 1,200 cells ('b'); none on 4"
    )
    assert found(["a", "b"] * 3)["labels"].found.endswith("every cell has one")


@pytest.mark.parametrize(
    ("values", "fragment"),
    [
        ([None] * 3, "no cell has a label"),
        (["a", "a", None], "'a' on 2 cells and no label on 1: nothing to tell apart"),
        ([str(n) for n in range(11)], "11 values on 11 cells"),
    ],
)
def test_problems(values, fragment):
    (one,) = found(values).values()
    assert one.level == "problem"
    assert fragment in one.found


def test_few_cells_may_have_as_many_labels():
    assert found(["a", "b", "c"])["labels"].level == "ok"


def test_rare_labels():
    assert found(["a", "a", "b", "c10", "c9"])["rare labels"].found == "3 labels on one cell only: 'b', 'c9', 'c10'"


@pytest.mark.parametrize("name", ["unassigned", "Unknown ", "N/A", "nan", "?", "", "Not assigned"])
def test_labels_that_say_there_is_none(name):
    one = found(["a", "b", name] * 3)["no label"]
    assert one.level == "note"
    assert one.mend == f"adata.obs['k'] = adata.obs['k'].astype(object).replace([{name!r}], 'Unknown')"


def test_nameless_labels_are_not_compared_with_the_reference():
    assert found(["a", "b", "unassigned"] * 3, ["a", "b"])["reference labels"].level == "ok"


@pytest.mark.parametrize("other", ["b cell", "B cell ", "B  cell", "B_cell", "B CELL"])
def test_spellings_follow_the_most_frequent(other):
    one = found(["B cell"] * 5 + [other] * 2 + ["T cell"] * 3)["spelling"]
    assert one.mend == f"adata.obs['k'] = adata.obs['k'].astype(object).replace({{{other!r}: 'B cell'}})"


@pytest.mark.parametrize("other", ["B cells", "B-cell", "Bcell"])
def test_other_words_are_no_spellings(other):
    assert "spelling" not in found(["B cell"] * 5 + [other] * 2)


def test_against_a_reference():
    one = found(["a", "b", "c"] * 2, ["a", "B", "d"])["reference labels"]
    assert one.level == "note"
    assert one.found == (
        "1 label on both sides; 2 in adata only ('b', 'c'); 2 in the reference only ('B', 'd'). "
        "1 of them the same but for capitals or blanks"
    )
    assert "{'b': 'B'}" in one.mend
    assert found(["a", "b"] * 2, ["a", "b", "c"])["reference labels"].level == "ok"
    assert found(["a", "b"] * 2, ["b", "a"])["reference labels"].found == "the same 2 as the reference has"
