import doctest
import inspect
import logging
import re

import anndata
import numpy as np
import pandas as pd
import pytest
from anndata import AnnData

import scbignn
from scbignn.annotation import back_off, label_tree

NAMES = ["B/plasma", "CD4 T", "CD8 T", "NK"]
TREE = {"CD4 T": "T", "CD8 T": "T", "T": "T/NK", "NK": "T/NK"}
P = [
    [0.01, 0.95, 0.02, 0.02],  # a sure CD4 T cell
    [0.02, 0.50, 0.43, 0.05],  # T
    [0.05, 0.30, 0.25, 0.40],  # T or NK
    [0.52, 0.20, 0.18, 0.10],  # nothing
    [0.90, 0.04, 0.03, 0.03],  # B/plasma
    [0.02, 0.02, 0.02, 0.94],  # NK
]
FINE = ["CD4 T", "T", "T/NK", "Unknown", "B/plasma", "NK"]


@pytest.fixture
def run(contents):
    """What is read of a run: six cells, of which none is rejected."""
    p = np.array(P, dtype=np.float32)
    adata = AnnData(np.ones((6, 3), dtype=np.float32))
    adata.obs_names = [f"cell {number}" for number in range(6)]
    adata.obs["scbignn"] = pd.Categorical.from_codes(p.argmax(1), categories=NAMES)
    columns = [name.replace("/", "|") for name in NAMES]
    adata.obsm["scbignn_proba"] = pd.DataFrame(p, index=adata.obs_names, columns=columns)
    adata.uns["scbignn"] = {
        "labels": np.array(NAMES, dtype=object),
        "gene_importance": pd.DataFrame({"score": [1.0]}),
        "params": {"unlabeled_category": "to do"},
    }
    return adata


def label(adata, tree=TREE, *, key="scbignn_coarse", **arguments):
    assert scbignn.tl.back_off(adata, tree, **arguments) is None
    return adata.obs[key].tolist()


# --- labels ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "tree",
    [
        TREE,
        {**TREE, "T/NK": None, "B/plasma": None},
        {"T/NK": {"T": ["CD4 T", "CD8 T"], "NK": None}},
        {"T/NK": {"T": {"CD4 T": None, "CD8 T": ()}, "NK": {}}, "B/plasma": None},
        {**TREE, "Treg": "CD4 T"},  # finer than the run's
    ],
)
def test_one_tree_many_ways(run, tree):
    assert label(run, tree) == FINE


def test_same_as_on_arrays(run):
    for threshold in (0.3, 0.5, 0.8, 0.95):
        tree = label_tree({**TREE, "B/plasma": None})
        expected = back_off(np.array(P, dtype=np.float32), NAMES, tree, threshold)
        assert label(run, threshold=threshold) == expected.label.tolist()
        confidence = run.obs["scbignn_coarse_confidence"]
        np.testing.assert_array_equal(confidence, expected.probability)
        assert confidence.dtype == np.float32


def test_confidence(run):
    label(run)
    expected = [0.95, 0.93, 0.95, 0.52, 0.9, 0.94]
    np.testing.assert_allclose(run.obs["scbignn_coarse_confidence"], expected, rtol=1e-5)


def test_a_lower_threshold_is_finer(run):
    assert label(run, threshold=0.45) == ["CD4 T", "CD4 T", "T", "B/plasma", "B/plasma", "NK"]
    assert label(run, threshold=0.99) == ["T/NK"] * 1 + ["Unknown"] * 5


@pytest.fixture
def columns():
    """Cells with labels of three levels."""
    return pd.DataFrame(
        {
            "coarse": ["T/NK", "T/NK", "T/NK", "B/plasma", None, "Unknown"],
            "middle": ["T", "T", "NK", "to do", "T", "T"],
            "fine": ["CD4 T", "CD8 T", "NK", "B/plasma", "Unknown", "to do"],
        },
        index=[f"cell {number}" for number in range(6)],
    )


@pytest.mark.parametrize("kind", ["category", object])
def test_columns_of_its_own_or_of_a_reference(run, columns, kind):
    columns = columns.astype(kind)
    order = ["coarse", "middle", "fine"]
    reference = AnnData(np.ones((6, 1), dtype=np.float32), obs=columns)
    before = reference.obs.copy()
    assert label(run, order, reference=reference) == FINE
    pd.testing.assert_frame_equal(reference.obs, before)
    run.obs = run.obs.join(columns)
    assert label(run, tuple(order)) == FINE
    assert label(run, ["coarse", "fine"], key="two", key_added="two")[1] == "T/NK"


