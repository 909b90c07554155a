import doctest
import inspect
import itertools

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from anndata import AnnData
from matplotlib.patches import Polygon
from pictures import LONG, drawn, overlapping

from scbignn import pl
from scbignn.pl._venn_shapes import regions


def scores(n_runs: int, n_genes: int = 200, seed: int = 0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    common = rng.gamma(1, 1, n_genes)
    names = [f"fold {number}" for number in range(n_runs)]
    names[1] = LONG
    runs = {name: common + rng.gamma(1, 0.5, n_genes) for name in names}
    return pd.DataFrame(runs, index=[f"gene_{number}" for number in range(n_genes)])


def sizes(table: pd.DataFrame, n_top: int) -> dict[tuple[bool, ...], int]:
    """By brute force: the genes in just these lists."""
    sets = [set(table[run].nlargest(n_top).index) for run in table]
    found = {}
    for member in itertools.product([False, True], repeat=len(sets)):
        if any(member):
            own = set.intersection(*(genes for genes, is_in in zip(sets, member, strict=True) if is_in))
            others = set().union(*(genes for genes, is_in in zip(sets, member, strict=True) if not is_in))
            found[member] = len(own - others)
    return found


@pytest.mark.parametrize("n_runs", [2, 3, 4, 5, 6])
def test_venn_counts_genes_in_just_these_lists(n_runs):
    table = scores(n_runs)
    ax = pl.gene_importance_venn(table, n_top=50)
    assert len([patch for patch in ax.patches if isinstance(patch, Polygon)]) == n_runs
    written = {(round(t.get_position()[0], 6), round(t.get_position()[1], 6)): t.get_text() for t in ax.texts}
    for member, n_genes in sizes(table, 50).items():
        place = regions(n_runs)[member]
        assert written[round(place.x, 6), round(place.y, 6)] == str(n_genes)
    names = [text for text in ax.texts if not text.get_text().isdigit()]
    assert [text.get_text() for text in names] == list("ABCDEF"[:n_runs])  # one is too long to stand at its set
    listed = [text.get_text() for text in ax.get_legend().get_texts()]
    assert listed[0] == "A  fold 0"
    assert listed[1].startswith("B  central memory CD8-")
    assert len(listed) == n_runs
    colors = [patch.get_edgecolor() for patch in ax.patches]
    assert len(set(colors)) == n_runs
    np.testing.assert_allclose([text.get_color() for text in names], 0.75 * np.array(colors)[:, :3])
    assert drawn(ax).startswith(b"\x89PNG")
    assert overlapping(ax.texts, neighbors=False) == []


@pytest.mark.parametrize("n_runs", [7, 14, 40])
def test_upset_beyond_six(n_runs):
    table = scores(n_runs)
    ax = pl.gene_importance_venn(table, n_top=20, max_bars=15)
    sets = [set(table[run].nlargest(20).index) for run in table]
    everyone = set().union(*sets)
    count = pd.Series([tuple(gene in own for own in sets) for gene in sorted(everyone)]).value_counts()
    heights = np.array([bar.get_height() for bar in ax.containers[0]])
    assert len(heights) == min(15, len(count))
    numbers = [int(text.get_text()) for text in ax.texts]
    assert numbers == sorted(count, reverse=True)[:15]
    np.testing.assert_allclose(heights / heights.max(), np.array(numbers) / max(numbers))
    # Black dots of a column are the lists of its combination.
    rows = list(ax.get_yticks())
    black = ax.collections[-1].get_offsets()
    for bar, n_genes in enumerate(numbers):
        member = tuple(row in black[black[:, 0] == bar][:, 1].tolist() for row in rows)
        assert count[member] == n_genes
    assert [tick.get_text() for tick in ax.get_yticklabels()][0] == "fold 0 (20)"
    left_out = len(everyone) - sum(numbers)
    assert ax.get_xlabel() == (f"{left_out} more genes in {len(count) - 15} smaller combinations" if left_out else "")
    assert drawn(ax).startswith(b"\x89PNG")
    assert overlapping(ax.get_yticklabels()) == []


def test_lists_and_annotated_data():
    lists = {"a": ["G1", "G2", "G3"], "b": ("G2", "G3", "G1"), "$c_$": ["G9", "G1", "G2"]}
    ax = pl.gene_importance_venn(lists, n_top=2)
    numbers = sorted(int(text.get_text()) for text in ax.texts if text.get_text().isdigit())
    assert numbers == [0, 0, 0, 1, 1, 1, 1]
    assert drawn(ax)
    assert [text.get_text() for text in ax.texts if not text.get_text().isdigit()] == ["a", "b", "$c_$"]
    assert ax.get_legend() is None
    adata = AnnData(np.ones((2, 2), dtype=np.float32))
    adata.uns["mine"] = {"gene_importance": scores(5)}
    one = pl.gene_importance_venn(adata, key="mine", n_top=30)
    other = pl.gene_importance_venn(scores(5), n_top=30)
    assert [text.get_text() for text in one.texts] == [text.get_text() for text in other.texts]


def test_on_given_axes():
    figure, (left, right) = plt.subplots(ncols=2, figsize=(8, 4))
    assert pl.gene_importance_venn(scores(5), ax=right) is right
    assert pl.gene_importance_venn(scores(8), ax=left) is left
    assert plt.get_fignums() == [figure.number]


def test_one_list_is_not_enough():
    with pytest.raises(ValueError, match="holds 1 run"):
        pl.gene_importance_venn({"a": ["G1"]}, n_top=1)
    assert plt.get_fignums() == []


def test_example_in_the_docstring():
    parser, runner = doctest.DocTestParser(), doctest.DocTestRunner()
    example = parser.get_doctest(inspect.getdoc(pl.gene_importance_venn), {}, "gene_importance_venn", None, None)
    runner.run(example)
    assert runner.summarize(verbose=False) == (0, len(example.examples))
    assert example.examples
