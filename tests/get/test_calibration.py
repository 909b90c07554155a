import pytest

from scbignn import get


def test_columns_types_and_range(calibrated):
    table = get.calibration(calibrated)
    assert table.columns.tolist() == ["stage", "confidence", "accuracy", "n_cells"]
    assert table["stage"].tolist() == ["before"] * 15 + ["after"] * 15
    assert table[["confidence", "accuracy"]].map(lambda value: 0 <= value <= 1).all(axis=None)
    assert table.groupby("stage")["n_cells"].sum().tolist() == [300, 300]


def test_error_is_that_of_the_curve(calibrated):
    table = get.calibration(calibrated)
    for stage, rows in table.groupby("stage"):
        gap = (rows["confidence"] - rows["accuracy"]).abs()
        assert table.attrs["ece"][stage] == pytest.approx((gap * rows["n_cells"]).sum() / 300)
    assert table.attrs["ece"]["after"] < table.attrs["ece"]["before"]


def test_the_run_is_left_alone(calibrated, contents):
    before = contents(calibrated)
    table = get.calibration(calibrated)
    table["accuracy"] = 0.0
    assert contents(calibrated) == before


def test_without_a_run_and_without_calibration(adata, annotated):
    with pytest.raises(KeyError, match="holds no annotation"):
        get.calibration(adata)
    annotated.uns["scbignn"] = {k: v for k, v in annotated.uns["scbignn"].items() if k != "calibration"}
    with pytest.raises(KeyError, match="holds no calibration"):
        get.calibration(annotated)
