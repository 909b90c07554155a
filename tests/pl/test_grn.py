import matplotlib.pyplot as plt
import numpy as np
import pytest
from pictures import LONG, drawn, overlapping
from sklearn.metrics import auc

import scbignn
from scbignn import pl
from scbignn.regulation import Config

NAMES = ["grn_network", "grn_out_degree", "grn_precision_recall", "grn_regulon", "grn_roc"]


def draw(name, adata, **arguments):
    needed = ("TF_0",) if name == "grn_regulon" else ()
    return getattr(pl, name)(adata, *needed, **arguments)


@pytest.fixture(autouse=True)
def no_figure_stays():
    plt.close("all")
    yield
    plt.close("all")


@pytest.fixture(scope="module")
def scored():
    adata, network = scbignn.datasets.simulated_network(n_cells=60, n_tfs=8, n_genes=40)
    hidden = network.iloc[::3]  # so that some high links are not known
    config = Config(members=("ridge",), n_folds=2, n_inner_folds=2, penalties=(10.0,), n_components=5)
    scbignn.tl.infer_grn(adata, network.drop(hidden.index), config=config)
    adata.obs["type"] = np.arange(60) % 3
    adata.obs["long"] = np.where(np.arange(60) % 2, LONG, "NK")
    return adata


@pytest.mark.parametrize("name", NAMES)
def test_draws_on_given_axes_only(scored, name, contents):
    before = contents(scored)
    figure, (left, right) = plt.subplots(ncols=2)
    assert draw(name, scored, ax=right) is right
    assert plt.get_fignums() == [figure.number]
    assert not left.has_data()
    figure.canvas.draw()
    assert contents(scored) == before


@pytest.mark.parametrize("name", NAMES)
def test_makes_one_figure_without_axes_and_cuts_nothing_off(scored, name):
    ax = draw(name, scored)
    assert plt.get_fignums() == [ax.figure.number]
    drawn(ax)
    assert not overlapping([label for label in ax.get_yticklabels() if label.get_text()])


def test_a_line_for_each_link_of_the_tfs(scored):
    table = scbignn.get.grn(scored)
    tf = table["source"].iloc[0]
    ax = pl.grn_network(scored, tfs=[tf], n_edges=5)
    own = table[table["source"] == tf].head(5)
    known, other = ax.collections[:2]
    assert len(known.get_segments()) == own["known"].sum()
    assert len(known.get_segments()) + len(other.get_segments()) == 5
    assert {text.get_text() for text in ax.texts} == {tf, *own["target"]}
    widths = np.r_[known.get_linewidths(), other.get_linewidths()]
    assert widths.max() == pytest.approx(2.4)


def test_tfs_without_links_are_refused(scored):
    with pytest.raises(ValueError, match=r"no link of tfs=\['nobody'\] is among those kept. TFs with links: 'TF_"):
        pl.grn_network(scored, tfs=["nobody"])


@pytest.mark.parametrize("n_edges", [0, -1, 2.5, True])
def test_a_number_of_links_that_cannot_be_drawn(scored, n_edges):
    with pytest.raises(ValueError, match="n_edges=.* must be a whole number of at least 1"):
        pl.grn_network(scored, n_edges=n_edges)
    assert plt.get_fignums() == []


def test_no_links_left(scored):
    with pytest.raises(ValueError, match="holds no link"):
        pl.grn_network(scored[:, ["TF_0"]])
    assert plt.get_fignums() == []


@pytest.mark.parametrize("name", ["grn_network", "grn_out_degree", "grn_regulon"])
def test_names_on_small_axes_do_not_meet(scored, name):
    _, axes = plt.subplots(2, 2, figsize=(8, 4))
    ax = draw(name, scored, ax=axes[0, 0])
    assert drawn(ax).startswith(b"\x89PNG")
    assert overlapping(ax.texts if name == "grn_network" else ax.get_yticklabels()) == []
    if name == "grn_out_degree":
        assert ax.get_xticklabels()[0].get_fontsize() > 5  # numbers stay as they are


def test_both_curves_and_chance_are_drawn(scored):
    ax = pl.grn_precision_recall(scored)
    labels = [line.get_label() for line in ax.lines]
    metrics = scbignn.get.grn_metrics(scored)
    assert labels[0] == f"degree alone: AUPRC {metrics.loc['degree baseline', 'auprc']:.2f}"
    assert labels[1] == f"model: AUPRC {metrics.loc['model', 'auprc']:.2f}"
    share = (len(scbignn.get.grn(scored)) / 2) / (8 * 39)
    assert ax.lines[2].get_ydata()[0] == pytest.approx(share, rel=0.05)


def test_roc_curves_are_drawn(scored):
    ax = pl.grn_roc(scored)
    metrics, table = scbignn.get.grn_metrics(scored), scbignn.get.grn_curves(scored, kind="roc")
    assert [line.get_label() for line in ax.lines] == [
        f"degree alone: AUROC {metrics.loc['degree baseline', 'auroc']:.2f}",
        f"model: AUROC {metrics.loc['model', 'auroc']:.2f}",
        "chance: 0.50",
    ]
    area = auc(table["false_positive_rate"], table["model"])
    assert area == pytest.approx(metrics.loc["model", "auroc"], abs=0.02)


def test_bars_count_targets(scored):
    ax = pl.grn_out_degree(scored, n_tfs=5)
    table = scbignn.get.grn(scored)
    known, other = (bars.datavalues for bars in ax.containers)
    names = [tick.get_text() for tick in ax.get_yticklabels()]
    assert len(names) == 5
    for name, first, second in zip(names, known, other, strict=True):
        own = table[table["source"] == name]
        assert (first, second) == (own["known"].sum(), (~own["known"]).sum())
    assert (np.diff(known + other) <= 0).all()
    assert sum(known + other) <= len(table)


@pytest.mark.parametrize("groupby", [None, "type"])
def test_a_regulon_is_a_row_a_gene(scored, groupby):
    ax = pl.grn_regulon(scored, "TF_0", groupby=groupby, n_targets=6)
    table = scbignn.get.grn_regulon(scored, "TF_0", groupby=groupby, n_targets=6)
    np.testing.assert_array_equal(ax.images[0].get_array(), table)
    links = scbignn.get.grn(scored, known=True)
    known = set(links.loc[links["source"] == "TF_0", "target"])
    names = [tick.get_text() for tick in ax.get_yticklabels()]
    assert names == [f"{name} *" if name in known else name for name in table.index]
    assert [tick.get_text() for tick in ax.get_xticklabels()] == ([] if groupby is None else ["0", "1", "2"])


@pytest.mark.parametrize("n_targets", [1, 12])
def test_a_regulon_has_room_beside_long_names(scored, n_targets):
    ax = pl.grn_regulon(scored, "TF_0", groupby="long", n_targets=n_targets)
    drawn(ax)
    assert ax.get_window_extent().height / ax.figure.dpi > 0.1 * len(ax.get_yticklabels())
    assert not overlapping(ax.get_yticklabels())
