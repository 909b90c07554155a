import numpy as np
import pandas as pd
import pytest

from scbignn import get


@pytest.fixture
def audited(adata):
    """An audit by hand: of sixty cells half are labelled, and one of these was not audited."""
    names = ["type 0", "type 1", "type 2"]
    labelled = (adata.obs["cell_type"] != "Unknown").to_numpy(copy=True)
    labelled[np.flatnonzero(labelled)[4]] = False
    rng = np.random.default_rng(0)
    wrong = np.where(labelled, rng.random(60).round(1), np.nan).astype(np.float32)
    suggested = np.where(labelled, rng.integers(3, size=60), -1)
    adata.obs["scbignn_audit_wrong"] = wrong
    adata.obs["scbignn_audit_suggested"] = pd.Categorical.from_codes(suggested, categories=names)
    per_label = pd.DataFrame(
        {
            "n_cells": [10, 10, 9],
            "expected_wrong": [1.0, 3.5, 1.0],
            "suggested_instead": ["type 1", "type 0", "type 0"],
        },
        index=pd.Index(names, name="label"),
    )
    adata.uns["scbignn_audit"] = {"labels_key": "cell_type", "noise_rate": 0.1, "per_label": per_label}
    return adata


def test_most_suspicious_first_and_only_audited_cells(audited):
    table = get.audit(audited)
    assert table.columns.tolist() == ["given", "suggested", "wrong"]
    assert [str(dtype) for dtype in table.dtypes] == ["object", "category", "float32"]
    assert len(table) == 29
    assert table["wrong"].is_monotonic_decreasing
    for name in ("cell_type", "scbignn_audit_suggested", "scbignn_audit_wrong"):
        column = {"cell_type": "given"}.get(name, name.removeprefix("scbignn_audit_"))
        assert table[column].tolist() == audited.obs[name][table.index].tolist()


def test_cells_of_equal_suspicion_stay_in_order(audited):
    table = get.audit(audited)
    place = audited.obs_names.get_indexer(table.index)
    for _, same in pd.Series(place).groupby(table["wrong"].to_numpy()):
        assert same.is_monotonic_increasing
    assert table["wrong"].duplicated().any()


@pytest.mark.parametrize("n_cells", [0, 5, 1000])
def test_the_first_so_many(audited, n_cells):
    pd.testing.assert_frame_equal(get.audit(audited, n_cells=n_cells), get.audit(audited).iloc[:n_cells])


def test_a_row_a_label_most_expected_wrong_first(audited):
    table = get.audit(audited, per_label=True)
    assert table.index.tolist() == ["type 1", "type 0", "type 2"]
    assert table.index.name == "label"
    assert table.columns.tolist() == ["n_cells", "expected_wrong", "suggested_instead"]


def test_given_is_the_label_as_it_now_stands(audited):
    first = get.audit(audited).index[0]
    audited.obs["cell_type"] = audited.obs["cell_type"].astype(str)
    audited.obs.loc[first, "cell_type"] = "corrected"
    table = get.audit(audited)
    assert (table.index[0], table["given"].iloc[0]) == (first, "corrected")


def test_another_key(audited):
    audited.uns["other"] = audited.uns["scbignn_audit"]
    for name in ("wrong", "suggested"):
        audited.obs[f"other_{name}"] = audited.obs.pop(f"scbignn_audit_{name}")
    assert len(get.audit(audited, key="other")) == 29


def test_a_subset_of_the_cells(audited):
    pd.testing.assert_frame_equal(
        get.audit(audited[::2]), get.audit(audited)[lambda t: t.index.isin(audited.obs_names[::2])]
    )


def test_the_audit_is_left_alone(audited, contents):
    before = contents(audited)
    get.audit(audited)["wrong"] = 0
    get.audit(audited, per_label=True)["n_cells"] = 0
    assert contents(audited) == before


def test_errors(adata, annotated, audited):
    for data, key in ((annotated, "scbignn_audit"), (annotated, "scbignn"), (audited, "other")):
        with pytest.raises(KeyError, match="holds no audit.*scbignn.tl.audit_labels"):
            get.audit(data, key=key)
    del audited.obs["cell_type"]
    with pytest.raises(KeyError, match="no column 'cell_type', whose labels were audited"):
        get.audit(audited)
    assert len(get.audit(audited, per_label=True)) == 3
