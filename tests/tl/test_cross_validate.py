import doctest
import inspect
import logging
import re

import anndata
import numpy as np
import pandas as pd
import pytest
from small import FAST

import scbignn
from scbignn import get

TABLES = ["folds", "per_label", "rounds", "gene_importance", "gene_attribution", "gene_stability"]


@pytest.fixture(scope="module")
def _validated():
    adata = scbignn.datasets.simulated(n_cells=90, n_genes=40, n_types=3, fold_change=8.0, rng=0)
    adata.obs["donor"] = pd.Categorical([f"d{number % 3 + 8}" for number in range(90)])
    adata.uns["cell_type_colors"] = ["#000000", "#111111", "#222222", "#333333"]
    scbignn.tl.cross_validate(adata, "cell_type", n_splits=3, config=FAST)
    return adata


@pytest.fixture
def validated(_validated):
    return _validated.copy()


def test_the_slots_written_are_those_of_the_docstring(furnished, contents):
    before = contents(furnished)
    furnished.uns["cell_type_colors"] = [f"#{number}{number}{number}" for number in range(4)]
    before = contents(furnished)
    assert scbignn.tl.cross_validate(furnished, "cell_type", n_splits=2, config=FAST) is None
    after = contents(furnished)
    assert {slot: after[slot] for slot in before} == before
    documented = re.findall(r"`adata\.(\w+)\['(\w+)'\]`", inspect.getdoc(scbignn.tl.cross_validate))
    assert set(after) - set(before) == set(documented)
    assert len(documented) == 5


def test_types_ranges_and_colours(validated):
    labelled = (validated.obs["cell_type"] != "Unknown").to_numpy()
    given, confidence, fold = (validated.obs[f"scbignn_cv{tail}"] for tail in ("", "_confidence", "_fold"))
    assert given.cat.categories.tolist() == ["type 0", "type 1", "type 2"]
    for column in (given, confidence, fold):
        np.testing.assert_array_equal(column.notna(), labelled)
    assert confidence.dtype == np.float32
    assert confidence[labelled].between(1 / 3, 1).all()
    assert fold.cat.categories.tolist() == ["0", "1", "2"]
    assert list(validated.uns["scbignn_cv_colors"]) == ["#111111", "#222222", "#333333"]


def test_folds_hold_each_label_evenly(validated):
    table = pd.crosstab(validated.obs["cell_type"], validated.obs["scbignn_cv_fold"])
    assert table.shape == (3, 3)
    assert np.ptp(table.to_numpy(), axis=1).max() <= 1


def test_scores_are_those_of_the_cells(validated):
    held_out = validated[validated.obs["scbignn_cv"].notna().to_numpy()].obs
    right = held_out["scbignn_cv"].astype(str) == held_out["cell_type"].astype(str)
    table = get.cross_validation(validated).set_index("fold")
    by_fold = right.groupby(held_out["scbignn_cv_fold"], observed=True).mean()
    np.testing.assert_allclose(table["accuracy"], by_fold[table.index])
    assert table["n_cells"].sum() == len(held_out) == 45
    per_label = get.cross_validation(validated, table="per_label")
    assert per_label["support"].tolist() == held_out["cell_type"].value_counts()[list(per_label.index)].tolist()


def test_batches_are_folds(validated):
    scbignn.tl.cross_validate(validated, "cell_type", batch_key="donor", config=FAST, key_added="by_donor")
    table = get.cross_validation(validated, key="by_donor")
    assert table["fold"].tolist() == ["d8", "d9", "d10"]
    known = (validated.obs["cell_type"] != "Unknown").to_numpy()
    np.testing.assert_array_equal(validated.obs["by_donor_fold"][known].astype(str), validated.obs["donor"][known])
    assert validated.uns["by_donor"]["params"]["batch_key"] == "donor"
    assert get.cross_validation(validated).equals(get.cross_validation(validated.copy()))


def test_batches_are_named_as_elsewhere_and_cells_without_a_label_need_none(adata):
    unlabelled = (adata.obs["cell_type"] == "Unknown").to_numpy()
    batch = pd.Series(np.arange(adata.n_obs) % 2 + 1.0, index=adata.obs_names)
    adata.obs["batch"] = batch.where(~unlabelled | (np.arange(adata.n_obs) % 4 < 2))
    scbignn.tl.cross_validate(adata, "cell_type", batch_key="batch", config=FAST)
    assert list(adata.uns["scbignn_cv"]["folds"]["fold"]) == ["1", "2"]


def test_a_labels_only_cell_is_not_held_out(adata):
    labels = adata.obs["cell_type"].astype(str)
    third = np.flatnonzero(labels == "type 2")
    labels.iloc[third[1:]] = "Unknown"
    adata.obs["cell_type"] = labels
    scbignn.tl.cross_validate(adata, "cell_type", n_splits=2, config=FAST)
    assert adata.obs["scbignn_cv"].iloc[third].isna().all()
    assert adata.obs["scbignn_cv"].notna().sum() == 20


def test_same_seed_same_bits_and_checkpoints_do_not_matter(validated, tmp_path):
    again = validated.copy()
    scbignn.tl.cross_validate(again, "cell_type", n_splits=3, config=FAST, checkpoint_dir=tmp_path / "run")
    for table in TABLES:
        one, other = (get.cross_validation(adata, table=table) for adata in (validated, again))
        pd.testing.assert_frame_equal(one, other, check_exact=True)
    pd.testing.assert_series_equal(again.obs["scbignn_cv_confidence"], validated.obs["scbignn_cv_confidence"])
    assert list(tmp_path.iterdir()) == []


