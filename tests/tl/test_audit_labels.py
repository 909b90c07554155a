import doctest
import inspect
import logging
import re

import anndata
import numpy as np
import pandas as pd
import pytest
from small import FAST, SIZES, SMALL

import scbignn
from scbignn import get
from scbignn.annotation import Config

OBS = ["scbignn_audit_wrong", "scbignn_audit_suggested"]


@pytest.fixture(scope="module")
def planted():
    """Clear types, and among the labelled cells one in twenty with the label of another type."""
    adata = scbignn.datasets.simulated(n_cells=400, n_genes=80, n_types=4, fold_change=8.0, rng=0)
    rng = np.random.default_rng(0)
    given = adata.obs["cell_type"].astype(str).to_numpy()
    labelled = np.flatnonzero(given != "Unknown")
    wrong = rng.choice(labelled, len(labelled) // 20, replace=False)
    given[wrong] = [f"type {(int(label[-1]) + rng.integers(1, 4)) % 4}" for label in given[wrong]]
    adata.obs["given"] = pd.Categorical(given)
    adata.uns["planted"] = adata.obs_names[np.sort(wrong)].tolist()
    return adata


@pytest.fixture(scope="module")
def _audited(planted):
    adata = planted.copy()
    scbignn.tl.audit_labels(adata, "given", config=SMALL)
    return adata


@pytest.fixture
def audited(_audited):
    return _audited.copy()


# --- what is found --------------------------------------------------------------------------------------------------


def test_planted_errors_come_first_and_are_corrected(audited):
    planted = audited.uns["planted"]
    top = get.audit(audited, n_cells=len(planted))
    assert len(planted) == 10
    assert np.isin(top.index, planted).mean() >= 0.9
    found = audited[top.index[np.isin(top.index, planted)]].obs
    assert (found["scbignn_audit_suggested"].astype(str) == found["truth"].astype(str)).mean() >= 0.9
    assert top["wrong"].median() > 0.5
    rest = audited.obs.drop(index=planted)["scbignn_audit_wrong"].dropna()
    assert np.mean(rest > 0.5) < 0.02


def test_rate_of_errors(audited):
    assert audited.uns["scbignn_audit"]["noise_rate"] == pytest.approx(0.05, abs=0.03)


def test_labels_that_are_right_are_hardly_suspected():
    adata = scbignn.datasets.simulated(n_cells=300, n_genes=80, n_types=3, fold_change=8.0, rng=1)
    scbignn.tl.audit_labels(adata, "cell_type", config=SMALL)
    assert adata.uns["scbignn_audit"]["noise_rate"] < 0.02
    assert np.nanmean(adata.obs["scbignn_audit_wrong"] > 0.5) < 0.02


def test_every_cell_may_be_labelled():
    adata = scbignn.datasets.simulated(n_cells=90, n_genes=40, n_types=3, rng=0)
    scbignn.tl.audit_labels(adata, "truth", config=FAST)
    assert adata.obs[OBS].notna().all(axis=None)
    assert len(get.audit(adata)) == 90


@pytest.mark.parametrize("changes", [{"anchor": False, "cell_input": "genes", "graph_from": "h"}, {"n_rounds": 1}])
def test_other_configs(changes):
    adata = scbignn.datasets.simulated(n_cells=60, n_genes=40, n_types=3, rng=0)
    config = Config(**SIZES | {"m_step_updates": 2}, **changes, cross_fit_folds=2)
    scbignn.tl.audit_labels(adata, "cell_type", config=config)
    assert adata.obs["scbignn_audit_wrong"].notna().sum() == 30


# --- slots ----------------------------------------------------------------------------------------------------------


def test_the_slots_written_are_those_of_the_docstring(furnished, contents):
    before = contents(furnished)
    assert scbignn.tl.audit_labels(furnished, "cell_type", config=FAST) is None
    after = contents(furnished)
    assert {slot: after[slot] for slot in before} == before
    documented = re.findall(r"`adata\.(\w+)\['(\w+)'\]`", inspect.getdoc(scbignn.tl.audit_labels))
    assert set(after) - set(before) == set(documented)
    assert len(documented) == 3


def test_types_and_ranges(audited):
    wrong, suggested = (audited.obs[name] for name in OBS)
    assert wrong.dtype == np.float32
    assert suggested.cat.categories.tolist() == [f"type {number}" for number in range(4)]
    labelled = (audited.obs["given"] != "Unknown").to_numpy()
    np.testing.assert_array_equal(wrong.notna(), labelled)
    np.testing.assert_array_equal(suggested.notna(), labelled)
    assert wrong[labelled].between(0, 1).all()
    assert (suggested[labelled].astype(str) != audited.obs["given"][labelled].astype(str)).all()
    found = audited.uns["scbignn_audit"]
    assert set(found) == {"labels_key", "noise_rate", "per_label", "seed", "version"}
    assert (found["labels_key"], found["version"]) == ("given", scbignn.__version__)


def test_table_by_label(audited):
    table = get.audit(audited, per_label=True)
    cells = get.audit(audited)
    assert sorted(table.index) == [f"type {number}" for number in range(4)]
    for label, row in table.iterrows():
        mine = cells[cells["given"] == label]
        assert row["n_cells"] == len(mine)
        assert row["expected_wrong"] == pytest.approx(mine["wrong"].sum(), rel=1e-5)
        assert row["suggested_instead"] == mine.groupby("suggested", observed=True)["wrong"].sum().idxmax()


def test_a_labels_only_cell_is_not_audited():
    adata = scbignn.datasets.simulated(n_cells=60, n_genes=40, n_types=3, rng=0)
    labels = adata.obs["cell_type"].astype(str)
    third = np.flatnonzero(labels == "type 2")
    labels.iloc[third[1:]] = "Unknown"
    adata.obs["cell_type"] = labels
    scbignn.tl.audit_labels(adata, "cell_type", config=FAST)
    assert adata.obs[OBS].iloc[third].isna().all(axis=None)
    assert adata.obs["scbignn_audit_wrong"].notna().sum() == 20
    row = get.audit(adata, per_label=True).loc["type 2"]
    assert (row["n_cells"], row["expected_wrong"], row["suggested_instead"]) == (0, 0, "")


def test_same_seed_same_bits(audited, planted):
    other = planted.copy()
    scbignn.tl.audit_labels(other, "given", config=SMALL)
    pd.testing.assert_frame_equal(get.audit(other), get.audit(audited), check_exact=True)


def test_an_earlier_audit_is_replaced_and_another_key_stands_beside_it(audited, contents):
    scbignn.tl.audit_labels(audited, "truth", config=FAST)
    assert audited.uns["scbignn_audit"]["labels_key"] == "truth"
    before = contents(audited)
    scbignn.tl.audit_labels(audited, "given", config=FAST, key_added="mine")
    after = contents(audited)
    assert before.pop(("obs columns", "")) == after["obs columns", ""][: -len(OBS)]
    assert {slot: after[slot] for slot in before} == before
    assert len(get.audit(audited, key="mine")) == 200


def test_what_is_written_can_be_read_from_a_file(audited, tmp_path):
    audited.obs["given"] = audited.obs["given"].astype(str).replace({"type 1": "T/NK"})
    scbignn.tl.audit_labels(audited, "given", config=FAST)
    audited.write_h5ad(tmp_path / "audit.h5ad")
    found = anndata.read_h5ad(tmp_path / "audit.h5ad")
    pd.testing.assert_frame_equal(get.audit(found), get.audit(audited), check_exact=True)
    one, other = (get.audit(adata, per_label=True) for adata in (found, audited))
    assert "T/NK" in one.index
    pd.testing.assert_frame_equal(one, other, check_exact=True, check_dtype=False, check_index_type=False)
    for name in ("labels_key", "noise_rate", "seed", "version"):
        assert found.uns["scbignn_audit"][name] == audited.uns["scbignn_audit"][name]


def test_two_lines_at_the_start_and_one_at_the_end(adata, caplog):
    with caplog.at_level(logging.INFO, "scbignn"):
        scbignn.tl.audit_labels(adata, "cell_type", config=FAST)
    memory, start, end = (record.getMessage() for record in caplog.records if record.name.startswith("scbignn"))
    assert memory.startswith("audit_labels: about ")
    assert start.startswith("audit_labels: 30 of 60 cells have one of 3 labels")
    for part in ("% of labels are wrong", *(f"obs['{name}']" for name in OBS), "uns['scbignn_audit']"):
        assert part in end


# --- errors and interrupts ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"labels_key": "kind"}, KeyError, "no column 'kind'"),
        ({"layer": "counts"}, KeyError, "no 'counts'"),
        ({"config": "paper"}, TypeError, "config is a str"),
        ({"config": Config.paper()}, ValueError, "cross_fit_folds=0 leaves nothing to audit by.*cross_fit_folds=3"),
        ({"key_added": "a/b"}, ValueError, "key_added='a/b'"),
        ({"key_added": "taken"}, ValueError, "would overwrite"),
        ({"key_added": "scbignn"}, ValueError, "would overwrite"),
        ({"labels_key": "only"}, ValueError, "single label"),
        ({"labels_key": "none"}, ValueError, "no cell has a label"),
        ({"device": "toaster"}, ValueError, "toaster"),
    ],
)
def test_errors_leave_everything_as_it_was(annotated, contents, changes, error, message):
    annotated.obs["taken_wrong"] = 1.0
    annotated.obs["only"], annotated.obs["none"] = "one", "Unknown"
    before = contents(annotated)
    with pytest.raises(error, match=message):
        scbignn.tl.audit_labels(annotated, **({"labels_key": "cell_type", "config": FAST} | changes))
    assert contents(annotated) == before


