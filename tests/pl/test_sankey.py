import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.colors import to_hex
from matplotlib.patches import PathPatch, Rectangle
from pictures import drawn, label_names, overlapping, run_of

from scbignn import get, pl


def parts(ax):
    return (
        [patch for patch in ax.patches if isinstance(patch, PathPatch)],
        [patch for patch in ax.patches if isinstance(patch, Rectangle)],
    )


@pytest.mark.parametrize("n_labels", [3, 14, 40])
def test_flows_are_numbers_of_cells(n_labels):
    adata = run_of(n_labels)
    ax = pl.sankey(adata, "truth")
    counts = get.confusion(adata, "truth")
    counts = counts.loc[counts.sum(axis=1) > 0, counts.sum(axis=0) > 0]
    ribbons, bars = parts(ax)
    assert len(ribbons) == (counts > 0).to_numpy().sum()
    heights = [patch.get_path().vertices[7, 1] - patch.get_path().vertices[0, 1] for patch in ribbons]
    expected = counts.to_numpy()[counts.to_numpy() > 0]
    np.testing.assert_allclose(heights, expected / adata.n_obs)
    np.testing.assert_allclose(
        [bar.get_height() for bar in bars],
        np.concatenate([counts.sum(axis=1), counts.sum(axis=0)]) / adata.n_obs,
    )
    # Ribbons fill the bars of both sides without gap or overlap.
    for corner in (0, 3):
        starts = np.array([patch.get_path().vertices[corner, 1] for patch in ribbons])
        order = np.argsort(starts)
        np.testing.assert_allclose(starts[order] + np.array(heights)[order], [*starts[order][1:], 1], atol=1e-9)
    *names, left, right = [text.get_text() for text in ax.texts]
    assert (left, right) == ("given", "predicted")
    assert overlapping(ax.texts[-2:]) == []
    assert len(names) == sum(counts.shape)
    assert "Unknown" in names
    assert f"type {n_labels - 1}" not in names[: len(counts)]  # without cells
    assert drawn(ax).startswith(b"\x89PNG")
    assert overlapping(ax.texts[: len(counts)]) == []
    assert overlapping(ax.texts[len(counts) : -2]) == []


def test_rare_labels_are_named_beside_the_bars_not_above_them():
    adata = run_of(14, n_rejected=0)
    codes = np.r_[np.arange(12), np.full(adata.n_obs - 12, 12)]
    for column in ("truth", "scbignn"):
        adata.obs[column] = np.array(label_names(14))[codes]
    ax = pl.sankey(adata, "truth")
    places = np.array([text.get_position()[1] for text in ax.texts[:-2]])
    assert places.min() >= 0
    assert places.max() <= 1
    assert drawn(ax)
    assert overlapping(ax.texts[:13]) == []


def test_colours_are_those_of_the_given_labels():
    adata = run_of(3)
    adata.uns["truth_colors"] = ["#ff0000", "#00ff00", "#0000ff"]
    ax = pl.sankey(adata, "truth")
    counts = get.confusion(adata, "truth")
    color = dict(zip(adata.obs["truth"].cat.categories, adata.uns["truth_colors"], strict=True)) | {
        "Unknown": "#bbbbbb"
    }
    ribbons, bars = parts(ax)
    rows = [name for name in counts.index if counts.loc[name].sum()]
    columns = [name for name in counts if counts[name].sum()]
    assert [to_hex(bar.get_facecolor()) for bar in bars] == [color[name] for name in [*rows, *columns]]
    flows = [name for name in rows for other in columns if counts.loc[name, other]]
    assert [to_hex(ribbon.get_facecolor()) for ribbon in ribbons] == [color[name] for name in flows]


def test_colours_of_the_prediction_where_given_labels_have_none():
    adata = run_of(3)
    adata.uns["scbignn_colors"] = ["#ff0000", "#00ff00", "#0000ff", "#123456"]
    color = dict(zip(adata.obs["scbignn"].cat.categories, adata.uns["scbignn_colors"], strict=True))
    _, bars = parts(pl.sankey(adata, "truth"))
    counts = get.confusion(adata, "truth")
    names = [*counts.index[counts.sum(axis=1) > 0], *counts.columns[counts.sum(axis=0) > 0]]
    assert [to_hex(bar.get_facecolor()) for bar in bars] == [color[name] for name in names]


def test_on_given_axes_and_errors(adata, contents):
    run = run_of(5)
    before = contents(run)
    figure, (left, right) = plt.subplots(ncols=2)
    assert pl.sankey(run, "truth", ax=right) is right
    assert not left.has_data()
    assert contents(run) == before
    run.obs["nothing"] = "Unknown"
    with pytest.raises(ValueError, match="no cell has a label"):
        pl.sankey(run, "nothing")
    with pytest.raises(KeyError, match="no column"):
        pl.sankey(run, "nonsense")
    with pytest.raises(KeyError, match=r"scbignn\.tl\.annotate"):
        pl.sankey(adata, "truth")
    assert plt.get_fignums() == [figure.number]
