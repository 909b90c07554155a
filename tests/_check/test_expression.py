import numpy as np
import pytest
import scipy.sparse as sp
from anndata import AnnData

from scbignn import _check
from scbignn._adata import read_expression

BASES = {"e": np.e, "2": 2.0, "10": 10.0}


def counts(depth: float = 4.0, *, n_cells: int = 60, n_genes: int = 100) -> np.ndarray:
    rng = np.random.default_rng(0)
    level = rng.lognormal(0, 1, n_genes)
    found = rng.poisson(level / level.mean() * depth * rng.lognormal(0, 0.4, n_cells)[:, None]).astype(np.float64)
    found[np.arange(n_cells), rng.integers(n_genes, size=n_cells)] += 1
    return found


def normalized(x: np.ndarray, total: float = 1e4) -> np.ndarray:
    return x / x.sum(1, keepdims=True) * total


def detected(x: np.ndarray, **uns) -> _check.Expression:
    return read_expression(AnnData(sp.csr_matrix(x, dtype=np.float32), uns=uns), None)[1]


def assert_proportional(found: sp.csr_matrix, expected: np.ndarray) -> None:
    found = found.toarray().astype(np.float64)
    np.testing.assert_allclose(normalized(found), normalized(expected), rtol=2e-5)


@pytest.mark.parametrize("depth", [0.05, 0.5, 4.0, 100.0, 20_000.0])
def test_counts(depth):
    x, expression = read_expression(AnnData(counts(depth)), None)
    assert expression == _check.Expression("X", "counts")
    np.testing.assert_array_equal(x.toarray(), counts(depth).astype(np.float32))


@pytest.mark.parametrize(
    "x", [(counts() > 0).astype(float), np.ones((10, 4)), counts(n_cells=10), counts(n_genes=1) + 1]
)
def test_counts_of_odd_data(x):
    assert detected(x).kind == "counts"


@pytest.mark.parametrize("base", BASES)
@pytest.mark.parametrize("total", [1e3, 1e4, 1e6])
@pytest.mark.parametrize("depth", [0.3, 4.0, 100.0])
def test_log1p_of_all_genes(base, total, depth):
    log1p = np.log1p(normalized(counts(depth), total)) / np.log(BASES[base])
    x, expression = read_expression(AnnData(sp.csr_matrix(log1p, dtype=np.float32)), None)
    assert expression == _check.Expression("X", "log1p", base)
    assert str(expression) == f"log1p values (base {base})"
    assert_proportional(x, counts(depth))


@pytest.mark.parametrize("base", BASES)
@pytest.mark.parametrize("total", [1e3, 1e4, 1e6])
@pytest.mark.parametrize("depth", [0.3, 4.0])
def test_log1p_of_some_genes(base, total, depth):
    some = counts(depth)[:, :50]
    cells = some.sum(1) > 0
    log1p = (np.log1p(normalized(counts(depth), total)) / np.log(BASES[base]))[cells, :50]
    x, expression = read_expression(AnnData(sp.csr_matrix(log1p, dtype=np.float32)), None)
    assert expression == _check.Expression("X", "log1p", base)
    assert_proportional(x, some[cells])


@pytest.mark.parametrize("base", BASES)
@pytest.mark.parametrize("depth", [0.3, 4.0])
def test_log1p_of_counts(base, depth):
    log1p = np.log1p(counts(depth)) / np.log(BASES[base])
    assert detected(log1p) == _check.Expression("X", "log1p", base)


@pytest.mark.parametrize(
    ("recorded", "base"),
    [({"base": None}, "e"), ({}, "e"), ({"base": 2}, "2"), ({"base": 10}, "10"), ({"base": "e"}, "e")],
)
def test_recorded_log1p_is_believed(recorded, base):
    # Deep data on some genes: their values alone would not tell.
    some = counts(500.0)[:, :50]
    log1p = (np.log1p(normalized(counts(500.0))) / np.log(BASES[base]))[:, :50]
    adata = AnnData(sp.csr_matrix(log1p, dtype=np.float32), uns={"log1p": recorded})
    x, expression = read_expression(adata, None)
    assert expression == _check.Expression("X", "log1p", base)
    assert_proportional(x, some)


def test_a_base_of_ones_own():
    adata = AnnData(np.log1p(normalized(counts())) / np.log(3), uns={"log1p": {"base": 3}})
    x, expression = read_expression(adata, None)
    assert expression.base == "3.0"
    assert_proportional(x, counts())


def test_record_of_x_says_nothing_about_a_layer():
    adata = AnnData(np.log1p(normalized(counts())), uns={"log1p": {"base": 2}})
    adata.layers["natural"] = adata.X.copy()
    assert read_expression(adata, "natural")[1] == _check.Expression("layers['natural']", "log1p", "e")


@pytest.mark.parametrize("base", ["natural", [2, 3], 0, 1, -2, np.nan])
def test_a_record_that_cannot_be_read_says_nothing(base):
    assert detected(np.log1p(normalized(counts())), log1p={"base": base}) == _check.Expression("X", "log1p", "e")


def test_record_does_not_turn_counts_into_log1p():
    assert detected(counts(), log1p={"base": None}).kind == "counts"


@pytest.mark.parametrize("total", [1e3, 1e4, 1e6])
@pytest.mark.parametrize("genes", [100, 50])
def test_linear_values(total, genes):
    x, expression = read_expression(AnnData(normalized(counts(), total)[:, :genes]), None)
    assert expression == _check.Expression("X", "normalized")
    assert_proportional(x, counts()[:, :genes])


@pytest.mark.parametrize("total", [1e3, 1e4])
def test_one_cell_is_told_as_many_are(total):
    linear = normalized(counts(), total)
    linear = linear[linear.max(1) < 20] if total == 1e3 else linear
    for row in linear[:20]:
        assert detected(np.log1p(row)[None]) == _check.Expression("X", "log1p", "e")
        assert detected(row[None]).kind == "normalized"


def test_one_cell_of_equal_values_is_a_multiple_of_ones():
    for value in (0.3, np.log1p(5.0)):
        x, expression = read_expression(AnnData(np.full((1, 7), value, dtype=np.float32)), None)
        assert expression.kind == "normalized"
        assert_proportional(x, np.ones((1, 7)))


@pytest.mark.parametrize("factor", [0.5, 1 / 3])
def test_multiples_of_counts_are_linear(factor):
    assert detected(counts() * factor).kind == "normalized"


def test_counts_corrected_to_fractions_are_linear():
    corrected = counts(30.0) * np.random.default_rng(1).uniform(0.9, 1, (60, 100))
    assert detected(corrected).kind == "normalized"


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_rounding_of_log1p(dtype):
    rounded = np.log1p(normalized(counts())).astype(dtype)
    assert detected(rounded) == _check.Expression("X", "log1p", "e")


@pytest.mark.parametrize(
    "x",
    [
        np.random.default_rng(0).random((60, 40)),
        np.abs(np.random.default_rng(0).normal(size=(60, 40))),
        np.sqrt(counts()),
        np.log1p(np.log1p(normalized(counts()))),
        np.clip((counts() - counts().mean(0)) / (counts().std(0) + 1e-9), 0.01, 10),
    ],
    ids=["uniform", "half-normal", "square root", "log1p twice", "scaled and clipped"],
)
def test_values_that_cannot_be_told_are_refused(x):
    with pytest.raises(ValueError, match=r'up to [\d.]+ that look log-transformed.*adata\.uns\["log1p"\]'):
        detected(x)