def test_no_anndata():
    with pytest.raises(TypeError, match="not an AnnData"):
        scbignn.tl.audit_labels(np.ones((3, 3)), "cell_type")


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_no_label_has_two_cells(adata, contents):
    labels = adata.obs["cell_type"].astype(str)
    adata.obs["cell_type"] = labels.where(~labels.duplicated(), "Unknown")
    before = contents(adata)
    with pytest.raises(ValueError, match=r"no label in adata.obs\['cell_type'\] has two cells.*Label more cells"):
        scbignn.tl.audit_labels(adata, "cell_type", config=FAST)
    assert contents(adata) == before


@pytest.mark.parametrize(
    "place",
    [
        "scbignn.annotation._cross_fit.fit",
        "scbignn.tl._audit_labels.audit_cells",
        "scbignn.tl._audit_labels.audit_table",
        "scbignn.tl._audit_labels.write_slots",
    ],
)
def test_an_interrupt_leaves_everything_as_it_was(audited, contents, monkeypatch, place):
    def stop(*_, **__):
        raise KeyboardInterrupt

    before = contents(audited)
    monkeypatch.setattr(place, stop)
    with pytest.raises(KeyboardInterrupt):
        scbignn.tl.audit_labels(audited, "truth", config=FAST)
    assert contents(audited) == before


@pytest.mark.slow
def test_example_in_the_docstring():
    parser, runner = doctest.DocTestParser(), doctest.DocTestRunner()
    example = parser.get_doctest(inspect.getdoc(scbignn.tl.audit_labels), {}, "audit_labels", None, None)
    assert len(example.examples) > 2
    assert runner.run(example).failed == 0
