import pytest

from scbignn import get


def test_columns_and_range(calibrated):
    table = get.risk_coverage(calibrated)
    assert table.columns.tolist() == ["coverage", "risk"]
    assert table["coverage"].is_monotonic_increasing
    assert table["coverage"].iloc[-1] == 1
    assert table["risk"].between(0, 1).all()
    assert table["risk"].iloc[9] < table["risk"].iloc[-1]


def test_risk_of_all_cells_is_the_share_of_wrong_labels(calibrated):
    curve = get.calibration(calibrated).query("stage == 'after'")
    accuracy = (curve["accuracy"] * curve["n_cells"]).sum() / 300
    assert get.risk_coverage(calibrated)["risk"].iloc[-1] == pytest.approx(1 - accuracy)


def test_without_calibration(adata):
    with pytest.raises(KeyError, match="holds no annotation"):
        get.risk_coverage(adata)
