"""Scores of hidden pairs, from the pairs that are shown and from expression."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np
import torch
from sklearn.ensemble import HistGradientBoostingClassifier

from ..graph import Engine
from ._config import Config
from ._degree import fit_degree
from ._encoders import Genes
from ._features import expression_features, network_features
from ._gnn import Part, fit_gnn
from ._linear import ridge_logistic, ridge_logistics
from ._metrics import average_precision
from ._splits import Split, inner_folds

#: Log-odds stay within this before they are averaged.
_MAX_LOGIT = 8.0
_LINEAR = ("ridge", "slopes")
#: What boosted trees may count of what they and the linear members say together.
_TREE_SHARES = (1 / 3, 1 / 2, 2 / 3, 5 / 6)
#: Training pairs that are enough to choose among them.
_ENOUGH_PAIRS = 20_000


class Links(NamedTuple):
    """Log-odds of every pair, (n_tfs, n_genes) float64."""

    logits: np.ndarray
    """What the members say together."""
    degree: np.ndarray
    """The degree baseline."""
    network: np.ndarray
    """A logistic regression on the network alone, without expression."""
    ridge: np.ndarray
    """The same with expression: the two differ by nothing else."""
    members: dict[str, np.ndarray]
    """What is averaged."""
    tree_share: float
    """What trees count of what they and the linear members say together."""
    history: list[dict[str, object]]
    """A row a choice or epoch: `member`, and what there is of `penalty`, `share`, `auprc`, `epoch`, `loss`."""


class _Training(NamedTuple):
    """The n training pairs."""

    y: np.ndarray
    """(n,) float64, 1 for an edge."""
    fold: np.ndarray
    """(n,) which inner fold holds the pair."""
    tf: np.ndarray
    gene: np.ndarray
    """(n,) rows and columns of the pairs."""

    def score(self, logits: np.ndarray) -> float:
        """Average precision, in the mean over folds; 0 where no fold has an edge."""
        numbers = [number for number in np.unique(self.fold) if self.y[self.fold == number].any()]
        scores = [average_precision(self.y[self.fold == n] > 0, logits[self.fold == n]) for n in numbers]
        return float(np.mean(scores)) if scores else 0.0


class _Member(NamedTuple):
    """A corrected baseline."""

    logits: np.ndarray
    """(n_tfs, n_genes) of every pair."""
    out_of_fold: np.ndarray
    """(n,) of the training pairs, each by a fit without its fold; NaN where there was none."""


class _Seen(NamedTuple):
    """What is computed from the pairs that are shown."""

    offset: np.ndarray
    degree: np.ndarray
    network: np.ndarray
    """(n_tfs, n_genes, F) features."""
    expression: np.ndarray

    def at(self, place: tuple[np.ndarray, ...]) -> _Seen:
        """Of some pairs alone, given by rows and columns: (n,), (n,), (n, F), (n, F')."""
        return _Seen(*(part[place] for part in self))

    def everything(self) -> np.ndarray:
        """The features of both kinds."""
        return np.concatenate([self.network, self.expression], axis=-1)


def score_links(
    known: np.ndarray,
    shown: np.ndarray,
    tfs: np.ndarray,
    genes: Genes,
    config: Config,
    split: Split,
    *,
    symmetric: bool,
    device: torch.device,
    engine: Engine,
    seed: int,
    progress: object,
) -> Links:
    """Learn from the pairs that are shown, and score all.

    Everything that a member learns from about a training pair was computed with a fold of the training pairs hidden that
    holds it, dealt as `split` says; hidden pairs are then scored with what all training pairs say. Edges outside
    `shown` are never read.

    Parameters
    ----------
    known
        Edges, (n_tfs, n_genes) bool.
    shown
        Pairs to learn from, (n_tfs, n_genes) bool.
    tfs
        The gene that each TF is, (n_tfs,).
    symmetric
        Whether edges mean the same in both directions.
    """
    known = known & shown
    rng = np.random.default_rng(seed)

    def look(pairs: np.ndarray) -> _Seen:
        degree = fit_degree(known, pairs).logits()
        if config.offset:
            offset = degree
        else:
            rate = np.clip((known & pairs).sum() / max(pairs.sum(), 1), 1e-6, 1 - 1e-6)
            offset = np.full(known.shape, np.log(rate / (1 - rate)))
        network = network_features(known, pairs, degree, tfs, symmetric=symmetric).values
        return _Seen(offset, degree, network, expression_features(known, pairs, degree, genes, split).values)

    folds = inner_folds(shown, known, tfs, split, config.n_inner_folds, rng, symmetric=symmetric)
    places = [np.nonzero(asked) for _, asked in folds]
    # Of each training pair what was computed while its fold was hidden.
    seen = [look(inside).at(place) for (inside, _), place in zip(folds, places, strict=True)]
    final = look(shown)
    tf, gene = (np.concatenate([place[axis] for place in places]) for axis in (0, 1))
    fold = np.repeat(np.arange(len(folds)), [len(place[0]) for place in places])
    pairs = _Training(known[tf, gene].astype(np.float64), fold, tf, gene)

    def of_training(pick: Callable[[_Seen], np.ndarray]) -> np.ndarray:
        return np.concatenate([pick(part) for part in seen])

    history: list[dict[str, object]] = []
    baseline = _Member(final.offset, of_training(lambda part: part.offset))
    everything, everything_final = of_training(_Seen.everything), final.everything()
    network = _ridge(of_training(lambda part: part.network), final.network, pairs, baseline, config)
    ridge = _ridge(everything, everything_final, pairs, baseline, config)
    history += [{"member": "network", **row} for row in network.tried]
    history += [{"member": "ridge", **row} for row in ridge.tried]
    about = np.column_stack([genes.statistics, genes.vectors])
    members: dict[str, np.ndarray] = {}
    linear: dict[str, _Member] = {}
    tree_share = _TREE_SHARES[0]
    held_out_tfs = split in ("tf", "both") and config.offset
    if held_out_tfs or "ridge" in config.members:
        linear["ridge"] = ridge.member
    if "slopes" in config.members and not held_out_tfs:
        slopes = _slopes(about, pairs, ridge.member, config)
        linear["slopes"] = slopes.member
        history += [{"member": "slopes", **row} for row in slopes.tried]
    members |= {name: member.logits for name, member in linear.items()}
    if "trees" in config.members and not held_out_tfs:
        x = np.column_stack([baseline.out_of_fold, everything])
        x_all = np.concatenate([final.offset[:, :, None], everything_final], axis=-1)
        trees = _trees(x, x_all, pairs, config, int(rng.integers(2**31)), held_out=bool(linear))
        members["trees"] = trees.logits
        if linear:
            tree_share, tried = _best_share(linear | {"trees": trees}, pairs)
            history += [{"member": "trees", **row} for row in tried]
    if "gnn" in config.members and not held_out_tfs:
        start = _halfway(baseline, ridge.member) if config.offset else baseline
        members["gnn"], epochs = fit_gnn(
            [
                Part(known & inside, asked, _at(start.out_of_fold[fold == number], places[number], known.shape))
                for number, (inside, asked) in enumerate(folds)
            ],
            known,
            Part(known, shown, start.logits),
            about,
            tfs,
            config,
            device=device,
            engine=engine,
            seed=int(rng.integers(2**31)),
            progress=progress,
            cells=genes.cells,
        )
        history += [{"member": "gnn", **epoch} for epoch in epochs]
    logits = combine(members, tree_share)
    return Links(logits, final.degree, network.member.logits, ridge.member.logits, members, tree_share, history)


def combine(members: Mapping[str, np.ndarray], tree_share: float) -> np.ndarray:
    """The mean of log-odds by name, where trees count `tree_share` of what they and linear members count together."""
    linear = [name for name in _LINEAR if name in members]
    weights = dict.fromkeys(members, 1.0)
    if linear and "trees" in members:
        together = len(linear) + 1
        weights |= dict.fromkeys(linear, together * (1 - tree_share) / len(linear)) | {"trees": together * tree_share}
    sure = [np.clip(part, -_MAX_LOGIT, _MAX_LOGIT) for part in members.values()]  # none decides alone
    return np.average(sure, axis=0, weights=list(weights.values()))


def _best_share(members: Mapping[str, _Member], pairs: _Training) -> tuple[float, list[dict[str, float]]]:
    """The share of trees with the highest average precision in hidden folds, of equals the smallest; all scores."""
    scored = np.isfinite(members["trees"].out_of_fold)
    pairs = _Training(*(part[scored] for part in pairs))
    held_out = {name: member.out_of_fold[scored] for name, member in members.items()}
    scores = [pairs.score(combine(held_out, share)) for share in _TREE_SHARES]
    tried = [{"share": share, "auprc": score} for share, score in zip(_TREE_SHARES, scores, strict=True)]
    return _TREE_SHARES[int(np.argmax(scores))], tried


def _halfway(one: _Member, other: _Member) -> _Member:
    """Where a network of few updates learns most: from the baseline it gets less far, from the best it over-fits."""
    return _Member(*((a + b) / 2 for a, b in zip(one, other, strict=True)))


def _at(values: np.ndarray, place: tuple[np.ndarray, ...], shape: tuple[int, int]) -> np.ndarray:
    """A matrix with the values at a place, and 0 elsewhere."""
    found = np.zeros(shape)
    found[place] = values
    return found


class _Chosen(NamedTuple):
    """A member with the penalty that scored best, and what others scored."""

    member: _Member
    tried: list[dict[str, float]]


def _ridge(x: np.ndarray, x_all: np.ndarray, pairs: _Training, offset: _Member, config: Config) -> _Chosen:
    """Ridge-logistic correction of the offset by features, (n, F) of training pairs and (n_tfs, n_genes, F) of all."""
    mean, deviation = x.mean(0), x.std(0)
    deviation = np.where(deviation > 1e-9, deviation, 1.0)
    x = (x - mean) / deviation
    folds = [pairs.fold == number for number in np.unique(pairs.fold)]
    last: list[tuple[np.ndarray, float] | None] = [None] * len(folds)  # with the penalty before: a start for the next

    def correction(
        inside: np.ndarray, penalty: float, start: tuple[np.ndarray, float] | None
    ) -> tuple[np.ndarray, float]:
        return ridge_logistic(x[inside], pairs.y[inside], offset.out_of_fold[inside], penalty, start)

    def out_of_fold(penalty: float) -> np.ndarray:
        found = offset.out_of_fold.copy()
        for number, asked in enumerate(folds):
            last[number] = w, c = correction(~asked, penalty, last[number])
            found[asked] += x[asked] @ w + c
        return found

    penalty, held_out, tried = _best_penalty(out_of_fold, pairs, config)
    w, c = correction(np.ones(len(x), dtype=bool), penalty, last[0])
    w = w / deviation
    return _Chosen(_Member(offset.logits + x_all @ w + (c - mean @ w), held_out), tried)


def _slopes(about: np.ndarray, pairs: _Training, offset: _Member, config: Config) -> _Chosen:
    """For each TF a ridge-logistic correction of its own, by what genes are like, (n_genes, d); one penalty for all."""
    shape, at = offset.logits.shape, (pairs.tf, pairs.gene)
    y, before, fold = _at(pairs.y, at, shape), _at(offset.out_of_fold, at, shape), _at(pairs.fold + 1, at, shape)
    folds = [number + 1 for number in np.unique(pairs.fold)]
    last: list[tuple[np.ndarray, np.ndarray] | None] = [None] * len(folds)

    def out_of_fold(penalty: float) -> np.ndarray:
        found = before.copy()
        for number, asked in enumerate(folds):
            inside = (fold > 0) & (fold != asked)
            last[number] = w, c = ridge_logistics(about, y, before, inside, penalty, last[number])
            found += np.where(fold == asked, w @ about.T + c[:, None], 0.0)
        return found[at]

    penalty, held_out, tried = _best_penalty(out_of_fold, pairs, config)
    w, c = ridge_logistics(about, y, before, fold > 0, penalty, last[0])
    return _Chosen(_Member(offset.logits + w @ about.T + c[:, None], held_out), tried)


def _best_penalty(
    out_of_fold: Callable[[float], np.ndarray], pairs: _Training, config: Config
) -> tuple[float, np.ndarray, list[dict[str, float]]]:
    """The penalty with the highest average precision in hidden folds, of equals the largest; its log-odds; all scores."""
    best, best_score, best_logits, tried = max(config.penalties), -1.0, None, []
    for penalty in sorted(config.penalties, reverse=True):
        logits = out_of_fold(penalty)
        score = pairs.score(logits)
        tried.append({"penalty": penalty, "auprc": score})
        if score > best_score:
            best, best_score, best_logits = penalty, score, logits
    return best, best_logits, tried


def _trees(x: np.ndarray, x_all: np.ndarray, pairs: _Training, config: Config, seed: int, *, held_out: bool) -> _Member:
    """Boosted trees on the offset and all features, (n, 1 + F) of training pairs and (n_tfs, n_genes, 1 + F) of all.

    With `held_out`, training pairs too are scored, by trees that did not see their fold: as many folds as give enough.
    """

    def scores(inside: np.ndarray | slice, asked: np.ndarray) -> np.ndarray:
        y = pairs.y[inside]
        if y.min() == y.max():
            return asked[:, 0]
        model = HistGradientBoostingClassifier(
            max_iter=config.n_trees,
            learning_rate=config.tree_learning_rate,
            max_leaf_nodes=config.max_leaves,
            min_samples_leaf=config.min_leaf,
            l2_regularization=10.0,
            early_stopping=False,
            random_state=seed,
        )
        return model.fit(x[inside], y).decision_function(asked)

    out_of_fold = np.full(len(x), np.nan)
    for number in np.unique(pairs.fold) if held_out else ():
        if np.isfinite(out_of_fold).sum() >= _ENOUGH_PAIRS:
            break
        asked = pairs.fold == number
        out_of_fold[asked] = scores(~asked, x[asked])
    everywhere = scores(slice(None), x_all.reshape(-1, x_all.shape[-1]))
    return _Member(everywhere.reshape(x_all.shape[:2]), out_of_fold)
