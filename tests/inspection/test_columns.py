import pandas as pd
import pytest

from scbignn.inspection import columns_like

OBS = pd.DataFrame(
    {
        "cell_type": ["a", "b", "c"] * 4,
        "leiden": pd.Categorical(["1", "2"] * 6),
        "sample_id": [1, 2] * 6,
        "orig.ident": ["x", "y"] * 6,
        "batches": ["x", "y"] * 6,
        "donor": ["one"] * 12,
        "label_score": [0.1, 0.2] * 6,
        "barcode_of_sample": [f"cell {n}" for n in range(12)],
        "percent_mt": [1, 2] * 6,
        "runtime": [1, 2] * 6,
    }
)


@pytest.mark.parametrize(
    ("role", "expected"),
    [("labels", {"cell_type": 3, "leiden": 2}), ("batches", {"sample_id": 2, "orig.ident": 2, "batches": 2})],
)
def test_columns(role, expected):
    assert columns_like(OBS, role) == expected


def test_columns_of_one_name_are_passed_over():
    twice = pd.concat([OBS[["leiden"]], OBS[["leiden"]]], axis=1)
    assert columns_like(twice, "labels") == {}