def test_columns_of_numbers(run):
    run.uns["scbignn"]["labels"] = np.array(["1", "2", "3", "4"], dtype=object)
    run.obs["scbignn"] = run.obs["scbignn"].cat.rename_categories(["1", "2", "3", "4"])
    run.obs["fine"] = [1.0, 2.0, 3.0, 4.0, np.nan, 2.0]
    run.obs["coarse"] = ["B", "T", "T", "NK", "B", "T"]
    assert label(run, ["coarse", "fine"])[:3] == ["2", "T", "Unknown"]


def test_rejected_cells_stay_unknown(run):
    run.obs["scbignn"] = run.obs["scbignn"].cat.add_categories("Unknown")
    run.obs.loc["cell 0", "scbignn"] = "Unknown"
    assert label(run) == ["Unknown", *FINE[1:]]
    assert run.obs["scbignn_coarse_confidence"].iloc[0] == pytest.approx(0.95)  # what it would have had


def test_after_a_run(annotated):
    p = np.sqrt(np.sqrt(annotated.obsm["scbignn_proba"].to_numpy()))  # less sure than they are
    p /= p.sum(1, keepdims=True)
    annotated.obsm["scbignn_proba"][:] = p
    threshold = float(np.median(p.max(1))) + 1e-4
    scbignn.tl.back_off(annotated, {"type 0": "early", "type 1": "early"}, threshold=threshold)
    sure = p.max(1) >= threshold
    early = ~sure & (p[:, :2].sum(1) >= threshold)
    found = annotated.obs["scbignn_coarse"]
    assert min(sure.sum(), early.sum()) > 10
    assert found[sure].tolist() == annotated.obs["scbignn"][sure].tolist()
    assert (found[early] == "early").all()
    assert (found[~sure & ~early] == "Unknown").all()


def test_after_a_prediction(adata, fast):
    query = adata.copy()
    scbignn.tl.predict(query, scbignn.tl.fit(adata, "cell_type", config=fast))
    assert set(label(query, {"type 0": "early", "type 1": "early"})) <= {
        "early",
        "type 0",
        "type 1",
        "type 2",
        "Unknown",
    }


# --- slots ----------------------------------------------------------------------------------------------------------


def test_the_slots_written_are_those_of_the_docstring(run, contents):
    before = contents(run)
    label(run)
    after = contents(run)
    assert {slot: after[slot] for slot in before} == before
    documented = re.findall(r"`adata\.(\w+)\['(\w+)'\]`", inspect.getdoc(scbignn.tl.back_off))
    assert set(after) - set(before) == set(documented)
    assert len(documented) == 3


def test_categories_are_those_that_occur(run):
    label(run)
    column = run.obs["scbignn_coarse"]
    assert column.cat.categories.tolist() == ["B/plasma", "CD4 T", "NK", "T", "T/NK", "Unknown"]
    assert not column.cat.ordered
    label(run, threshold=0.3)
    assert "Unknown" not in run.obs["scbignn_coarse"].cat.categories


def test_what_it_rests_on_is_recorded(run):
    label(run, threshold=0.7)
    found = run.uns["scbignn_coarse"]
    assert (found["key"], found["threshold"], found["version"]) == ("scbignn", 0.7, scbignn.__version__)
    expected = {**TREE, "T/NK": "", "B/plasma": ""}
    assert found["tree"]["parent"].to_dict() == expected


def test_what_is_written_can_be_read_from_a_file(run, tmp_path):
    label(run)
    run.write_h5ad(tmp_path / "run.h5ad")
    found = anndata.read_h5ad(tmp_path / "run.h5ad")
    pd.testing.assert_frame_equal(found.obs, run.obs, check_exact=True)
    assert (
        found.uns["scbignn_coarse"]["tree"]["parent"].to_dict() == run.uns["scbignn_coarse"]["tree"]["parent"].to_dict()
    )
    assert label(found) == FINE  # an earlier one is replaced


def test_other_keys(run):
    run.obs["mine"], run.obsm["mine_proba"], run.uns["mine"] = (
        run.obs.pop("scbignn"),
        run.obsm.pop("scbignn_proba"),
        run.uns.pop("scbignn"),
    )
    scbignn.tl.back_off(run, TREE, key="mine")
    assert run.obs["mine_coarse"].tolist() == FINE
    scbignn.tl.back_off(run, TREE, key="mine", key_added="level", threshold=0.5)
    scbignn.tl.back_off(run, TREE, key="mine", key_added="level")
    assert run.obs["level"].tolist() == FINE
    assert {"level_confidence", "mine_coarse_confidence"} <= set(run.obs)


def test_one_log_line(run, caplog):
    with caplog.at_level(logging.INFO, "scbignn"):
        label(run)
    (line,) = (record.getMessage() for record in caplog.records)
    assert "2 cells have a coarser label, 1 are unknown" in line
    assert "obs['scbignn_coarse_confidence']" in line


