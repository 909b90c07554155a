import json

import anndata
import numpy as np
import pytest
from scipy.special import softmax
from sklearn.metrics import log_loss

from scbignn.annotation import Calibration, calibrate, calibration_record
from scbignn.annotation._calibration import reliability, risk_coverage


def problem(n=1500, n_labels=4, *, temperature=1.0, seed=0):
    """Labels drawn from probabilities, and these probabilities to the power of `temperature`: too sure above 1."""
    rng = np.random.default_rng(seed)
    logits = 1.5 * rng.normal(size=(n, n_labels))
    true = softmax(logits, axis=1)
    y = (rng.random((n, 1)) > true.cumsum(1)).sum(1).clip(max=n_labels - 1)
    return softmax(temperature * logits, axis=1).astype(np.float32), y


@pytest.mark.parametrize("temperature", [0.4, 1.0, 3.0])
def test_the_temperature_is_found(temperature):
    p, y = problem(temperature=temperature)
    found = calibrate(p, y)
    assert found.temperature == pytest.approx(temperature, rel=0.15)
    p, y = problem(seed=1, temperature=temperature)
    before, after = (reliability(part.max(1), part.argmax(1) == y).ece for part in (p, found.apply(p)))
    assert after < 0.04
    assert after < before or temperature == 1
    assert log_loss(y, found.apply(p)) < log_loss(y, p) + 0.005


@pytest.mark.parametrize("kind", ["drawn", "one-hot", "even", "float64"])
def test_rows_sum_to_one_and_keep_their_label(kind):
    p, y = problem(temperature=3.0)
    others = {
        "drawn": np.random.default_rng(1).dirichlet([0.05] * 4, size=2000).astype(np.float32),
        "one-hot": np.eye(4, dtype=np.float32),
        "even": np.full((2, 4), 0.25, dtype=np.float32),
        "float64": np.array([[0.4 + 1e-4, 0.4 - 1e-4, 0.1, 0.1], [0.1, 0.1, 0.3999, 0.4001]]),
    }[kind]
    found = calibrate(p, y).apply(others)
    assert found.dtype == np.float32
    assert (found >= 0).all()
    np.testing.assert_allclose(found.sum(1), 1, atol=1e-6)
    np.testing.assert_array_equal(found.argmax(1), others.argmax(1))


def test_probabilities_that_learned_otherwise_become_as_sure_as_those_that_were_calibrated():
    p, y = problem(temperature=2.0)
    found = calibrate(p, y)
    like, truth = problem(seed=1, temperature=2.0)
    flat = softmax(0.4 * np.log(like), axis=1)
    wanted = found.apply(like).max(1).mean()
    first = found.temperature_for(flat, wanted)
    assert first == pytest.approx(0.4, abs=0.01)
    assert found.temperature_for(like, wanted) == pytest.approx(1, abs=0.01)
    calibrated = found.apply(flat, first=first)
    assert calibrated.max(1).mean() == pytest.approx(wanted, abs=1e-3)
    np.testing.assert_array_equal(calibrated.argmax(1), flat.argmax(1))
    right = like.argmax(1) == truth
    assert reliability(found.apply(flat).max(1), right).ece > 0.1
    assert reliability(calibrated.max(1), right).ece < 0.04


def test_confidence_goes_as_far_as_it_can():
    p, y = problem()
    even, sure = np.full((3, 4), 0.25), np.eye(4)[:3]
    found = calibrate(p, y)
    for one, like in ((even, sure), (sure, even)):
        calibrated = found.apply(one, first=found.temperature_for(one, like.max(1).mean()))
        assert np.isfinite(calibrated).all()
        np.testing.assert_array_equal(calibrated.argmax(1), one.argmax(1))


def test_more_confident_stays_more_confident():
    p, y = problem(temperature=3.0)
    two = np.linspace(0.5, 1, 500)
    found = calibrate(p[:, :2] / p[:, :2].sum(1, keepdims=True), np.minimum(y, 1)).apply(np.c_[two, 1 - two])
    assert (np.diff(found.max(1)) >= 0).all()


def test_the_monotone_map_mends_what_no_temperature_can():
    """Right in 70 % of the cells of high confidence and in 60 % of the others, which are as unsure as they should be."""
    rng = np.random.default_rng(0)
    sure = rng.random(6000) < 0.5
    p = np.where(sure[:, None], [0.95, 0.05], [0.6, 0.4])
    y = (rng.random(6000) > np.where(sure, 0.7, 0.6)).astype(int)
    found = calibrate(p, y)
    assert found.after.ece < 0.25 * found.before.ece
    assert found.apply(np.array([[0.95, 0.05]]))[0, 0] == pytest.approx(0.7, abs=0.04)


@pytest.mark.parametrize("seed", range(5))
def test_few_cells_that_are_all_right_do_not_make_certain(seed):
    rng = np.random.default_rng(seed)
    y = np.arange(20) % 2
    p = np.where(np.eye(2)[y] > 0, 0.8, 0.2) + rng.uniform(-0.05, 0.05, (20, 1)) * [1, -1]
    found = calibrate(p, y)
    assert np.isfinite(found.apply(p)).all()
    assert 0.2 < found.temperature < 1
    assert found.weight < 0.05


def test_the_labels_of_held_out_cells_are_not_used():
    """Confidence and being right have nothing to do with each other, which a map of its own cells would not see."""
    rng = np.random.default_rng(0)
    p, y = np.repeat(rng.uniform(0.5, 1, (60, 1)), 2, axis=1), rng.integers(2, size=60)
    p[:, 1] = 1 - p[:, 0]
    after = calibrate(p, y).after
    own = calibrate(p, y).apply(p)
    assert reliability(own.max(1), own.argmax(1) == y).ece <= after.ece


