import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import is_color_like
from pictures import run_of

from scbignn import get


def test_the_palette_of_the_column():
    adata = run_of(3)
    adata.uns["truth_colors"] = np.array(["red", "#00ff00", "#0000ff"])
    colors = get.label_colors(adata, "truth")
    assert colors.to_dict() == dict(zip(adata.obs["truth"].cat.categories, ["red", "#00ff00", "#0000ff"], strict=True))


@pytest.mark.parametrize("n_labels", [3, 8, 14, 26, 40])
def test_without_a_palette_every_label_has_a_colour_of_its_own(n_labels, contents):
    adata = run_of(n_labels)
    before = contents(adata)
    colors = get.label_colors(adata, "scbignn")
    assert colors.index.tolist() == [*adata.obs["truth"].cat.categories, "Unknown"]
    assert colors["Unknown"] == "#bbbbbb"
    assert colors.is_unique
    assert all(map(is_color_like, colors))
    assert contents(adata) == before


def test_a_palette_of_tuples_is_taken_and_one_of_other_things_not():
    adata = run_of(3)
    adata.uns["truth_colors"] = [(0.5, 0.2, 0.9), (0, 0, 0), (1.0, 1.0, 1.0)]
    assert get.label_colors(adata, "truth").tolist() == ["#8033e6", "#000000", "#ffffff"]
    adata.uns["truth_colors"] = ["red", "no colour", "blue"]
    assert get.label_colors(adata, "truth").tolist() == ["#0072B2", "#D55E00", "#009E73"]


def test_unknown_is_grey_beside_the_colours_of_another_column():
    adata = run_of(3)
    adata.obs["part"] = adata.obs["truth"].astype(object).where(np.arange(adata.n_obs) % 2 == 0, "Unknown")
    colors = get.label_colors(adata, "part", like="truth")
    assert colors["Unknown"] == "#bbbbbb"
    known = colors.drop("Unknown")
    assert len(known) == 2
    assert known.equals(get.label_colors(adata, "truth")[known.index])


@pytest.mark.parametrize("dtype", ["Int64", "boolean", "Float64", "string"])
def test_columns_that_know_missing_values(dtype):
    adata = run_of(3)
    values = pd.array(np.arange(adata.n_obs) % 2, dtype="Int64").astype(dtype)
    values[0] = pd.NA
    adata.obs["column"] = values
    expected = ["False", "True"] if dtype == "boolean" else ["0", "1"]
    assert get.label_colors(adata, "column").index.tolist() == expected
    assert get.confusion(adata, "column").to_numpy().sum() == adata.n_obs - 1


def test_a_palette_of_another_length_is_not_taken():
    adata = run_of(3)
    adata.uns["truth_colors"] = ["red"]
    assert get.label_colors(adata, "truth").tolist() == ["#0072B2", "#D55E00", "#009E73"]


def test_more_labels_than_colours_and_columns_of_text():
    adata = run_of(3)
    adata.obs["many"] = [f"type {number % 130}" for number in range(adata.n_obs)]
    colors = get.label_colors(adata, "many")
    assert len(colors) == 130
    assert colors.index[:3].tolist() == ["type 0", "type 1", "type 2"]  # in natural order
    with pytest.raises(KeyError, match="no column 'none'.*'truth'"):
        get.label_colors(adata, "none")
    adata.obs["gaps"] = pd.Series(["a", None] * (adata.n_obs // 2), index=adata.obs_names)
    assert get.label_colors(adata, "gaps").index.tolist() == ["a"]


def test_the_colours_of_another_column():
    adata = run_of(3)
    adata.uns["scbignn_colors"] = ["#111111", "#222222", "#333333", "#444444"]
    assert get.label_colors(adata, "truth", like="scbignn").tolist() == ["#111111", "#222222", "#333333"]
    adata.obs["donor"] = ["a", "type 0"] * (adata.n_obs // 2)
    assert get.label_colors(adata, "donor", like="scbignn").to_dict() == {"a": "#0072B2", "type 0": "#111111"}
    adata.uns["truth_colors"] = ["#aaaaaa", "#bbbbbb", "#cccccc"]  # its own come first
    assert get.label_colors(adata, "truth", like="scbignn").tolist() == ["#aaaaaa", "#bbbbbb", "#cccccc"]
    del adata.uns["scbignn_colors"]
    del adata.uns["truth_colors"]
    first, second = (get.label_colors(adata, name, like="scbignn") for name in ("scbignn", "truth"))
    assert second.to_dict() == first[second.index].to_dict()