# --- errors ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"key": "other"}, KeyError, "holds no annotation"),
        ({"tree": "fine"}, TypeError, "Pass a dict"),
        ({"tree": {}}, TypeError, "Pass a dict"),
        ({"tree": {"CD4 T": 3}}, TypeError, "In a nested tree"),
        ({"tree": None}, TypeError, "Pass a dict"),
        ({"tree": ["fine"]}, ValueError, "two or more columns"),
        ({"tree": ["coarse", "finest"]}, KeyError, "obs has no column 'finest'.*'coarse', 'fine'"),
        ({"tree": ["coarse", "twice"]}, ValueError, "2 columns named 'twice'"),
        ({"tree": ["coarse", "fine"]}, ValueError, "'CD4 T' belongs to 'T' in 2 cells and to 'B' in 1"),
        ({"tree": {"CD4 T": "T", "T": "CD4 T"}}, ValueError, "circle"),
        ({"tree": {"T": ["CD4 T"], "B": ["CD4 T"]}}, ValueError, "below both 'T' and 'B'"),
        ({"tree": {"cd4": "T", "cd8": "T"}}, ValueError, "no label of the run is in the tree.*'CD4 T'.*'cd4'"),
        ({"tree": {"CD4 T": "Unknown"}}, ValueError, "a label is called 'Unknown'.*Rename it"),
        ({"reference": "atlas"}, TypeError, "reference is a str"),
        *(({"threshold": t}, ValueError, r"within \(0, 1\)") for t in (0, 1, -1, 80, "0.8", True, np.nan, None)),
        ({"key_added": "scbignn"}, ValueError, "would overwrite"),
        ({"key_added": "fine"}, ValueError, "would overwrite adata.obs\\['fine'\\]"),
        ({"key_added": "depth"}, ValueError, "would overwrite adata.obs\\['depth_confidence'\\]"),
        ({"key_added": "settings"}, ValueError, "would overwrite adata.uns\\['settings'\\]"),
        ({"key_added": "a/b"}, ValueError, "key_added='a/b'"),
        ({"key_added": ""}, ValueError, "key_added=''"),
    ],
)
def test_errors_leave_everything_as_it_was(run, contents, changes, error, message):
    run.obs["coarse"] = ["T", "T", "B", None, None, None]
    run.obs["fine"] = ["CD4 T", "CD4 T", "CD4 T", None, None, None]
    run.obs["depth_confidence"] = 1.0
    run.uns["settings"] = {"threshold": 1}
    if "twice" in str(changes):
        run.obs = pd.concat([run.obs, run.obs[["fine", "fine"]].set_axis(["twice", "twice"], axis=1)], axis=1)
        with pytest.raises(error, match=message):
            scbignn.tl.back_off(run, **changes)
        return
    before = contents(run)
    with pytest.raises(error, match=message):
        scbignn.tl.back_off(run, **({"tree": TREE} | changes))
    assert contents(run) == before


@pytest.mark.parametrize("slot", ["scbignn_coarse", "scbignn_coarse_confidence"])
def test_a_column_of_the_default_name_is_not_overwritten(run, contents, slot):
    run.obs[slot] = "mine"
    before = contents(run)
    with pytest.raises(ValueError, match="would overwrite.*Use another name"):
        scbignn.tl.back_off(run, TREE)
    assert contents(run) == before


def test_a_run_with_a_label_called_unknown(run):
    run.uns["scbignn"]["labels"] = np.array([*NAMES[:3], "Unknown"], dtype=object)
    with pytest.raises(ValueError, match="a label is called 'Unknown'"):
        scbignn.tl.back_off(run, {"CD4 T": "T"})


def test_no_anndata():
    with pytest.raises(TypeError, match="not an AnnData"):
        scbignn.tl.back_off(np.ones((3, 3)), TREE)


def test_an_interrupt_leaves_everything_as_it_was(run, contents, monkeypatch):
    def stop(*_, **__):
        raise KeyboardInterrupt

    label(run, threshold=0.5)
    before = contents(run)
    for place in ("write_slots", "back_off_cells"):
        monkeypatch.setattr(f"scbignn.tl._back_off.{place}", stop)
        with pytest.raises(KeyboardInterrupt):
            scbignn.tl.back_off(run, TREE)
    assert contents(run) == before


@pytest.mark.slow
def test_example_in_the_docstring():
    parser, runner = doctest.DocTestParser(), doctest.DocTestRunner()
    example = parser.get_doctest(inspect.getdoc(scbignn.tl.back_off), {}, "back_off", None, None)
    assert len(example.examples) > 2
    assert runner.run(example).failed == 0
