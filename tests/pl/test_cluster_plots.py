"""Plots of clusterings draw what `get` returns, on the Axes they are given."""

from types import SimpleNamespace

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from anndata import AnnData
from matplotlib.colors import to_hex, to_rgb
from pictures import drawn, overlapping

import scbignn
from scbignn import get, pl
from scbignn.clustering import Config

NAMES = ["cluster_anchors", "cluster_bipartite", "cluster_embedding", "cluster_stability"]


@pytest.fixture(autouse=True)
def _close():
    plt.close("all")
    yield
    plt.close("all")


@pytest.fixture(scope="module")
def _clustered():
    adata = scbignn.datasets.simulated(n_cells=90, n_genes=60, fold_change=20.0)
    scbignn.tl.cluster(adata, 3, config=Config(n_anchors=20, n_anchor_sets=2, n_resamples=2))
    adata.obsm["X_umap"] = np.random.default_rng(0).normal(size=(90, 2)) + 9 * adata.obsm["X_bgformer"][:, :2]
    return adata


@pytest.fixture
def clustered(_clustered):
    return _clustered.copy()


@pytest.mark.parametrize("name", NAMES)
def test_draws_on_given_axes_only(clustered, contents, name):
    before = contents(clustered)
    figure, (left, right) = plt.subplots(ncols=2)
    assert getattr(pl, name)(clustered, ax=right) is right
    assert plt.get_fignums() == [figure.number]
    assert right.has_data()
    assert not left.has_data()
    assert contents(clustered) == before


@pytest.mark.parametrize("name", NAMES)
def test_makes_one_figure_without_axes(clustered, name):
    ax = getattr(pl, name)(clustered)
    assert plt.get_fignums() == [ax.figure.number]
    ax.figure.canvas.draw()


@pytest.mark.parametrize("name", NAMES)
def test_without_a_run(adata, name):
    with pytest.raises(KeyError, match=r"scbignn\.tl\.cluster"):
        getattr(pl, name)(adata)
    assert plt.get_fignums() == []


def test_cells_have_the_colour_of_their_cluster(clustered):
    ax = pl.cluster_embedding(clustered)
    (dots,) = ax.collections
    place = {tuple(point): color for point, color in zip(dots.get_offsets().data, dots.get_facecolors(), strict=True)}
    colors = get.label_colors(clustered, "bgformer")
    for point, name in zip(clustered.obsm["X_umap"], clustered.obs["bgformer"], strict=True):
        assert to_hex(place[tuple(point)]) == to_hex(colors[name])
    assert sorted(text.get_text() for text in ax.texts) == ["0", "1", "2"]
    for text in ax.texts:
        cells = (clustered.obs["bgformer"] == text.get_text()).to_numpy()
        np.testing.assert_allclose(text.get_position(), np.median(clustered.obsm["X_umap"][cells], axis=0))


def test_confidence_in_place_of_cluster(clustered):
    ax = pl.cluster_embedding(clustered, by_confidence=True)
    (dots,) = ax.collections
    np.testing.assert_allclose(np.sort(dots.get_array()), np.sort(clustered.obs["bgformer_confidence"]))


@pytest.mark.parametrize(
    ("basis", "error", "message"),
    [("X_tsne", KeyError, r"no 'X_tsne'.*sc\.tl\.umap"), ("line", ValueError, "two columns are needed")],
)
def test_coordinates_that_are_not_there(clustered, basis, error, message):
    clustered.obsm["line"] = np.zeros((90, 1))
    with pytest.raises(error, match=message):
        pl.cluster_embedding(clustered, basis=basis)


@pytest.mark.parametrize("number", [0, 1])
def test_bars_are_sizes_of_anchors(clustered, number):
    ax = pl.cluster_anchors(clustered, anchor_set=number)
    table = get.anchors(clustered, anchor_set=number).obs
    heights = [bar.get_height() for bar in ax.containers[0]]
    assert sum(heights) == pytest.approx(90, rel=1e-5)
    assert sorted(heights) == pytest.approx(sorted(table["size"]))
    assert [tick.get_text() for tick in ax.get_xticklabels()] == ["0", "1", "2"]


