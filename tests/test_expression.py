import numpy as np
import pytest
import reference
import scipy.sparse as sp

from scbignn._expression import chunks, mean_and_variance, variance_within
from scbignn.annotation import normalize, unit_rows


def counts(n=30, m=15, seed=0):
    x = np.random.default_rng(seed).poisson(np.random.default_rng(seed + 1).gamma(0.5, 2, m), (n, m))
    x[:, 3] = 0  # never expressed
    x[:, 0] += 1  # no cell is empty
    return x


@pytest.mark.parametrize("target_sum", [1e6, 1e4, 1.0])
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int64])
def test_normalize_equals_eq_1(target_sum, dtype):
    found = normalize(sp.csr_matrix(counts(), dtype=dtype), target_sum)
    assert found.dtype == np.float32
    assert found.format == "csr"
    np.testing.assert_allclose(found.toarray(), reference.normalize(counts(), target_sum), rtol=1e-6)


def test_normalize_does_not_see_the_scale_of_a_cell():
    x = counts()
    scale = np.random.default_rng(0).uniform(0.1, 10, (len(x), 1))
    found = normalize(sp.csr_matrix(x * scale), 1e4)
    np.testing.assert_allclose(found.toarray(), reference.normalize(x, 1e4), rtol=1e-6)


def test_normalize_does_not_change_its_input():
    x = sp.csr_matrix(counts(), dtype=np.float32)
    before = x.copy()
    normalize(x, 1e4).data[:] = 0
    np.testing.assert_array_equal(x.toarray(), before.toarray())


def test_mean_and_variance_equal_dense():
    x = reference.normalize(counts(), 1e4).astype(np.float32)
    mean, variance = mean_and_variance(sp.csr_matrix(x))
    np.testing.assert_allclose(mean, x.astype(np.float64).mean(0), rtol=1e-6)
    np.testing.assert_allclose(variance, x.astype(np.float64).var(0), rtol=1e-3, atol=1e-4)


def test_sums_and_normalisation_in_parts_are_those_of_the_whole(monkeypatch):
    x = sp.csr_matrix(counts(), dtype=np.float32)
    whole = normalize(x, 1e4)
    moments, lengths = mean_and_variance(whole), unit_rows(whole)
    monkeypatch.setattr("scbignn._expression.CHUNK_ROWS", 7)
    assert len(list(chunks(x))) > 2
    assert (sp.vstack(list(chunks(x))) != x).nnz == 0
    np.testing.assert_array_equal(normalize(x, 1e4).data, whole.data)
    np.testing.assert_array_equal(unit_rows(whole).data, lengths.data)
    for found, expected in zip(mean_and_variance(whole), moments, strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-12)


@pytest.mark.parametrize("rows", [7, 1000])
def test_variance_within_groups_equals_dense(monkeypatch, rows):
    monkeypatch.setattr("scbignn._expression.CHUNK_ROWS", rows)
    x = reference.normalize(counts(), 1e4).astype(np.float32)
    group = np.arange(len(x)) % 3
    found = variance_within(sp.csr_matrix(x), group, 3)
    assert found.shape == (3, x.shape[1])
    for number, variance in enumerate(found):
        np.testing.assert_allclose(variance, x[group == number].astype(np.float64).var(0), rtol=1e-3, atol=1e-4)


def test_a_constant_gene_has_no_variance():
    x = np.broadcast_to(np.linspace(0.1, 13, 40, dtype=np.float32), (50, 40))
    _, variance = mean_and_variance(sp.csr_matrix(x))
    assert (variance >= 0).all()
    np.testing.assert_allclose(variance, 0, atol=1e-8)


def test_unit_rows():
    dense = counts().astype(np.float32)
    dense[4] = 0
    x = sp.csr_matrix(dense)
    before = x.copy()
    found = unit_rows(x)
    length = np.sqrt((dense**2).sum(1, keepdims=True))
    np.testing.assert_allclose(found.toarray(), dense / np.where(length > 0, length, 1), rtol=1e-6)
    assert found.dtype == np.float32
    assert found.format == "csr"
    np.testing.assert_array_equal(x.toarray(), before.toarray())
