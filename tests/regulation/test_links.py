import numpy as np
import pytest
import torch

from scbignn._training import progress_bar
from scbignn.regulation import (
    SPLITS,
    Config,
    _links,
    deal,
    describe_genes,
    expression_encoder,
    link_scores,
    score_links,
    train_of,
)
from scbignn.regulation._links import combine

FAST = Config(n_trees=10, n_epochs=4, width=8, n_components=4, penalties=(10.0, np.inf), n_inner_folds=2)


def problem(seed=0):
    """Genes follow one of two programs, and TFs regulate those of their own."""
    rng = np.random.default_rng(seed)
    program = np.arange(50) % 2
    x = rng.normal(size=(60, 2))[:, program] + 0.7 * rng.normal(size=(60, 50))
    tfs = np.arange(10)
    known = rng.random((10, 50)) < np.where(program[:10, None] == program, 0.5, 0.05)
    known[np.arange(10), tfs] = False
    return x, known, tfs


def links(known, shown, *, split="edge", config=FAST, seed=0):
    x, _, tfs = problem()
    genes = describe_genes(x, tfs, expression_encoder(4), rng=np.random.default_rng(0))
    common = {"symmetric": False, "device": torch.device("cpu"), "engine": "torch"}
    with progress_bar(1) as progress:
        return score_links(known, shown, tfs, genes, config, split, seed=seed, progress=progress, **common)


def split_of(split):
    _, known, tfs = problem()
    fold = deal(known, tfs, split, 2, np.random.default_rng(0))
    return known, train_of(fold, 0, tfs, split, 2, symmetric=False), fold == 0


@pytest.mark.parametrize("split", SPLITS)
def test_hidden_edges_are_not_read(split):
    known, shown, _ = split_of(split)
    before, after = links(known, shown, split=split), links(known ^ ~shown, shown, split=split)
    np.testing.assert_array_equal(after.logits, before.logits)
    np.testing.assert_array_equal(after.degree, before.degree)
    np.testing.assert_array_equal(after.network, before.network)


def test_members_are_averaged_and_seeds_decide():
    known, shown, _ = split_of("edge")
    found = links(known, shown)
    assert list(found.members) == ["ridge", "slopes", "trees", "gnn"]
    np.testing.assert_allclose(found.logits, combine(found.members, found.tree_share))
    tried = {row["share"]: row["auprc"] for row in found.history if "share" in row}
    assert len(tried) == 4
    assert tried[found.tree_share] == max(tried.values())
    np.testing.assert_array_equal(links(known, shown).logits, found.logits)
    assert (links(known, shown, seed=1).logits != found.logits).any()


@pytest.mark.parametrize("split", ["tf", "both"])
def test_where_tfs_are_held_out_the_linear_member_is_alone(split):
    known, shown, _ = split_of(split)
    assert list(links(known, shown, split=split).members) == ["ridge"]


def test_expression_helps_where_it_tells():
    known, shown, asked = split_of("target")
    found = links(known, shown, split="target", config=Config(members=("ridge",), n_components=4))
    figures = [link_scores(known, scores, asked)["auprc"] for scores in (found.logits, found.degree, found.network)]
    assert figures[0] > max(figures[1:]) + 0.2


def test_an_infinite_penalty_leaves_the_degree_baseline():
    known, shown, _ = split_of("edge")
    found = links(known, shown, config=Config(members=("ridge", "slopes"), penalties=(np.inf,), n_components=4))
    np.testing.assert_array_equal(found.logits, np.clip(found.degree, -8, 8))


def test_without_an_offset_it_starts_from_the_share_of_edges():
    known, shown, _ = split_of("edge")
    found = links(known, shown, config=Config(members=("ridge",), penalties=(np.inf,), offset=False, n_components=4))
    rate = known[shown].mean()
    np.testing.assert_allclose(found.logits, np.log(rate / (1 - rate)))
    assert np.ptp(found.degree) > 0.1


