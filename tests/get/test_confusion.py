import itertools
from contextlib import nullcontext

import numpy as np
import pandas as pd
import pytest
from pictures import run_of
from sklearn.metrics import confusion_matrix

from scbignn import get


def test_columns_of_a_table_may_be_read_only():
    """As they are from pandas 3 on."""
    adata = run_of(5)
    expected = get.confusion(adata, "truth", sort=True)
    is_default = int(pd.__version__.partition(".")[0]) >= 3
    with nullcontext() if is_default else pd.option_context("mode.copy_on_write", True):
        pd.testing.assert_frame_equal(get.confusion(adata, "truth", sort=True), expected)


def test_names_of_cells_may_occur_twice():
    adata = run_of(3)
    expected = get.confusion(adata, "truth")
    adata.obs_names = ["cell"] * adata.n_obs
    pd.testing.assert_frame_equal(get.confusion(adata, "truth"), expected)


@pytest.mark.parametrize("n_labels", [3, 14, 40])
def test_counts_agree_with_scikit_learn(n_labels):
    adata = run_of(n_labels)
    table = get.confusion(adata, "truth")
    names = sorted({*table.index, *table.columns})
    expected = pd.DataFrame(
        confusion_matrix(adata.obs["truth"].astype(str), adata.obs["scbignn"].astype(str), labels=names), names, names
    )
    pd.testing.assert_frame_equal(
        table.rename_axis(index=None, columns=None),
        expected.loc[list(table.index), list(table.columns)],
        check_dtype=False,
    )
    assert (table.index.name, table.columns.name) == ("given", "predicted")
    assert table.to_numpy().sum() == adata.n_obs
    assert set(table.index) == set(adata.obs["truth"].cat.categories)
    assert table.columns[-1] == "Unknown"
    assert table.index[-1] == f"type {n_labels - 1}" if n_labels > 3 else True  # it has no cells
    shared = [name for name in table.columns if name in table.index]
    assert list(table.index) == shared  # one order for both


def test_shares_of_the_row():
    table = get.confusion(run_of(5), "truth", normalize=True)
    np.testing.assert_allclose(table.iloc[:-1].sum(axis=1), 1)
    assert table.iloc[-1].isna().all()


def test_confused_labels_stand_side_by_side():
    """Against all orders of six labels: none brings confused labels closer."""
    rng = np.random.default_rng(0)
    adata = run_of(7, n_cells=2000, n_rejected=0)
    partner = {0: 4, 4: 0, 1: 3, 3: 1, 2: 5, 5: 2}
    codes = adata.obs["truth"].cat.codes.to_numpy()
    guess = np.where(rng.random(2000) < 0.4, [partner[code] for code in codes], codes)
    adata.obs["scbignn"] = pd.Categorical.from_codes(guess, dtype=adata.obs["scbignn"].dtype)
    table = get.confusion(adata, "truth").iloc[:6, :6]

    def spread(order):
        share = table.loc[list(order), list(order)].to_numpy()
        return (share * np.abs(np.subtract.outer(range(6), range(6)))).sum()

    assert spread(table.index) == min(map(spread, itertools.permutations(table.index)))
    unsorted = get.confusion(adata, "truth", sort=False)
    assert list(unsorted.index) == list(adata.obs["truth"].cat.categories)


def test_unlabelled_cells_are_left_out():
    adata = run_of(4)
    truth = adata.obs["truth"].astype(object)
    truth.iloc[:50] = "Unknown"
    truth.iloc[50:60] = np.nan
    adata.obs["truth"] = truth
    assert get.confusion(adata, "truth").to_numpy().sum() == adata.n_obs - 60
    assert "Unknown" not in get.confusion(adata, "truth").index
    kept = get.confusion(adata, "truth", unlabeled_category=None)
    assert kept.to_numpy().sum() == adata.n_obs - 10
    assert kept.index[-1] == kept.columns[-1] == "Unknown"


def test_labels_of_another_vocabulary():
    adata = run_of(4)
    adata.obs["other"] = adata.obs["truth"].astype(str).map(lambda name: f"{name}!").astype("category")
    table = get.confusion(adata, "other")
    assert table.to_numpy().sum() == adata.n_obs
    assert set(table.index) == set(adata.obs["other"].cat.categories)


def test_numbers_as_labels():
    adata = run_of(4)
    adata.obs["truth"] = adata.obs["truth"].cat.codes + 8
    assert get.confusion(adata, "truth", sort=False).index.tolist() == ["8", "9", "10"]
