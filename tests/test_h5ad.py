import anndata
import h5py
import numpy as np
import pytest
import scipy.sparse as sp

from scbignn._h5ad import on_disk


def test_rows_are_those_of_the_file(furnished, tmp_path):
    furnished.layers["csc"] = furnished.X.tocsc()
    furnished.uns["log1p"] = {"base": 2}
    furnished.write_h5ad(tmp_path / "in.h5ad")
    rows = np.array([0, 3, 59])
    with on_disk(tmp_path / "in.h5ad") as opened:
        assert not isinstance(opened.X, (np.ndarray, sp.spmatrix))
        assert isinstance(opened.layers["other"], h5py.Dataset)
        for found, expected in (
            (opened.X, furnished.X),
            (opened.layers["csc"], furnished.X),
            (opened.raw.X, furnished.raw.X),
        ):
            np.testing.assert_array_equal(found[rows].toarray(), expected[rows].toarray())
        np.testing.assert_array_equal(opened.layers["other"][rows], furnished.layers["other"][rows])
        assert opened.obs.equals(anndata.read_h5ad(tmp_path / "in.h5ad").obs)
        assert opened.var_names.equals(furnished.var_names)
        assert opened.raw.var_names.equals(furnished.var_names)
        assert opened.uns["log1p"]["base"] == 2


def test_without_x_layers_or_raw(adata, tmp_path):
    adata.X = None
    adata.write_h5ad(tmp_path / "in.h5ad")
    with on_disk(tmp_path / "in.h5ad") as opened:
        assert opened.X is None
        assert opened.raw is None
        assert opened.shape == (60, 40)


@pytest.mark.filterwarnings("default:.* names are not unique")
def test_repeated_names_give_no_warning(adata, tmp_path, recwarn):
    adata.obs_names = ["twin"] * 60
    adata.write_h5ad(tmp_path / "in.h5ad")
    recwarn.clear()
    with on_disk(tmp_path / "in.h5ad") as opened:
        assert not opened.obs_names.is_unique
    assert len(recwarn) == 0


def test_the_file_is_closed_at_the_end(adata, tmp_path):
    adata.write_h5ad(tmp_path / "in.h5ad")
    with on_disk(tmp_path / "in.h5ad"):
        pass
    h5py.File(tmp_path / "in.h5ad", "a").close()


def test_a_file_of_something_else(tmp_path):
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file["values"] = np.arange(3)
    with pytest.raises(KeyError):
        with on_disk(tmp_path / "x.h5"):
            pass
