import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_hex
from pictures import drawn, overlapping, run_of

from scbignn import pl


@pytest.mark.parametrize("n_labels", [3, 14, 40])
@pytest.mark.parametrize("groupby", [None, "truth"])
def test_boxes_are_quartiles(n_labels, groupby):
    adata = run_of(n_labels)
    ax = pl.confidence(adata, groupby=groupby)
    cells = pd.Series(adata.obs["scbignn_confidence"].to_numpy(float))
    groups = adata.obs[groupby or "scbignn"]
    for box, name in zip(ax.containers[0], groups.cat.categories, strict=True):
        own = cells[(groups == name).to_numpy()]
        if own.empty:
            assert np.isnan(box.get_width())
        else:
            low, high = np.quantile(own, [0.25, 0.75])
            assert box.get_x() == pytest.approx(low)
            assert box.get_x() + box.get_width() == pytest.approx(high)
    names = [tick.get_text() for tick in ax.get_yticklabels()]
    assert names[0] == f"type 0 ({(groups == 'type 0').sum()})"
    assert names[n_labels - 1].endswith("(0)")
    assert drawn(ax).startswith(b"\x89PNG")
    assert overlapping(ax.get_yticklabels()) == []


def test_cells_of_one_name_are_drawn_once_each():
    adata = run_of(3, n_rejected=0)
    adata.obsm["X_umap"] = np.random.default_rng(0).normal(size=(adata.n_obs, 2))
    adata.obs_names = [f"cell_{number % 200}" for number in range(adata.n_obs)]
    (dots,) = pl.confidence(adata, basis="umap").collections
    np.testing.assert_allclose(sorted(dots.get_offsets().tolist()), sorted(adata.obsm["X_umap"].tolist()))


def test_colours_follow_the_palette():
    adata = run_of(3)
    adata.uns["truth_colors"] = ["#ff0000", "#00ff00", "#0000ff"]
    ax = pl.confidence(adata, groupby="truth")
    assert [to_hex(box.get_facecolor()) for box in ax.containers[0]] == ["#ff0000", "#00ff00", "#0000ff"]


def test_the_share_of_rejected_cells_stands_beside_given_labels():
    adata = run_of(3)
    ax = pl.confidence(adata, groupby="truth")
    share = [((adata.obs["truth"] == name) & (adata.obs["scbignn"] == "Unknown")).sum() for name in ("type 0",)]
    n_cells = (adata.obs["truth"] == "type 0").sum()
    assert ax.texts[0].get_text() == f"{100 * share[0] / n_cells:.0f} %"
    assert not pl.confidence(adata).texts
    assert not pl.confidence(run_of(3, n_rejected=0), groupby="truth").texts


def test_map_shows_every_cell_and_its_confidence():
    adata = run_of(14)
    ax = pl.confidence(adata, basis="umap")
    known, unknown = ax.collections[:2]
    rejected = (adata.obs["scbignn"] == "Unknown").to_numpy()
    assert len(unknown.get_offsets()) == rejected.sum() == 12
    values = known.get_array()
    assert (np.diff(values) <= 0).all()  # doubtful cells lie on top
    order = np.argsort(-adata.obs["scbignn_confidence"].to_numpy()[~rejected], kind="stable")
    np.testing.assert_allclose(known.get_offsets(), adata.obsm["X_umap"][~rejected][order])
    np.testing.assert_allclose(values, adata.obs["scbignn_confidence"].to_numpy()[~rejected][order])
    assert ax.get_legend().get_texts()[0].get_text() == "Unknown (12)"
    assert drawn(ax).startswith(b"\x89PNG")


def test_errors_and_given_axes(adata, contents):
    run = run_of(3)
    before = contents(run)
    figure, (left, right) = plt.subplots(ncols=2)
    assert pl.confidence(run, ax=right) is right
    assert pl.confidence(run, basis="X_umap", ax=left) is left
    assert contents(run) == before
    with pytest.raises(KeyError, match="no column 'donor'"):
        pl.confidence(run, groupby="donor")
    with pytest.raises(KeyError, match=r"scbignn\.tl\.annotate"):
        pl.confidence(adata)
    del run.obsm["X_umap"]
    with pytest.raises(KeyError, match=r"sc\.tl\.umap"):
        pl.confidence(run, basis="umap")
    assert plt.get_fignums() == [figure.number]