@pytest.mark.parametrize("n_clusters", [14, 40])
@pytest.mark.parametrize("width", [None, 3.3])
def test_names_below_the_anchors_of_many_clusters_do_not_meet(n_clusters, width, monkeypatch):
    names = [str(number) for number in range(n_clusters)]
    rng = np.random.default_rng(0)
    obs = pd.DataFrame(
        {
            "size": rng.gamma(2, 5, 120),
            "cluster": pd.Categorical.from_codes(
                np.r_[: n_clusters - 1, rng.integers(n_clusters - 1, size=121 - n_clusters)], names
            ),
        },
        index=[f"a{number}" for number in range(120)],
    )
    adata = AnnData(np.ones((120, 1), dtype=np.float32), obs=obs.rename(columns={"cluster": "bgformer"}))
    clusters = pd.DataFrame({"n_cells": 1}, index=names)
    adata.uns["bgformer"] = {"clusters": clusters, "anchors": {}}
    adata.obsm["bgformer_proba"] = np.eye(n_clusters)[obs["cluster"].cat.codes]
    monkeypatch.setattr("scbignn.pl._cluster_anchors.read_anchors", lambda *_: SimpleNamespace(table=obs))
    ax = None if width is None else plt.subplots(figsize=(width, 2.4), layout="constrained")[1]
    ax = pl.cluster_anchors(adata, ax=ax)
    assert drawn(ax).startswith(b"\x89PNG")
    assert [tick.get_text() for tick in ax.get_xticklabels()] == names[:-1]  # the last has no anchor
    assert overlapping(ax.get_xticklabels()) == []


def test_bars_are_confidence_and_stability(clustered):
    ax = pl.cluster_stability(clustered)
    table = get.clusters(clustered)
    for bars, column in zip(ax.containers, ("confidence", "stability"), strict=True):
        np.testing.assert_allclose(bars.datavalues, table[column])
    assert ax.get_yticklabels()[0].get_text() == "0 (30)"
    del clustered.uns["bgformer"]["clusters"]["stability"]
    assert len(pl.cluster_stability(clustered).containers) == 1


def test_a_palette_of_the_users_is_taken(clustered):
    clustered.uns["bgformer_colors"] = ["#111111", "#222222", "#333333"]
    (dots,) = pl.cluster_embedding(clustered).collections
    assert {to_hex(color) for color in dots.get_facecolors()} == {"#111111", "#222222", "#333333"}


def blocks(ax):
    """The picture of the graph, and the strip beside it."""
    return [np.asarray(image.get_array()) for image in ax.images]


@pytest.mark.parametrize("number", [0, 1])
def test_the_map_shows_edges_in_the_colour_of_the_anchor(clustered, number):
    ax = pl.cluster_bipartite(clustered, anchor_set=number)
    picture, strip = blocks(ax)
    assert picture.shape == (90, 18, 3)  # a row a cell, where they are few; a fifth as many anchors as cells
    codes = np.sort(clustered.obs["bgformer"].cat.codes)
    colors = np.array([to_rgb(color) for color in get.label_colors(clustered, "bgformer")])
    np.testing.assert_allclose(strip[:, 0], colors[codes])
    # Colour taken back to weights: they are those of the graph, whatever their order.
    table = get.anchors(clustered, anchor_set=number).obs
    anchor_codes = np.sort(table["cluster"].cat.codes)
    shade = (1 - picture).sum(2) / (1 - colors[anchor_codes]).sum(1)
    weights = 2 * clustered.obsm["bgformer_anchors"].toarray()[:, 18 * number : 18 * (number + 1)]
    np.testing.assert_allclose(np.sort(shade**2, axis=None), np.sort(weights, axis=None), atol=1e-5)
    np.testing.assert_allclose(np.sort((shade**2).sum(0)), np.sort(table["size"]), rtol=1e-4)
    # Types that are easy to tell apart share few anchors: most weight lies in blocks on the diagonal.
    assert (shade**2)[codes[:, None] == anchor_codes].sum() > 0.8 * 90
    assert [tick.get_text() for tick in ax.get_yticklabels()] == ["0", "1", "2"]
    assert [tick.get_text() for tick in ax.get_xticklabels()] == ["0", "1", "2"]