def test_one_tf_and_few_edges_do():
    _, known, _ = problem()
    known = known[:1]
    shown = np.ones(known.shape, dtype=bool)
    shown[0, :20] = False
    x, _, tfs = problem()
    genes = describe_genes(x, tfs[:1], expression_encoder(4), rng=np.random.default_rng(0))
    common = {"symmetric": False, "device": torch.device("cpu"), "engine": "torch", "seed": 0}
    with progress_bar(1) as progress:
        found = score_links(known, shown, tfs[:1], genes, FAST, "edge", progress=progress, **common)
    assert np.isfinite(found.logits).all()


def test_trees_have_a_share_of_their_own_and_none_is_too_sure():
    parts = {
        name: np.array([value]) for name, value in {"ridge": 1.0, "slopes": 3.0, "trees": 5.0, "gnn": 99.0}.items()
    }
    assert combine(parts, 1 / 3) == pytest.approx((1 + 3 + 5 + 8) / 4)  # all alike
    assert combine(parts, 0.8) == pytest.approx((3 * (0.2 * 2 + 0.8 * 5) + 8) / 4)
    without_ridge = {name: parts[name] for name in ("slopes", "trees", "gnn")}
    assert combine(without_ridge, 0.8) == pytest.approx((2 * (0.2 * 3 + 0.8 * 5) + 8) / 3)
    assert combine({"trees": parts["trees"], "gnn": parts["gnn"]}, 0.8) == pytest.approx((5 + 8) / 2)
    assert combine({"gnn": -parts["gnn"]}, 0.8) == -8


def training(n=400):
    rng = np.random.default_rng(0)
    x = np.column_stack([np.zeros(n), rng.normal(size=n)])
    y = (rng.random(n) < 1 / (1 + np.exp(-3 * x[:, 1]))).astype(float)
    return x, _links._Training(y, np.arange(n) % 4, np.arange(n) % 10, np.arange(n) // 10)


def test_trees_score_training_pairs_that_they_did_not_see():
    x, pairs = training()
    x_all = x.reshape(10, 40, 2)
    config = Config(n_trees=20, min_leaf=5)
    found = _links._trees(x, x_all, pairs, config, 0, held_out=True)
    assert pairs.score(found.out_of_fold) > 0.8
    first = pairs.fold == 0
    turned = pairs._replace(y=np.where(first, 1 - pairs.y, pairs.y))
    again = _links._trees(x, x_all, turned, config, 0, held_out=True)
    np.testing.assert_array_equal(again.out_of_fold[first], found.out_of_fold[first])
    assert (again.out_of_fold[~first] != found.out_of_fold[~first]).any()
    assert (again.logits != found.logits).any()
    without = _links._trees(x, x_all, pairs, config, 0, held_out=False)
    assert np.isnan(without.out_of_fold).all()
    np.testing.assert_array_equal(without.logits, found.logits)


def test_so_many_folds_are_scored_as_give_enough_pairs(monkeypatch):
    x, pairs = training()
    monkeypatch.setattr(_links, "_ENOUGH_PAIRS", 150)
    found = _links._trees(x, x.reshape(10, 40, 2), pairs, Config(n_trees=5, min_leaf=5), 0, held_out=True)
    np.testing.assert_array_equal(np.isfinite(found.out_of_fold), pairs.fold < 2)


@pytest.mark.parametrize("better", ["linear", "trees"])
def test_the_share_of_trees_is_what_hidden_folds_say(better):
    x, pairs = training()
    noise = np.random.default_rng(1).normal(size=len(x))
    values = {"linear": noise, "trees": noise} | {better: 3 * x[:, 1]}
    linear, trees = (_links._Member(np.zeros((1, 1)), values[name]) for name in ("linear", "trees"))
    share, tried = _links._best_share({"ridge": linear, "trees": trees}, pairs)
    assert share == (5 / 6 if better == "trees" else 1 / 3)
    assert max(tried, key=lambda row: row["auprc"])["share"] == share
