import doctest
import inspect

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from pictures import LONG, drawn, overlapping

from scbignn import pl

KS = [1, 3, 5, 10, 20, 50]


@pytest.fixture
def table():
    rng = np.random.default_rng(0)
    rows = [(name, k, 0.9 + 0.05 * rng.random()) for name in ("a", "$b_$") for k in reversed(KS) for _ in range(5)]
    return pd.DataFrame(rows, columns=["data", "n_neighbors", "accuracy"])


def test_mean_and_deviation_of_the_folds(table):
    rows = table[table["data"] == "a"]
    ax = pl.n_neighbors(rows)
    line, caps, (bars,) = ax.containers[0]
    folds = [rows[rows["n_neighbors"] == k]["accuracy"].to_numpy() for k in KS]
    np.testing.assert_array_equal(line.get_xdata(), KS)
    np.testing.assert_allclose(line.get_ydata(), [fold.mean() for fold in folds])
    spread = [segment[1, 1] - segment[0, 1] for segment in bars.get_segments()]
    np.testing.assert_allclose(spread, [2 * fold.std(ddof=1) for fold in folds])
    assert [tick.get_text() for tick in ax.get_xticklabels()] == list(map(str, KS))
    assert ax.get_xscale() == "log"
    assert ax.get_legend() is None
    assert drawn(ax).startswith(b"\x89PNG")


def test_a_line_for_each_data_set(table):
    ax = pl.n_neighbors(table, by="data")
    assert len(ax.containers) == 2
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["a", r"\$b_\$"]
    first, second = (container[0] for container in ax.containers)
    assert (first.get_color(), first.get_marker()) != (second.get_color(), second.get_marker())
    assert drawn(ax).startswith(b"\x89PNG")


def test_twenty_lines_differ():
    rows = [(f"set {number}", k, number / 20) for number in range(20) for k in KS]
    ax = pl.n_neighbors(pd.DataFrame(rows, columns=["by", "n_neighbors", "accuracy"]), by="by")
    looks = {(container[0].get_color(), container[0].get_marker()) for container in ax.containers}
    assert len(looks) == 20


@pytest.mark.parametrize("n_lines", [3, 14, 40])
@pytest.mark.parametrize("width", [None, 3.3])
def test_long_names_are_listed_whole(n_lines, width):
    names = [f"{LONG} {number}" if number % 2 else f"set {number}" for number in range(n_lines)]
    rows = [(name, k, number / 20) for number, name in enumerate(names) for k in KS]
    ax = None if width is None else plt.subplots(figsize=(width, 9), layout="constrained")[1]
    ax = pl.n_neighbors(pd.DataFrame(rows, columns=["by", "n_neighbors", "accuracy"]), by="by", ax=ax)
    assert drawn(ax).startswith(b"\x89PNG")
    assert overlapping(ax.get_legend().get_texts(), neighbors=False) == []
    assert ax.get_window_extent().width / ax.figure.dpi > 2.2


def test_single_runs_have_no_bars_and_columns_have_names_of_choice():
    table = pd.DataFrame({"k": [5, 1], "macro_f1": [0.5, 0.4]})
    ax = pl.n_neighbors(table, x="k", y="macro_f1")
    assert ax.containers[0][2] == ()
    assert ax.containers[0][0].get_xydata().tolist() == [[1, 0.4], [5, 0.5]]
    assert ax.get_ylabel() == "macro f1"


def test_given_axes_and_errors(table):
    figure, (left, right) = plt.subplots(ncols=2)
    assert pl.n_neighbors(table, by="data", ax=right) is right
    assert not left.has_data()
    with pytest.raises(TypeError, match="of type list"):
        pl.n_neighbors([1, 2])
    with pytest.raises(KeyError, match="no column 'k'"):
        pl.n_neighbors(table, x="k")
    with pytest.raises(ValueError, match="k of 1 or more"):
        pl.n_neighbors(table.assign(n_neighbors=0))
    with pytest.raises(ValueError, match="k of 1 or more"):
        pl.n_neighbors(table.head(0))
    assert plt.get_fignums() == [figure.number]


def test_example_in_the_docstring():
    parser, runner = doctest.DocTestParser(), doctest.DocTestRunner()
    example = parser.get_doctest(inspect.getdoc(pl.n_neighbors), {}, "n_neighbors", None, None)
    runner.run(example)
    assert runner.summarize(verbose=False) == (0, len(example.examples))
    assert example.examples
