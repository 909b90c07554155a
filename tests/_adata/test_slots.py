import anndata
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from anndata import AnnData
from small import as_stored

import scbignn
from scbignn import get
from scbignn._adata import Slot, write_slots


@pytest.mark.parametrize("error", [KeyboardInterrupt, MemoryError, ValueError])
@pytest.mark.parametrize("old", [True, False])
def test_all_slots_or_none(furnished, contents, monkeypatch, error, old):
    slots = [
        Slot("obs", "new", pd.Categorical(["a", "b"] * 30)),
        Slot("obsm", "X_new", np.ones((60, 2))),
        Slot("obsp", "new", sp.identity(60, format="csr")),
        Slot("varp", "new", sp.identity(40, format="csr")),
        Slot("uns", "new", {"a": 1}),
        Slot("uns", "last", 1),
    ]
    if old:
        write_slots(furnished, [slot._replace(value=value) for slot, value in zip(slots, OLD, strict=True)])
    before = contents(furnished)

    class Stops(dict):
        def __setitem__(self, name, value):
            super().__setitem__(name, value)
            if name == "last" and value == 1:
                raise error

    monkeypatch.setattr(furnished, "_uns", Stops(furnished.uns))
    with pytest.raises(error):
        write_slots(furnished, slots)
    assert contents(furnished) == before


OLD = [np.arange(60.0), np.zeros((60, 3)), sp.csr_matrix((60, 60)), np.eye(40), "text", 0]


def test_lazy_tables_are_read_with_the_slots_or_stay_lazy(adata, tmp_path):
    pytest.importorskip("xarray")
    if not hasattr(anndata.experimental, "read_lazy"):
        pytest.skip("this anndata has no read_lazy")
    adata.write_h5ad(tmp_path / "cells.h5ad")
    lazy = anndata.experimental.read_lazy(tmp_path / "cells.h5ad")
    obs, var = lazy.obs, lazy.var
    fits, does_not = Slot("obs", "new", np.arange(lazy.n_obs)), Slot("obsm", "short", np.ones((2, 2)))
    with pytest.raises(ValueError, match="short"):
        write_slots(lazy, [fits, does_not])
    assert (type(lazy.obs), type(lazy.var)) == (type(obs), type(var))
    assert list(lazy.obs.columns) == list(obs.columns)
    assert "new" not in lazy.obs.columns
    write_slots(lazy, [fits])
    pd.testing.assert_frame_equal(lazy.obs.drop(columns="new"), adata.obs, check_like=True)
    assert isinstance(lazy.var, pd.DataFrame)


def test_a_value_that_does_not_fit_leaves_nothing_behind(furnished, contents):
    before = contents(furnished)
    with pytest.raises(ValueError):
        write_slots(furnished, [Slot("obs", "fits", np.arange(60)), Slot("obsm", "does not", np.ones((59, 2)))])
    assert contents(furnished) == before


# --- files ----------------------------------------------------------------------------------------------------------

TRICKY = [
    ("T/NK", "T|NK", "B"),
    ("CD4+/CD25 T Reg", "γδ T-Zellen, naïve", "細胞"),
    ("x" * 120, "a\\b", "new\nline"),
    ("1", "10", "2"),
    ("nan", "None", "Unknown "),
    ("_index", "B", "T"),
    ("", "B", "T"),
    (".", "..", "B"),
]
FORMATS = {"h5ad": (AnnData.write_h5ad, anndata.read_h5ad), "zarr": (AnnData.write_zarr, anndata.read_zarr)}


@pytest.mark.filterwarnings("ignore:Writing zarr v2 data will no longer be the default:UserWarning")
@pytest.mark.parametrize(
    ("form", "labels"),
    [
        *(("h5ad", labels) for labels in TRICKY),
        *(("zarr", labels) for labels in TRICKY[:2]),
    ],
)
def test_round_trip_through_a_file(adata, fast, tmp_path, form, labels):
    write, read = FORMATS[form]
    of_type = dict(zip(["type 0", "type 1", "type 2"], labels, strict=True))
    adata.obs["cell_type"] = adata.obs["cell_type"].map(of_type).astype(object)  # hidden ones become NaN
    adata.uns["cell_type_colors"] = ["#111111", "#222222", "#333333"]
    scbignn.tl.annotate(adata, "cell_type", config=fast)
    names = ["annotation", "gene_importance", "history", "homophily"]
    if "calibration" in adata.uns["scbignn"]:
        names += ["calibration", "risk_coverage"]
    expected = {name: getattr(get, name)(adata) for name in names}
    expected["probabilities"] = get.annotation(adata, probabilities=True)
    assert set(expected["probabilities"].columns) >= set(labels)

    write(adata, tmp_path / f"annotated.{form}")
    again = read(tmp_path / f"annotated.{form}")

    found = {name: getattr(get, name)(again) for name in names}
    found["probabilities"] = get.annotation(again, probabilities=True)
    for name, table in expected.items():
        pd.testing.assert_frame_equal(found[name], table, check_exact=True, check_categorical=True)
    np.testing.assert_array_equal(again.obsm["X_scbignn"], adata.obsm["X_scbignn"])
    for name in ("scbignn_proba", "scbignn_proba_q"):
        pd.testing.assert_frame_equal(again.obsm[name], adata.obsm[name], check_exact=True)
    for attribute in ("obsp", "varp"):
        for name, matrix in getattr(adata, attribute).items():
            other = getattr(again, attribute)[name]
            assert other.dtype == matrix.dtype == np.float32
            assert as_stored(sp.csr_matrix(other)) == as_stored(sp.csr_matrix(matrix))
    run = again.uns["scbignn"]
    assert run["params"] == adata.uns["scbignn"]["params"]
    assert run["expression"] == adata.uns["scbignn"]["expression"]
    assert list(run["labels"]) == list(adata.uns["scbignn"]["labels"])
    assert (run["mode"], run["version"]) == ("transductive", scbignn.__version__)


def test_a_file_that_was_read_can_be_annotated_again(adata, fast, tmp_path):
    scbignn.tl.annotate(adata, "cell_type", config=fast)
    adata.write_h5ad(tmp_path / "annotated.h5ad")
    again = anndata.read_h5ad(tmp_path / "annotated.h5ad")
    again.obs["scbignn"] = "stale"
    scbignn.tl.annotate(again, "cell_type", config=fast)
    pd.testing.assert_frame_equal(get.annotation(again), get.annotation(adata), check_exact=True)
