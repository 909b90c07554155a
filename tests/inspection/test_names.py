import numpy as np
import pandas as pd
import pytest

from scbignn.inspection import gene_findings, overlap_findings

SYMBOLS = pd.Index([f"RPL{n}" for n in range(30)] + [f"CD{n}" for n in range(70)])
IDS = pd.Index([f"ENSG{n:011d}" for n in range(100)])


def found(names, others=None, empty=None, slot="var_names"):
    return {one.what: one for one in gene_findings(names, others or {}, empty, slot=slot)}


def overlap(reference, names, others=None, reference_others=None):
    (one,) = overlap_findings(reference, names, others or {}, reference_others or {}, genes="reference.genes")
    return one


def test_names_are_described():
    one = found(SYMBOLS, {"gene_symbols='id'": IDS})["genes"]
    assert one.level == "ok"
    assert one.found == (
        "100 symbols in var_names, such as 'RPL0', 'RPL1', 'RPL2'; human, as it seems: 100% in capitals, "
        "30 of RPL or RPS, 0 of MT-; Ensembl ids with gene_symbols='id'"
    )


def test_other_names_of_the_same_kind_are_passed_over():
    assert "with" not in found(SYMBOLS, {"gene_symbols='other'": SYMBOLS})["genes"].found


@pytest.mark.parametrize("names", [pd.Index(range(9)).astype(str), pd.Index([f"gene_{n}" for n in range(9)])])
def test_names_that_say_nothing(names):
    one = found(names, {"gene_symbols='id'": IDS[:9]})["genes"]
    assert (one.level, one.mend) == ("note", "gene_symbols='id'")
    assert found(names)["genes"].mend == ""


def test_repeated_and_missing_names():
    names = pd.Index(["A", "A", "B", "B", "", None, np.nan, "nan", "C"], dtype=object)
    bad = [one for one in gene_findings(names, {}, None, slot="var_names") if one.what == "gene names"]
    assert [(one.level, one.found) for one in bad] == [
        ("note", "4 genes without a name"),
        ("problem", "2 names more than once: 'A', 'B'"),
    ]
    bad = [one for one in gene_findings(names, {}, None, slot="var['s']") if one.what == "gene names"]
    assert [(one.level, one.mend) for one in bad] == [("note", ""), ("note", "")]


def test_empty_genes():
    assert "empty genes" not in found(SYMBOLS, empty=np.zeros(100, dtype=bool))
    assert found(SYMBOLS, empty=np.arange(100) < 1)["empty genes"].found.startswith("1 gene without")


@pytest.mark.parametrize(("n", "level"), [(90, "ok"), (89, "note"), (50, "note"), (49, "problem"), (0, "problem")])
def test_level_by_share(n, level):
    names = pd.Index([*SYMBOLS[:n], *(f"XY{m}" for m in range(100 - n))])
    one = overlap(SYMBOLS, names)
    assert one.level == level
    assert one.found.startswith(f"{n}.0% of the reference's 100 genes are there")
    assert f"{100 - n} are missing: '{SYMBOLS[n]}'" in one.found


def test_the_best_of_both_sides():
    one = overlap(SYMBOLS, IDS, {"half": SYMBOLS[:50]}, {"reference line": IDS})
    assert one.mend == "reference line"
    assert "100.0% with the code below" in one.found
    assert overlap(SYMBOLS, IDS, {"half": SYMBOLS[:50]}).mend == "half"


def test_versions():
    one = overlap(IDS, pd.Index([f"{name}.2" for name in IDS[:95]]))
    assert one.level == "ok"
    assert one.found.startswith("95.0% of the reference's 100 genes are there (95 of them but for the version")
