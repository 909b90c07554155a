import dataclasses
import re

import anndata
import numpy as np
import pandas as pd
import pytest
from small import FAST, SIZES, SMALL

import scbignn
from scbignn import get
from scbignn.annotation import Calibration, Config, _annotate, _cross_fit, fit

PALETTE = ["#000000", "#111111", "#222222", "#333333"]


def data(n_cells=320, fold_change=8.0):
    """Four types; the last is nowhere labelled, and another is called "T/NK" where it is."""
    adata = scbignn.datasets.simulated(n_cells=n_cells, n_genes=80, n_types=4, fold_change=fold_change)
    novel = (adata.obs["truth"] == "type 3").to_numpy()
    labels = adata.obs["cell_type"].astype(str).where(~novel, "Unknown")
    adata.obs["shown"] = pd.Categorical(labels.replace({"type 1": "T/NK"}))
    adata.uns["shown_colors"] = PALETTE
    return adata


def is_novel(adata):
    return (adata.obs["truth"] == "type 3").to_numpy()


def assert_novel_cells_are_rejected(adata, known_share=0.15):
    unknown = (adata.obs["scbignn"] == "Unknown").to_numpy()
    assert unknown[is_novel(adata)].mean() > 0.8
    assert unknown[~is_novel(adata)].mean() < known_share


@pytest.fixture(scope="module")
def _rejected():
    adata = data()
    scbignn.tl.annotate(adata, "shown", config=SMALL, false_rejection_rate=0.1)
    return adata


@pytest.fixture
def rejected(_rejected):
    """A run that rejects."""
    return _rejected.copy()


@pytest.fixture(scope="module")
def model():
    """Learned from half of the cells, none of them novel."""
    adata = data(640, fold_change=20.0)[:320]
    return scbignn.tl.fit(adata[~is_novel(adata)], "shown", config=SMALL)


@pytest.fixture
def query():
    """The other half."""
    return data(640, fold_change=20.0)[320:].copy()


# --- what is rejected -----------------------------------------------------------------------------------------------


def test_a_type_that_nobody_labelled_is_unknown_and_few_others_are(rejected):
    assert_novel_cells_are_rejected(rejected)
    right = rejected.obs["scbignn"].astype(str).replace({"T/NK": "type 1"}) == rejected.obs["truth"].astype(str)
    assert right[~is_novel(rejected)].mean() > 0.8


@pytest.mark.parametrize("mode", ["transductive", "inductive"])
def test_in_a_query(model, query, mode):
    scbignn.tl.predict(query, model, mode=mode, false_rejection_rate=0.1)
    assert_novel_cells_are_rejected(query)
    assert query.obs["scbignn"].cat.categories.tolist() == ["T/NK", "type 0", "type 2", "Unknown"]
    assert query.uns["scbignn"]["rejection"]["n_rejected"] == (query.obs["scbignn"] == "Unknown").sum()
    assert query.uns["scbignn_colors"][-1] == "#bbbbbb"


def test_from_a_reference_is_fit_and_predict(model):
    whole = data()
    reference, query, other = whole[~is_novel(whole)].copy(), whole.copy(), whole.copy()
    scbignn.tl.annotate(query, "shown", reference=reference, config=FAST, false_rejection_rate=0.1)
    rng = np.random.default_rng(0)
    scbignn.tl.predict(
        other, scbignn.tl.fit(reference, "shown", config=FAST, rng=rng), false_rejection_rate=0.1, rng=rng
    )
    pd.testing.assert_frame_equal(get.annotation(query), get.annotation(other), check_exact=True)
    thresholds = (run.uns["scbignn"]["rejection"]["thresholds"] for run in (query, other))
    pd.testing.assert_frame_equal(*thresholds, check_exact=True)


