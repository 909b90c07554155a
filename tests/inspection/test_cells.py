import numpy as np
import pandas as pd
import pytest

from scbignn.inspection import cell_findings, survey

RNG = np.random.default_rng(0)
X = RNG.poisson(2.0, (40, 50)) + np.eye(40, 50)
NAMES = pd.Index([f"c{n}" for n in range(40)])


def found(x, slot="X", names=NAMES):
    return {one.what: one for one in cell_findings(names, survey(x, slot, [], compare_rows=True))}


def changed(rows, values):
    x = X.copy()
    x[rows] = values
    return x


def test_nothing_odd():
    assert [one.level for one in found(X).values()] == ["ok"]


@pytest.mark.parametrize(
    ("slot", "mend"),
    [
        ("X", "sc.pp.filter_cells(adata, min_counts=1)"),
        ("layers['a']", "adata = adata[np.ravel(adata.layers['a'].sum(1)) >= 1].copy()"),
    ],
)
def test_empty_cells(slot, mend):
    one = found(changed([3, 5], 0), slot)["empty cells"]
    assert (one.level, one.mend) == ("problem", mend)
    assert one.found == "2 cells without any count: 'c3', 'c5'"


def test_empty_cells_are_not_equal_cells():
    assert "equal cells" not in found(changed([3, 5], 0))


def test_a_cell_is_poor_below_a_twentieth_of_the_median():
    x = np.zeros((40, 50))
    x[:, :40] = 5 + np.arange(40)[:, None] % 3  # medians of 240 counts and 40 genes
    x[1] = x[2] = 0
    x[1, 0], x[2, 0] = 11, 12
    one = found(x)["poor cells"]
    assert one.found == "1 cell with fewer than 12 counts, a twentieth of the median: 'c1'"
    assert one.mend == "sc.pp.filter_cells(adata, min_counts=12)"


def test_of_values_that_are_no_counts_genes_are_counted():
    x = np.log1p(X / X.sum(1, keepdims=True) * 1e4)
    x[1, 1:] = 0
    x[1, 0] = np.log1p(1e4)
    one = found(x, "layers['a']")["poor cells"]
    assert "1 cell with fewer than" in one.found
    assert "genes" in one.found
    assert one.mend.startswith("adata = adata[np.ravel((adata.layers['a'] != 0).sum(1)) >= ")


def test_equal_cells():
    one = found(X[[0, 1, 2, 1, 0, 1, *range(6, 40)]], "layers['a']")["equal cells"]
    assert one.level == "note"
    assert one.found.startswith("3 cells equal to an earlier one value for value, the first 'c3' that of 'c1'")
    assert one.mend == "adata = adata[~adata.to_df(layer='a').duplicated().to_numpy()].copy()"


def test_names():
    one = found(X, names=pd.Index(["a", "a", "b", "b", *NAMES[4:]]))["cell names"]
    assert (one.level, one.found) == ("problem", "2 names more than once: 'a', 'b'")


def test_without_values_names_are_looked_at():
    assert cell_findings(NAMES, None) == []
    assert len(cell_findings(pd.Index(["a", "a"]), None)) == 1


def test_negative_values_make_no_empty_or_poor_cells():
    assert set(found(changed([3], 0) - X.mean(0) * (np.arange(40) != 3)[:, None])) == {"cells"}