@pytest.mark.filterwarnings("ignore:Writing zarr v2 data will no longer be the default:UserWarning")
@pytest.mark.parametrize("format_", ["h5ad", "zarr"])
def test_what_is_written_can_be_read_from_a_file(validated, tmp_path, format_):
    validated.obs["donor"] = validated.obs["donor"].astype(str).replace({"d8": "a/b"})
    scbignn.tl.cross_validate(validated, "cell_type", batch_key="donor", config=FAST)
    path = tmp_path / f"cells.{format_}"
    getattr(validated, f"write_{format_}")(path)
    found = getattr(anndata, f"read_{format_}")(path)
    for table in TABLES:
        one, other = (get.cross_validation(adata, table=table) for adata in (found, validated))
        pd.testing.assert_frame_equal(one, other, check_dtype=False, check_index_type=False, check_column_type=False)


def test_two_lines_at_the_start_and_one_at_the_end(adata, caplog):
    with caplog.at_level(logging.INFO, "scbignn"):
        scbignn.tl.cross_validate(adata, "cell_type", n_splits=2, config=FAST)
    memory, start, end = (record.getMessage() for record in caplog.records if record.name.startswith("scbignn"))
    assert memory.startswith("cross_validate: about ")
    assert start.startswith("cross_validate: 30 of 60 cells have one of 3 labels")
    for part in ("on the mean of 2 folds", "obs['scbignn_cv']", "obs['scbignn_cv_fold']", "uns['scbignn_cv']"):
        assert part in end
    assert "colors" not in end


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"labels_key": "kind"}, KeyError, "no column 'kind'"),
        ({"batch_key": "plate"}, KeyError, "no column 'plate'"),
        ({"batch_key": "same"}, ValueError, r"of one batch in adata.obs\['same'\].*n_splits=5"),
        ({"batch_key": "holes"}, ValueError, "30 labelled cells have no batch"),
        ({"batch_key": "barcode"}, ValueError, "holds 30 different values on 30 cells: names or measurements"),
        ({"batch_key": "truth"}, ValueError, "would|left to learn|label"),
        ({"n_splits": 1}, ValueError, "n_splits=1 must be an integer of at least 2"),
        ({"n_splits": 2.5}, ValueError, "n_splits=2.5"),
        ({"n_splits": True}, ValueError, "n_splits=True"),
        ({"n_splits": 31}, ValueError, "n_splits=31 folds cannot be made of 30 cells"),
        ({"layer": "counts"}, KeyError, "no 'counts'"),
        ({"config": "paper"}, TypeError, "config is a str"),
        ({"key_added": "a/b"}, ValueError, "key_added='a/b'"),
        ({"key_added": "taken"}, ValueError, "would overwrite"),
        ({"key_added": "scbignn"}, ValueError, "would overwrite"),
        ({"labels_key": "only"}, ValueError, "single label"),
        ({"checkpoint_dir": 3}, TypeError, "checkpoint_dir is 3"),
    ],
)
def test_errors_leave_everything_as_it_was(adata, contents, changes, error, message):
    adata.obs["taken_fold"], adata.obs["scbignn"] = 1.0, 1.0
    adata.obs["only"], adata.obs["same"], adata.obs["holes"] = "one", "one", np.nan
    adata.obs["barcode"] = adata.obs_names
    before = contents(adata)
    if changes.get("batch_key") == "truth":
        adata.obs["truth"] = np.where(adata.obs["truth"] == "type 0", "x", "y")
        adata.obs["cell_type"] = np.where(adata.obs["truth"] == "x", "type 0", "type 1")
        before = contents(adata)
    with pytest.raises(error, match=message):
        scbignn.tl.cross_validate(adata, **({"labels_key": "cell_type", "config": FAST} | changes))
    assert contents(adata) == before


def test_no_anndata():
    with pytest.raises(TypeError, match="not an AnnData"):
        scbignn.tl.cross_validate(np.ones((3, 3)), "cell_type")


@pytest.mark.parametrize("place", ["cross_validate_cells", "validation_tables", "write_slots"])
def test_an_interrupt_leaves_everything_as_it_was(validated, contents, monkeypatch, place):
    def stop(*_, **__):
        raise KeyboardInterrupt

    before = contents(validated)
    monkeypatch.setattr(f"scbignn.tl._cross_validate.{place}", stop)
    with pytest.raises(KeyboardInterrupt):
        scbignn.tl.cross_validate(validated, "cell_type", n_splits=2, config=FAST)
    assert contents(validated) == before


def test_results_are_refused_where_there_are_none(adata, validated):
    with pytest.raises(KeyError, match=r"holds no cross-validation. Run scbignn.tl.cross_validate"):
        get.cross_validation(adata)
    with pytest.raises(ValueError, match="table='scores' is unknown. Use one of 'folds'"):
        get.cross_validation(validated, table="scores")
    with pytest.raises(KeyError, match="holds no annotation"):
        get.annotation(validated, key="scbignn_cv")


@pytest.mark.parametrize("table", TABLES)
def test_tables_are_the_readers_own(validated, table):
    mine = get.cross_validation(validated, table=table)
    mine[mine.columns[-1]] = np.nan
    assert get.cross_validation(validated, table=table).iloc[:, -1].notna().any()


@pytest.mark.slow
def test_example_in_the_docstring():
    parser, runner = doctest.DocTestParser(), doctest.DocTestRunner()
    example = parser.get_doctest(inspect.getdoc(scbignn.tl.cross_validate), {}, "cross_validate", None, None)
    assert len(example.examples) > 2
    assert runner.run(example).failed == 0