def test_rejection_changes_nothing_but_the_label(rejected):
    plain = data()
    scbignn.tl.annotate(plain, "shown", config=SMALL)
    one, other = (get.annotation(run, probabilities=True) for run in (rejected, plain))
    pd.testing.assert_frame_equal(one.drop(columns="label"), other.drop(columns="label"), check_exact=True)
    kept = one["label"] != "Unknown"
    assert one["label"][kept].tolist() == other["label"][kept].tolist()
    assert one["best_guess"].tolist() == other["label"].tolist()
    assert other["label"].cat.categories.tolist() == ["T/NK", "type 0", "type 2"]
    assert "rejection" not in plain.uns["scbignn"]
    assert plain.uns["scbignn_colors"] == ["#000000", "#222222", "#333333"]


def test_cells_above_the_threshold_of_their_best_guess(rejected):
    table = get.annotation(rejected)
    thresholds = rejected.uns["scbignn"]["rejection"]["thresholds"]["threshold"]
    above = table["novelty"].to_numpy() > thresholds[table["best_guess"]].to_numpy()
    np.testing.assert_array_equal(above, table["label"] == "Unknown")


def test_a_higher_rate_rejects_more(query, model):
    fewer = []
    for rate in (0.02, 0.1, 0.4):
        scbignn.tl.predict(query, model, mode="inductive", false_rejection_rate=rate)
        fewer.append(set(query.obs_names[query.obs["scbignn"] == "Unknown"]))
    assert fewer[0] <= fewer[1] < fewer[2]


# --- slots ----------------------------------------------------------------------------------------------------------


def test_slots_of_a_rejection(rejected):
    assert rejected.obs["scbignn"].cat.categories.tolist() == ["T/NK", "type 0", "type 2", "Unknown"]
    assert not rejected.obs["scbignn"].cat.ordered
    assert rejected.uns["scbignn_colors"] == ["#000000", "#222222", "#333333", "#bbbbbb"]
    assert rejected.obs["scbignn_novelty"].dtype == np.float32
    assert rejected.obs["scbignn_novelty"].notna().all()
    found = rejected.uns["scbignn"]["rejection"]
    assert set(found) == {"false_rejection_rate", "n_rejected", "thresholds"}
    assert found["false_rejection_rate"] == 0.1
    assert found["n_rejected"] == (rejected.obs["scbignn"] == "Unknown").sum()
    table = found["thresholds"]
    assert table.index.tolist() == ["T/NK", "type 0", "type 2"]
    assert table.columns.tolist() == ["threshold", "n_cells", "pooled"]
    assert table["n_cells"].sum() == (rejected.obs["shown"] != "Unknown").sum()
    assert not table["pooled"].any()


def test_unknown_is_a_category_even_where_no_cell_is():
    adata = data()
    adata = adata[~is_novel(adata)].copy()
    scbignn.tl.annotate(adata, "shown", config=FAST, false_rejection_rate=0.001)  # far too few cells to promise that
    assert adata.obs["scbignn"].cat.categories.tolist()[-1] == "Unknown"
    assert (adata.obs["scbignn"] != "Unknown").all()
    assert np.isinf(adata.uns["scbignn"]["rejection"]["thresholds"]["threshold"]).all()
    assert adata.uns["scbignn"]["rejection"]["n_rejected"] == 0


def test_auto_is_one_in_twenty():
    adata = data(120)
    scbignn.tl.annotate(adata, "shown", config=FAST, reject="auto")
    assert adata.uns["scbignn"]["rejection"]["false_rejection_rate"] == 0.05


def test_a_rate_wins_over_auto():
    adata = data(120)
    scbignn.tl.annotate(adata, "shown", config=FAST, reject="auto", false_rejection_rate=0.2)
    assert adata.uns["scbignn"]["rejection"]["false_rejection_rate"] == 0.2


