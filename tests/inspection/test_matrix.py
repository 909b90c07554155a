import numpy as np
import pytest
import scipy.sparse as sp

from scbignn._check import Expression
from scbignn.inspection import matrix_findings, survey

RNG = np.random.default_rng(0)
COUNTS = RNG.poisson(1.5, (50, 30)).astype(np.float64) + np.eye(50, 30)
LINEAR = COUNTS / COUNTS.sum(1, keepdims=True) * 1e4


class OnDisk:
    """Gives rows when asked for them, and counts the rows."""

    def __init__(self, x):
        self.x, self.shape, self.dtype, self.read = x, x.shape, x.dtype, 0

    def __getitem__(self, rows):
        self.read += len(rows)
        return self.x[rows]


class Lazy(OnDisk):
    """As Dask does."""

    def __getitem__(self, rows):
        return type("Later", (), {"compute": lambda _: self.x[rows]})()


@pytest.mark.parametrize(
    ("x", "kind", "base", "total"),
    [
        (COUNTS, "counts", "", None),
        (LINEAR, "normalized", "", 1e4),
        (LINEAR[:, :15], "normalized", "", None),
        (np.log1p(LINEAR), "log1p", "e", 1e4),
        (np.log1p(LINEAR / 10), "log1p", "e", 1e3),
        (np.log2(1 + LINEAR), "log1p", "2", 1e4),
        (np.log10(1 + LINEAR), "log1p", "10", 1e4),
        (np.log1p(COUNTS), "log1p", "e", None),
    ],
)
def test_kinds(x, kind, base, total):
    found = survey(x, "X", [])
    assert found.expression == Expression("X", kind, base)
    assert found.total == (None if total is None else pytest.approx(total, rel=1e-3))


def test_what_is_recorded_is_believed():
    roots = np.sqrt(COUNTS)
    assert survey(roots, "X", []).expression is None
    assert survey(roots, "X", [Expression("X", "log1p", "2")]).expression == Expression("X", "log1p", "2")


def test_summary_against_numpy(monkeypatch):
    monkeypatch.setattr("scbignn.inspection._matrix._BLOCK", 7)
    x = np.where(RNG.random((50, 30)) < 0.8, 0, RNG.normal(size=(50, 30))).astype(np.float32)
    x[:, 4] = x[9] = 0
    x[3, 5], x[8, 5], x[8, 6] = np.nan, np.inf, -np.inf
    found = survey(sp.csr_matrix(x), "X", [], compare_rows=True)
    finite = np.isfinite(x)
    assert found.n_wrong == 3
    assert np.flatnonzero(found.wrong_rows).tolist() == [3, 8]
    assert np.flatnonzero(found.wrong_genes).tolist() == [5, 6]
    assert found.n_negative == (x[finite] < 0).sum()
    assert (found.lowest, found.highest) == (x[finite & (x != 0)].min(), x[finite].max())
    np.testing.assert_array_equal(found.n_expressed, (x != 0).sum(1))
    np.testing.assert_array_equal(found.seen, (x != 0).any(0))
    rows = np.delete(np.arange(50), [3, 8])
    np.testing.assert_allclose(found.totals[rows], x[rows].sum(1, dtype=float), atol=1e-6)
    assert len(set(found.digests)) == len(np.unique(x, axis=0))
    assert found.expression is None


@pytest.mark.parametrize("disk", [OnDisk, Lazy])
def test_of_what_is_not_in_memory_some_rows_are_read(monkeypatch, disk):
    monkeypatch.setattr("scbignn._check._expression.SAMPLE", 10)
    x = disk(COUNTS)
    found = survey(x, "X", [])
    assert found.sampled
    assert found.rows.tolist() == np.linspace(0, 49, 10, dtype=int).tolist()
    np.testing.assert_array_equal(found.totals, COUNTS[found.rows].sum(1))
    assert x.read <= 10
    assert found.expression.kind == "counts"


def test_a_sample_of_empty_rows(monkeypatch):
    monkeypatch.setattr("scbignn._check._expression.SAMPLE", 2)
    x = COUNTS.copy()
    x[[0, 49]] = 0
    assert survey(x, "X", []).expression.kind == "counts"
    assert survey(OnDisk(x), "X", []).expression is None


def test_equal_rows_have_equal_digests_in_every_form():
    dense = survey(COUNTS, "X", [], compare_rows=True).digests
    stored = sp.coo_matrix(COUNTS).tocsc()
    assert survey(stored, "X", [], compare_rows=True).digests == dense
    assert survey(COUNTS, "X", []).digests == []


@pytest.mark.parametrize("x", [np.array([["a"]]), np.array([[1j]]), np.array([[object()]])])
def test_no_numbers(x):
    assert survey(x, "X", []) is None


def test_the_best_slot_is_proposed():
    choose = {"a": "A", "b": "B", "c": "C", "d": "D"}
    matrices = {
        "a": survey(COUNTS - 1, "a", []),
        "b": survey(LINEAR, "b", []),
        "c": survey(np.log1p(LINEAR), "c", []),
        "d": survey(COUNTS, "d", []),
    }

    def mend(*slots):
        (found,) = (
            one for one in matrix_findings({slot: matrices[slot] for slot in slots}, slots[0], choose) if one.mend
        )
        return found.what, found.level, found.mend

    assert mend("a", "b", "c", "d") == ("a", "problem", "D")
    assert mend("a", "b", "c") == ("a", "problem", "C")
    assert mend("a", "b") == ("a", "problem", "B")
    assert mend("c", "a", "d") == ("c", "note", "D")
    assert [one.level for one in matrix_findings({"c": matrices["c"], "b": matrices["b"]}, "c", choose)] == ["ok", "ok"]
    assert [one.level for one in matrix_findings({"d": matrices["d"], "a": matrices["a"]}, "d", choose)] == ["ok", "ok"]


@pytest.mark.parametrize(
    ("x", "text"),
    [
        (COUNTS, f"integer counts up to {COUNTS.max():.0f}, {np.median(COUNTS.sum(1)):.0f} in the median cell"),
        (LINEAR, "linear values that sum to 10,000 in every cell"),
        (LINEAR / 1e4, "linear values that sum to 1 in every cell"),
        (LINEAR[:, :15], "values on a linear scale"),
        (np.log1p(LINEAR), "log1p values (base e) of values that sum to 10,000 in every cell"),
        (0 * COUNTS, "zero everywhere"),
    ],
)
def test_sentences(x, text):
    assert matrix_findings({"X": survey(x, "X", [])}, "X", {})[0].found == text


def test_other_numbers_of_genes_are_named():
    matrices = {"X": survey(COUNTS, "X", []), "raw.X": survey(COUNTS[:, :9], "raw.X", [])}
    first, second = matrix_findings(matrices, "X", {})
    assert "genes" not in first.found
    assert second.found.endswith("of 9 genes")
