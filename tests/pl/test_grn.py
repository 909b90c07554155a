import matplotlib.pyplot as plt
import numpy as np
import pytest

import scbignn
from scbignn import pl
from scbignn.regulation import Config

NAMES = ["grn_network", "grn_precision_recall"]


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
    return adata


@pytest.mark.parametrize("name", NAMES)
def test_draws_on_given_axes_only(scored, name, contents):
    before = contents(scored)
    figure, (left, right) = plt.subplots(ncols=2)
    assert getattr(pl, name)(scored, ax=right) is right
    assert plt.get_fignums() == [figure.number]
    assert not left.has_data()
    figure.canvas.draw()
    assert contents(scored) == before


@pytest.mark.parametrize("name", NAMES)
def test_makes_one_figure_without_axes(scored, name):
    ax = getattr(pl, name)(scored)
    assert plt.get_fignums() == [ax.figure.number]


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


def test_both_curves_and_chance_are_drawn(scored):
    ax = pl.grn_precision_recall(scored)
    labels = [line.get_label() for line in ax.lines]
    metrics = scbignn.get.grn_metrics(scored)
    assert labels[0] == f"degree alone: AUPRC {metrics.loc['degree baseline', 'auprc']:.2f}"
    assert labels[1] == f"model: AUPRC {metrics.loc['model', 'auprc']:.2f}"
    share = (len(scbignn.get.grn(scored)) / 2) / (8 * 39)
    assert ax.lines[2].get_ydata()[0] == pytest.approx(share, rel=0.05)