def test_slots_of_the_calibration(rejected):
    found = rejected.uns["scbignn"]["calibration"]
    assert found["n_cells"] == (rejected.obs["shown"] != "Unknown").sum()
    assert found["held_out"] == "folds"
    table = get.calibration(rejected)
    assert table.attrs["ece"] == {"before": found["ece_before"], "after": found["ece_after"]}
    assert get.risk_coverage(rejected)["coverage"].iloc[-1] == 1


def test_what_is_written_can_be_read_from_a_file(rejected, contents, tmp_path):
    rejected.write_h5ad(tmp_path / "run.h5ad")
    found = anndata.read_h5ad(tmp_path / "run.h5ad")
    run, read = rejected.uns["scbignn"], found.uns["scbignn"]
    for table in (lambda run: run["rejection"]["thresholds"], lambda run: run["calibration"]["map"]):
        pd.testing.assert_frame_equal(table(read), table(run), check_exact=True, check_index_type=False)
    for name in ("false_rejection_rate", "n_rejected"):
        assert read["rejection"][name] == run["rejection"][name]
    pd.testing.assert_frame_equal(get.annotation(found), get.annotation(rejected), check_exact=True)
    pd.testing.assert_frame_equal(get.calibration(found), get.calibration(rejected), check_exact=True)
    assert list(found.uns["scbignn_colors"]) == rejected.uns["scbignn_colors"]


def test_a_later_run_leaves_nothing_of_an_earlier_one(rejected):
    scbignn.tl.annotate(rejected, "shown", config=Config.paper(**SIZES, n_rounds=0))
    assert "scbignn_novelty" not in rejected.obs
    assert not {"rejection", "calibration"} & set(rejected.uns["scbignn"])
    assert rejected.obs["scbignn"].cat.categories.tolist() == ["T/NK", "type 0", "type 2"]
    with pytest.raises(KeyError, match="holds no calibration"):
        get.calibration(rejected)


# --- calibrated probabilities ---------------------------------------------------------------------------------------


def test_confidence_is_the_largest_calibrated_probability(monkeypatch):
    raw, apply = [], Calibration.apply

    def seen(self, p):
        raw.append((self, p))
        return apply(self, p)

    monkeypatch.setattr(Calibration, "apply", seen)
    adata = data(120)
    scbignn.tl.annotate(adata, "shown", config=FAST)
    calibration, p = raw[-1]
    table = adata.obsm["scbignn_proba"].to_numpy()
    assert len(p) == adata.n_obs
    np.testing.assert_array_equal(table, calibration.apply(p))
    assert (table != p).any()
    np.testing.assert_array_equal(adata.obs["scbignn_confidence"], table.max(1))
    assert adata.obs["scbignn"].tolist() == [["T/NK", "type 0", "type 2"][code] for code in p.argmax(1)]
    assert adata.uns["scbignn"]["calibration"]["temperature"] == calibration.temperature


def test_probabilities_that_are_too_sure_are_set_right(monkeypatch):
    """p of the same order, sharpened far beyond what it knows: of cells whose types are hard to tell."""

    def sharp(p):
        p = np.maximum(p.astype(np.float64), 1e-9) ** 6
        return (p / p.sum(1, keepdims=True)).astype(np.float32)

    def with_sharp(found):
        return dataclasses.replace(found, p=sharp(found.p))

    for module in (_cross_fit, _annotate):
        monkeypatch.setattr(module, "fit", lambda *given, **named: with_sharp(fit(*given, **named)))
    adata = scbignn.datasets.simulated(n_cells=600, n_genes=80, n_types=3, fold_change=1.5, labeled=0.7, rng=0)
    scbignn.tl.annotate(adata, "cell_type", config=FAST)
    found = adata.uns["scbignn"]["calibration"]
    assert found["temperature"] > 1.5
    assert found["ece_before"] > 0.15
    assert found["ece_after"] < found["ece_before"] / 2
    hidden = (adata.obs["cell_type"] == "Unknown").to_numpy()
    right = (adata.obs["scbignn"].astype(str) == adata.obs["truth"].astype(str))[hidden].mean()
    raw_gap = 1 - right  # sharpened, p is nearly always sure
    assert abs(adata.obs["scbignn_confidence"][hidden].mean() - right) < raw_gap / 2