def test_cells_of_a_cluster_are_averaged_where_they_are_many(clustered, monkeypatch):
    whole, _ = blocks(pl.cluster_bipartite(clustered))
    monkeypatch.setattr("scbignn.pl._cluster_bipartite._ROWS", 9)
    coarse, strip = blocks(pl.cluster_bipartite(clustered))
    assert coarse.shape == (9, 18, 3)
    assert len(strip) == 9
    colors = np.array([to_rgb(color) for color in get.label_colors(clustered, "bgformer")])
    np.testing.assert_allclose(strip[:, 0], colors[[0, 0, 0, 1, 1, 1, 2, 2, 2]])
    ink = 1 - colors[np.sort(get.anchors(clustered).obs["cluster"].cat.codes)]
    fine = ((1 - whole) / ink.clip(1e-9)).max(2) ** 2
    rough = ((1 - coarse) / ink.clip(1e-9)).max(2) ** 2
    np.testing.assert_allclose(rough, fine.reshape(9, 10, 18).mean(1), atol=1e-5)
    monkeypatch.setattr("scbignn.pl._cluster_bipartite._ROWS", 1)
    assert len(blocks(pl.cluster_bipartite(clustered))[0]) == 3  # each cluster has a row


@pytest.mark.parametrize("n_clusters", [20, 40])
@pytest.mark.parametrize("width", [None, 4.0])
def test_names_beside_the_map_of_many_clusters_do_not_meet(n_clusters, width):
    adata = scbignn.datasets.simulated(n_cells=400, n_genes=300, fold_change=20.0, n_types=n_clusters)
    scbignn.tl.cluster(adata, n_clusters, config=Config(n_partitions=1, n_resamples=0))
    ax = None if width is None else plt.subplots(figsize=(width, 0.8 * width), layout="constrained")[1]
    ax = pl.cluster_bipartite(adata, ax=ax)
    assert drawn(ax).startswith(b"\x89PNG")
    assert len(ax.get_yticklabels()) == adata.obs["bgformer"].nunique()
    assert overlapping(ax.get_yticklabels()) == []
    assert overlapping(ax.get_xticklabels()) == []


def test_clusters_are_drawn_by_name_where_one_was_left_out(clustered):
    adata = clustered[clustered.obs["bgformer"] != "1"].copy()
    ax = pl.cluster_embedding(adata)
    assert sorted(text.get_text() for text in ax.texts) == ["0", "2"]
    for text in ax.texts:
        cells = (adata.obs["bgformer"] == text.get_text()).to_numpy()
        np.testing.assert_allclose(text.get_position(), np.median(adata.obsm["X_umap"][cells], axis=0))
    assert [tick.get_text() for tick in pl.cluster_bipartite(adata).get_yticklabels()] == ["0", "2"]


def test_cells_without_a_cluster_are_grey_or_left_out(clustered):
    clustered.obs["bgformer"] = clustered.obs["bgformer"].where(np.arange(90) > 4)
    (dots,) = pl.cluster_embedding(clustered).collections
    assert sum(to_hex(color) == "#bbbbbb" for color in dots.get_facecolors()) == 5
    assert len(blocks(pl.cluster_bipartite(clustered))[0]) == 85


def test_anchors_are_drawn_without_expression(clustered):
    clustered.X = None
    assert len(pl.cluster_anchors(clustered).containers[0]) == 18
    assert blocks(pl.cluster_bipartite(clustered))[0].shape == (90, 18, 3)


def test_a_set_that_is_not_there(clustered):
    with pytest.raises(ValueError, match="anchor_set=2 must be an integer from 0 to 1"):
        pl.cluster_bipartite(clustered, anchor_set=2)
