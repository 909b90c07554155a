import matplotlib.pyplot as plt
import numpy as np
import pytest
from pictures import drawn, overlapping, run_of

from scbignn import pl
from scbignn.pl._style import apart, fit_names, plain


@pytest.mark.parametrize("seed", range(5))
def test_apart_keeps_order_and_distance_and_is_closest(seed):
    rng = np.random.default_rng(seed)
    positions, gap = rng.random(12), 0.06
    moved = apart(positions, gap)
    assert (np.argsort(moved) == np.argsort(positions)).all()
    assert np.diff(np.sort(moved)).min() >= gap - 1e-12
    # The least-squares optimum: no feasible neighbour of it is closer.
    cost = np.square(moved - positions).sum()
    for _ in range(200):
        other = np.sort(moved) + rng.normal(0, 0.02, 12)
        if np.diff(other).min() >= gap:
            assert np.square(other - np.sort(positions)).sum() >= cost


def test_apart_stays_within_limits():
    rng = np.random.default_rng(0)
    positions, gap = np.r_[np.full(8, 0.01), 0.5, 0.99, 1.0], 0.06
    moved = apart(positions, gap, low=0, high=1)
    assert moved.min() >= 0
    assert moved.max() <= 1
    assert np.diff(moved).min() >= gap - 1e-12
    cost = np.square(moved - positions).sum()
    for _ in range(500):
        other = moved + rng.normal(0, 0.02, len(moved))
        if np.diff(other).min() >= gap and other.min() >= 0 and other.max() <= 1:
            assert np.square(other - positions).sum() >= cost


def test_apart_leaves_alone_what_is_apart():
    positions = np.array([0.9, 0.1, 0.5])
    np.testing.assert_allclose(apart(positions, 0.2), positions)
    np.testing.assert_allclose(apart(np.array([0.5, 0.5]), 0.2), [0.4, 0.6])
    assert apart(np.empty(0), 1).shape == (0,)


def test_plain_names_are_no_maths():
    assert plain("$a_$ b") == r"\$a_\$ b"


@pytest.mark.parametrize("draw", ["confusion", "attention", "dots"])
@pytest.mark.parametrize("n_labels", [14, 40])
def test_names_of_a_table_in_one_column_of_a_paper_do_not_meet(draw, n_labels):
    adata = run_of(n_labels)
    ax = plt.subplots(figsize=(3.3, 6), layout="constrained")[1]
    if draw == "confusion":
        pl.confusion(adata, "truth", ax=ax)
    elif draw == "attention":
        pl.gene_attention(adata, n_genes=n_labels, ax=ax)
    else:
        pl.gene_importance(adata, per_label=True, n_genes=1, ax=ax)
    assert drawn(ax).startswith(b"\x89PNG")
    assert overlapping(ax.get_xticklabels()) == []
    assert overlapping(ax.get_yticklabels()) == []


def test_a_name_that_begins_with_a_line_is_in_the_legend():
    _, ax = plt.subplots()
    ax.plot([0, 1], label=plain("_T$1$"))
    assert drawn(ax).startswith(b"\x89PNG")
    assert [text.get_text() for text in ax.legend().get_texts()] == ["\u200b_T\\$1\\$"]


@pytest.mark.parametrize("name", ["confidence", "gene_importance", "homophily"])
def test_names_on_small_axes_do_not_meet(name):
    adata = run_of(14)
    _, axes = plt.subplots(2, 2, figsize=(7, 3))
    ax = getattr(pl, name)(adata, ax=axes[1, 0])
    assert drawn(ax).startswith(b"\x89PNG")
    assert overlapping(ax.get_yticklabels()) == []
    assert ax.get_xticklabels()[0].get_fontsize() > 5


def test_names_with_room_stay_as_large_as_they_are():
    figure, axes = plt.subplots(2, 2, figsize=(4, 4))
    axes[0, 0].set_xticks(range(3), ["a", "b", "c"], fontsize=6)
    axes[0, 0].set(xlim=(-0.5, 2.5), ylim=(-0.5, 2.5))
    room = fit_names(axes[0, 0])
    assert room == pytest.approx(72 * axes[0, 0].get_window_extent().height / figure.dpi / 3)
    assert {tick.get_fontsize() for tick in axes[0, 0].get_xticklabels()} == {6}