@pytest.mark.parametrize(
    "config",
    [
        Config.paper(**SIZES, n_rounds=0),
        Config(**SIZES, cross_fit_folds=0),
    ],
    ids=["paper", "without folds"],
)
def test_without_cross_fitting_nothing_is_calibrated(config):
    adata = data(120)
    adata.obs["shown"] = adata.obs["shown"].astype(str)
    scbignn.tl.annotate(adata, "shown", config=config)
    model = scbignn.tl.fit(adata, "shown", config=config)
    query = data(80)
    scbignn.tl.predict(query, model)
    assert model.trust is None
    for run in (adata, query):
        assert not {"calibration", "rejection"} & set(run.uns["scbignn"])
        assert "scbignn_novelty" not in run.obs
        assert "novelty" not in get.annotation(run)


# --- a model on disk ------------------------------------------------------------------------------------------------


def test_a_model_keeps_its_thresholds_bit_for_bit(model, query, tmp_path):
    model.save(tmp_path / "model")
    read = scbignn.read_model(tmp_path / "model")
    assert read.trust.calibration == model.trust.calibration
    for rate in (0.05, 0.1, "auto"):
        assert read.trust.thresholds(rate) == model.trust.thresholds(rate)
    for name in ("novelty", "predicted"):
        one, other = getattr(read.trust, name), getattr(model.trust, name)
        assert one.dtype == other.dtype
        np.testing.assert_array_equal(one, other)
    for name, array in vars(model.trust.shapes).items():
        np.testing.assert_array_equal(getattr(read.trust.shapes, name), array)
        assert getattr(read.trust.shapes, name).dtype == array.dtype
    one, other = query, query.copy()
    for target, from_ in ((one, model), (other, read)):
        scbignn.tl.predict(target, from_, mode="inductive", reject="auto")
    pd.testing.assert_frame_equal(get.annotation(one), get.annotation(other), check_exact=True)


# --- errors ---------------------------------------------------------------------------------------------------------

ARGUMENTS = [
    ({"reject": True}, 'reject=True is unknown.*reject="auto"'),
    ({"reject": False}, "reject=False is unknown"),
    ({"reject": "yes"}, "reject='yes' is unknown"),
    ({"reject": ["auto"]}, "is unknown"),
    ({"reject": 0.05}, "reject=0.05 is unknown.*false_rejection_rate=0.05"),
    *(
        (
            {"false_rejection_rate": rate},
            rf"false_rejection_rate={re.escape(repr(rate))} must be a number within \(0, 1\)",
        )
        for rate in (0, 1, 5, -0.1, "0.05", True, float("nan"))
    ),
]


@pytest.fixture
def untrained(monkeypatch):
    """Nothing is trained before an error is raised."""
    monkeypatch.setattr("scbignn.tl._learn.annotate_cells", None)


@pytest.mark.usefixtures("untrained")
@pytest.mark.parametrize(("arguments", "message"), ARGUMENTS)
def test_arguments_that_ask_for_nothing(arguments, message, contents):
    adata = data(60)
    before = contents(adata)
    with pytest.raises(ValueError, match=message):
        scbignn.tl.annotate(adata, "shown", config=FAST, **arguments)
    with pytest.raises(ValueError, match=message):
        scbignn.tl.annotate(adata, "shown", reference=data(60), config=FAST, **arguments)
    assert contents(adata) == before


@pytest.mark.parametrize(("arguments", "message"), ARGUMENTS[:3] + ARGUMENTS[-3:])
def test_arguments_of_predict(arguments, message, model, contents):
    query = data(60)
    before = contents(query)
    with pytest.raises(ValueError, match=message):
        scbignn.tl.predict(query, model, **arguments)
    assert contents(query) == before


