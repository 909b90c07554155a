from itertools import combinations

import numpy as np
import pandas as pd
import pytest
from scipy.stats import spearmanr

from scbignn._agreement import agreement, mean_agreement


@pytest.fixture
def scores():
    """Three runs of 40 genes, of which each run has a panel of 30."""
    rng = np.random.default_rng(0)
    table = pd.DataFrame(rng.normal(size=(40, 3)) + rng.normal(size=(40, 1)), index=[f"g{n}" for n in range(40)])
    for run in range(3):
        table.iloc[rng.permutation(40)[:10], run] = np.nan
    return table


def test_by_sets_and_scipy(scores):
    found = agreement(scores, 8)
    assert list(zip(found["run"], found["other"], strict=True)) == [("0", "1"), ("0", "2"), ("1", "2")]
    for row, (one, other) in zip(found.to_dict("records"), combinations(range(3), 2), strict=True):
        both = scores[[one, other]].dropna()
        assert row["n_both"] == len(both)
        assert row["panel"] == len(both) / 30
        assert row["spearman"] == pytest.approx(spearmanr(both[one], both[other]).statistic)
        for name, table in (("overlap", scores), ("overlap_of_both", both)):
            first, second = (set(table[run].nlargest(8).index) for run in (one, other))
            assert row[name] == len(first & second) / 8
        assert row["by_chance"] == 8 / len(both)


def test_runs_that_differ_by_their_panel_alone(scores):
    same = scores.copy()
    for run in (1, 2):
        same[run] = scores[0].fillna(0.0).where(scores[run].notna())
    found = agreement(same.iloc[:, 1:], 8).iloc[0]
    assert found["overlap_of_both"] == 1.0
    assert found["spearman"] == pytest.approx(1.0)
    assert found["overlap"] < 1.0
    assert found["panel"] < 1.0


def test_orders_that_have_nothing_to_do_with_each_other_agree_by_chance():
    rng = np.random.default_rng(0)
    found = agreement(pd.DataFrame(rng.normal(size=(200, 30))), 50)
    assert found["overlap_of_both"].mean() == pytest.approx(0.25, abs=0.02)
    assert (found["by_chance"] == 0.25).all()
    assert found["spearman"].mean() == pytest.approx(0, abs=0.02)


def test_short_panels_and_none_in_common():
    scores = pd.DataFrame({"a": [3.0, 2, 1, np.nan, np.nan], "b": [3.0, 1, np.nan, 2, np.nan]})
    scores["c"] = [np.nan] * 4 + [1.0]
    found = agreement(scores, 50).set_index(["run", "other"])
    assert found.loc[("a", "b"), "overlap"] == 2 / 3
    assert found.loc[("a", "b"), "overlap_of_both"] == 1
    assert np.isnan(found.loc[("a", "b"), "spearman"])  # of two genes
    nothing = found.loc[("a", "c")]
    assert (nothing["n_both"], nothing["panel"], nothing["overlap"]) == (0, 0, 0)
    assert nothing[["spearman", "overlap_of_both", "by_chance"]].isna().all()


def test_mean_over_pairs(scores):
    found = mean_agreement({"attention": scores, "attribution": -scores}, 8)
    assert found.index.tolist() == ["attention", "attribution"]
    for name, table in (("attention", scores), ("attribution", -scores)):
        pairs = agreement(table, 8)
        assert found.columns.tolist() == pairs.columns[2:].tolist()
        np.testing.assert_allclose(found.loc[name], pairs.iloc[:, 2:].mean())
    assert set(found.dtypes) == {np.dtype(float)}
