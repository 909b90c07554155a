import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.patches import FancyArrowPatch
from pictures import drawn, overlapping, run_of

from scbignn import get, pl


@pytest.mark.parametrize("n_genes", [3, 14, 40])
def test_heatmap_shows_the_attention_of_each_pair(n_genes):
    adata = run_of(3)
    ax = pl.gene_attention(adata, n_genes=n_genes)
    table = get.attention_matrix(adata, n_genes=n_genes)
    shown = ax.images[0].get_array()
    off = ~np.eye(n_genes, dtype=bool)
    np.testing.assert_allclose(shown.filled(0)[off], table.to_numpy()[off])
    assert shown.mask[~off].all()
    assert (shown.mask[off] == (table.to_numpy()[off] == 0)).all()
    short = [name if len(name) <= 16 else f"{name[:9]}…{name[-6:]}" for name in table.index]
    assert [tick.get_text() for tick in ax.get_yticklabels()] == short
    assert [tick.get_text() for tick in ax.get_xticklabels()] == short
    assert drawn(ax).startswith(b"\x89PNG")
    assert overlapping(ax.get_yticklabels()) == []


@pytest.mark.parametrize("n_genes", [3, 14, 40])
def test_network_draws_the_strongest_pairs(n_genes):
    adata = run_of(3)
    ax = pl.gene_attention(adata, kind="network", n_genes=n_genes, n_pairs=10)
    table = get.attention_matrix(adata, n_genes=n_genes)
    weight = table.to_numpy(copy=True)
    np.fill_diagonal(weight, 0)
    strongest = np.sort(weight[weight > 0])[-10:]
    arrows = [patch for patch in ax.patches if isinstance(patch, FancyArrowPatch)]
    assert len(arrows) == len(strongest)
    # The last is drawn on top: the strongest pair, from its source to its target.
    source, target = np.unravel_index(weight.argmax(), weight.shape)
    places = ax.collections[0].get_offsets()
    np.testing.assert_allclose(arrows[-1]._posA_posB, [places[source], places[target]])
    widths = [arrow.get_linewidth() for arrow in arrows]
    assert widths == sorted(widths)
    np.testing.assert_allclose(np.array(widths) - 0.3, 1.7 * strongest / strongest.max(), rtol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(places, axis=1), 1)
    assert len(ax.texts) == n_genes
    sizes = ax.collections[0].get_sizes()
    assert np.argmax(sizes) == np.argmax(weight.sum(0))
    assert drawn(ax).startswith(b"\x89PNG")


def test_a_pair_with_attention_both_ways_has_two_arrows_inside_the_circle():
    adata = run_of(3)
    ax = pl.gene_attention(adata, kind="network", n_genes=10, n_pairs=90)
    for arrow in ax.patches:
        path = arrow.get_connectionstyle()(*arrow._posA_posB)
        middle = path.interpolated(20).vertices
        assert np.linalg.norm(middle, axis=1).max() < 1.1


def test_errors(annotated):
    with pytest.raises(ValueError, match='kind="heatmap" or kind="network"'):
        pl.gene_attention(annotated, kind="circle")
    del annotated.varp["scbignn_attention"]
    with pytest.raises(KeyError, match="tl.annotate without a reference"):
        pl.gene_attention(annotated)
    assert plt.get_fignums() == []


@pytest.mark.parametrize("kind", ["heatmap", "network"])
def test_a_real_run_on_given_axes(annotated, contents, kind):
    before = contents(annotated)
    figure, (left, right) = plt.subplots(ncols=2)
    assert pl.gene_attention(annotated, kind=kind, ax=right) is right
    assert plt.get_fignums() == [figure.number]
    assert not left.has_data()
    assert contents(annotated) == before