@pytest.mark.usefixtures("untrained")
def test_a_label_may_not_be_called_unknown(contents):
    adata = data(60)
    adata.obs["shown"] = adata.obs["shown"].astype(str).replace({"type 0": None, "Unknown": "Unknown"})
    before = contents(adata)
    with pytest.raises(ValueError, match="a label is called 'Unknown'.*Rename it"):
        scbignn.tl.annotate(adata, "shown", unlabeled_category="none", config=FAST, reject="auto")
    assert contents(adata) == before


@pytest.mark.usefixtures("untrained")
@pytest.mark.parametrize(
    ("config", "message"),
    [
        (Config(**SIZES, cross_fit_folds=0), r"cross_fit_folds=0.*Config\(cross_fit_folds=3"),
        (
            Config(**SIZES, anchor=False, cell_input="genes", graph_from="h"),
            r"no components.*Config\(cross_fit_folds=3, anchor=True\)",
        ),
        (Config.paper(**SIZES), "cross_fit_folds=0.*and anchor=False"),
    ],
)
def test_a_config_that_cannot_tell(config, message, contents):
    adata = data(60)
    before = contents(adata)
    for arguments in ({}, {"reference": data(60)}):
        with pytest.raises(ValueError, match=message):
            scbignn.tl.annotate(adata, "shown", config=config, false_rejection_rate=0.1, **arguments)
    assert contents(adata) == before


@pytest.mark.parametrize(
    "changes", [{"cross_fit_folds": 0}, {"anchor": False, "cell_input": "genes", "graph_from": "h"}]
)
def test_a_model_that_cannot_tell(changes, contents):
    model, query = scbignn.tl.fit(data(60), "shown", config=Config(**SIZES, **changes)), data(60)
    before = contents(query)
    with pytest.raises(ValueError, match="nothing can be rejected with this config"):
        scbignn.tl.predict(query, model, reject="auto")
    assert contents(query) == before


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_no_label_has_two_cells(contents, monkeypatch, caplog):
    adata = data(60)
    labels = adata.obs["shown"].astype(str)
    adata.obs["shown"] = labels.where(~labels.duplicated(), "Unknown")
    before = contents(adata)
    with monkeypatch.context() as patch:
        patch.setattr("scbignn.tl._learn.annotate_cells", lambda *_, **__: pytest.fail("it was trained"))
        with pytest.raises(ValueError, match="no label has two labelled cells.*Label more cells"):
            scbignn.tl.annotate(adata, "shown", config=FAST, reject="auto")
    assert contents(adata) == before
    model = scbignn.tl.fit(adata, "shown", config=FAST)
    with pytest.raises(ValueError, match="no label has two labelled cells.*Label more cells"):
        scbignn.tl.predict(adata, model, false_rejection_rate=0.1)
    assert contents(adata) == before
    with caplog.at_level("WARNING", "scbignn"):
        scbignn.tl.annotate(adata, "shown", config=FAST)
    assert "confidence is not calibrated" in caplog.text
    assert "calibration" not in adata.uns["scbignn"]
    assert "scbignn_novelty" not in adata.obs


@pytest.mark.parametrize("all_novel", [False, True])
def test_the_log_says_how_many_are_rejected_and_that_very_many_have_a_reason(model, query, caplog, all_novel):
    query = query[is_novel(query) == all_novel].copy()
    with caplog.at_level("INFO", "scbignn"):
        scbignn.tl.predict(query, model, mode="inductive", false_rejection_rate=0.1)
    n = int((query.obs["scbignn"] == "Unknown").sum())
    (line,) = [record.getMessage() for record in caplog.records if "are called Unknown" in record.getMessage()]
    assert line.startswith(f"{n} of {query.n_obs} cells are called Unknown, {100 * n / query.n_obs:.0f} %, where 10 %")
    assert ("of another batch" in line) == all_novel
