import anndata
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from anndata import AnnData
from small import as_stored

import scbignn
from scbignn import get
from scbignn._adata import ExpressionRows, read_expression, read_log_expression


def unsorted(x: sp.csr_matrix) -> sp.csr_matrix:
    x = x.copy()
    for start, stop in zip(x.indptr, x.indptr[1:], strict=False):
        x.data[start:stop], x.indices[start:stop] = x.data[start:stop][::-1].copy(), x.indices[start:stop][::-1].copy()
    return sp.csr_matrix((x.data, x.indices, x.indptr), shape=x.shape)


def duplicated(x: sp.csr_matrix) -> sp.csr_matrix:
    """Every entry v stored as v - 1 and 1 (counts are whole, so the sum is exact)."""
    data = np.column_stack([x.data - 1, np.ones_like(x.data)]).ravel()
    return sp.csr_matrix((data, np.repeat(x.indices, 2), 2 * x.indptr), shape=x.shape)


def stored_zeros(x: sp.csr_matrix) -> sp.csr_matrix:
    full = sp.csr_matrix(np.ones(x.shape, dtype=np.float32))
    full.data = x.toarray().ravel()
    return full


def read_only(x):
    x = x.copy()
    for part in ("data", "indices", "indptr") if sp.issparse(x) else ():
        getattr(x, part).flags.writeable = False
    if not sp.issparse(x):
        x.flags.writeable = False
    return x


FORMS = {
    "CSR float32": lambda x: x.astype(np.float32),
    "CSR float64": lambda x: x.astype(np.float64),
    "CSR int64": lambda x: x.astype(np.int64),
    "CSR uint16": lambda x: x.astype(np.uint16),
    "CSC": lambda x: x.tocsc(),
    "dense": lambda x: x.toarray(),
    "dense int64": lambda x: x.toarray().astype(np.int64),
    "Fortran order": lambda x: np.asfortranarray(x.toarray()),
    "strided": lambda x: np.repeat(x.toarray(), 2, axis=1)[:, ::2],
    "csr_array": sp.csr_array,
    "csc_array": sp.csc_array,
    "read-only CSR": read_only,
    "read-only CSC": lambda x: read_only(x.tocsc()),
    "read-only dense": lambda x: read_only(x.toarray()),
    "unsorted": unsorted,
    "duplicates": duplicated,
    "stored zeros": stored_zeros,
    "64-bit indices": lambda x: sp.csr_matrix((x.data, x.indices.astype(np.int64), x.indptr), shape=x.shape),
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("slot", ["X", "layer"])
def test_every_form_of_a_matrix_gives_the_same(adata, contents, form, slot):
    expected = adata.X.copy()
    matrix = FORMS[form](adata.X)
    if slot == "X":
        adata.X = matrix
    else:
        adata.X = None
        adata.layers["values"] = matrix
    before = contents(adata)
    x, expression = read_expression(adata, None if slot == "X" else "values")
    assert contents(adata) == before
    assert type(x) is sp.csr_matrix
    assert (x.dtype, expression.kind) == (np.float32, "counts")
    assert as_stored(x) == as_stored(expected)


@pytest.mark.parametrize("form", [bool, np.int8])
@pytest.mark.parametrize("layout", [sp.csr_matrix, sp.csc_matrix, sp.csr_matrix.toarray])
def test_binary_matrices(adata, form, layout):
    binary = (adata.X > 0).astype(form)
    expected = sp.csr_matrix(binary, dtype=np.float32)
    x, expression = read_expression(AnnData(layout(binary)), None)
    assert expression.kind == "counts"
    assert as_stored(x) == as_stored(expected)


@pytest.mark.parametrize("form", ["CSC", "dense int64", "csr_array", "read-only CSR", "duplicates"])
def test_every_form_gives_the_same_annotation(adata, fast, form):
    other = adata.copy()
    other.X = FORMS[form](adata.X)
    for each in (adata, other):
        scbignn.tl.annotate(each, "cell_type", config=fast)
    pd.testing.assert_frame_equal(
        get.annotation(adata, probabilities=True), get.annotation(other, probabilities=True), check_exact=True
    )


def test_the_matrix_read_is_no_view_of_the_users(adata, contents):
    before = contents(adata)
    x, _ = read_expression(adata, None)
    x.data[:] = -1
    x.indices[:] = 0
    assert contents(adata) == before


def test_a_matrix_that_is_not_in_memory_is_refused(adata):
    class Lazy:
        shape = adata.shape
        dtype = np.dtype(np.float32)

    adata_like = type("AnnDataLike", (), {"X": Lazy(), "layers": {}})()
    with pytest.raises(TypeError, match=r"Lazy.*to_memory\(\)"):
        read_log_expression(adata_like, None)


@pytest.mark.parametrize("dense", [False, True])
def test_rows_of_a_file_come_in_any_order_more_than_once_and_by_a_mask(tmp_path, dense):
    x = np.random.default_rng(0).poisson(2.0, (30, 8)).astype(np.float32) + 1
    AnnData(x if dense else sp.csr_matrix(x)).write_h5ad(tmp_path / "a.h5ad")
    backed = anndata.read_h5ad(tmp_path / "a.h5ad", backed="r")
    rows = ExpressionRows(backed, None)
    for some in (np.array([7, 3, 3, 20]), np.arange(5, 9), np.arange(30) % 4 == 1, slice(2, 6)):
        np.testing.assert_array_equal(rows[some].toarray(), x[some])
    backed.file.close()