def test_batches_are_left_out_in_turn():
    """Too sure in one batch, too unsure in the other: a map of one misleads in the other."""
    (sure, y), (unsure, z) = problem(temperature=3.0), problem(temperature=0.4, seed=1)
    p, labels, batch = np.r_[sure, unsure], np.r_[y, z], np.repeat([5, 2], len(y))
    with_batch, without = calibrate(p, labels, batch), calibrate(p, labels)
    assert (with_batch.held_out, without.held_out) == ("batches", "folds")
    assert with_batch.after.ece > 2 * without.after.ece
    assert calibrate(p, labels, np.zeros_like(batch)) == without


def test_batches_weigh_the_same():
    (sure, y), (unsure, z) = problem(3000, temperature=3.0), problem(300, temperature=0.4, seed=1)
    p, labels, batch = np.r_[sure, unsure], np.r_[y, z], np.repeat([0, 1], [3000, 300])
    even = calibrate(np.r_[sure, np.tile(unsure, (10, 1))], np.r_[y, np.tile(z, 10)])
    assert calibrate(p, labels, batch).temperature == pytest.approx(even.temperature, rel=0.02)
    assert calibrate(p, labels).temperature > 1.05 * even.temperature


def test_a_label_with_one_cell_and_a_single_cell():
    p, y = problem(30, 3)
    y[:] = np.arange(30) % 2
    y[0] = 2
    assert np.isfinite(calibrate(p, y).after.ece)
    assert calibrate(p[:1], y[:1]).after.n_cells == (1,)


def test_curve_has_bins_of_equal_numbers_of_cells():
    rng = np.random.default_rng(0)
    confidence, right = rng.random(100), rng.random(100) < 0.5
    found = reliability(confidence, right)
    assert sum(found.n_cells) == 100
    assert set(found.n_cells) == {6, 7}
    order = np.argsort(confidence)
    assert found.confidence[0] == pytest.approx(confidence[order[:7]].mean())
    assert found.accuracy[0] == pytest.approx(right[order[:7]].mean())
    gaps = [abs(confidence[b].mean() - right[b].mean()) * len(b) for b in np.array_split(order, 15)]
    assert found.ece == pytest.approx(sum(gaps) / 100)


def test_risk_coverage_against_a_loop():
    rng = np.random.default_rng(0)
    confidence, right = rng.permutation(250) / 250, rng.random(250) < 0.8
    coverage, risk = risk_coverage(confidence, right)
    assert coverage[-1] == 1
    assert len(coverage) == 100
    for share, wrong in zip(coverage, risk, strict=True):
        answered = np.argsort(-confidence)[: round(share * 250)]
        assert wrong == pytest.approx(np.mean(~right[answered]))


def test_risk_does_not_depend_on_the_order_of_equal_cells():
    coverage, risk = risk_coverage(np.full(4, 0.7), np.array([True, False, False, True]))
    assert coverage == (0.25, 0.5, 0.75, 1.0)
    assert risk == pytest.approx((0.5,) * 4)


def test_json_round_trip():
    p, y = problem(200)
    found = calibrate(p, y)
    again = Calibration.from_dict(json.loads(json.dumps(found.to_dict())))
    assert again == found
    np.testing.assert_array_equal(again.apply(p), found.apply(p))


@pytest.mark.filterwarnings("ignore:Writing zarr v2 data will no longer be the default:UserWarning")
@pytest.mark.parametrize("kind", ["h5ad", "zarr"])
def test_record_round_trips_through_files(tmp_path, kind):
    p, y = problem(200)
    found = calibrate(p, y)
    adata = anndata.AnnData(np.ones((2, 2), dtype=np.float32), uns={"run": {"calibration": calibration_record(found)}})
    path = tmp_path / f"a.{kind}"
    (adata.write_h5ad if kind == "h5ad" else adata.write_zarr)(path)
    read = (anndata.read_h5ad if kind == "h5ad" else anndata.read_zarr)(path).uns["run"]["calibration"]
    curve = read["curve"]
    assert curve.columns.tolist() == ["stage", "confidence", "accuracy", "n_cells"]
    assert curve["stage"].tolist() == ["before"] * 15 + ["after"] * 15
    np.testing.assert_allclose(curve["confidence"], [*found.before.confidence, *found.after.confidence])
    assert read["ece_before"] == pytest.approx(found.before.ece)
    assert read["ece_after"] == pytest.approx(found.after.ece)
    assert read["held_out"] == "folds"
    assert read["n_cells"] == 200
    np.testing.assert_allclose(read["risk_coverage"]["risk"], found.risk)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda p, y: (p, y[:-1], None), "p has shape"),
        (lambda p, y: (p[:0], y[:0], None), "N >= 1"),
        (lambda p, y: (p, y, y[:-1]), "batch \\(19,\\)"),
        (lambda p, y: (p - 1, y, None), "negative"),
        (lambda p, y: (p * np.nan, y, None), "non-finite"),
        (lambda p, y: (p, y - 5, None), "labelled cells only"),
        (lambda p, y: (p, y + 4, None), "labelled cells only"),
    ],
)
def test_what_calibrate_refuses(change, message):
    p, y = problem(20)
    with pytest.raises(ValueError, match=message):
        calibrate(*change(p, y))
