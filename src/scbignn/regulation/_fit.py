"""From expression and known edges to a score of every pair, each out of fold: the whole wing, on arrays."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import scipy.sparse as sp
import torch
from scipy import stats
from scipy.special import expit
from sklearn.metrics import precision_recall_curve, roc_curve

from .._training import progress_bar
from ..graph import Engine
from ._config import Config
from ._encoders import Encoder, describe_genes
from ._linear import ridge_logistic
from ._links import score_links
from ._metrics import FIGURES, link_scores
from ._splits import Split, deal, is_symmetric, train_of

logger = logging.getLogger(__name__)

#: Points of a curve that are kept.
_N_POINTS = 201
_LEAST_SLOPE = 0.01
#: What is scored beside the model.
SCORERS = ("model", "baseline", "network", "ridge")


class Gain(NamedTuple):
    """A difference in average precision, in the mean over hidden folds."""

    mean: float
    p: float
    """Two-sided, by the corrected resampled t-test (Nadeau and Bengio 2003), since folds share training pairs."""

    def words(self) -> str:
        """Whether it is sure at the level .05."""
        if not self.p < 0.05:
            return "not surely different from"
        return "surely above" if self.mean > 0 else "surely below"


@dataclass(frozen=True)
class Regulation:
    """Scores of n TFs and G genes."""

    scores: np.ndarray
    """(n, G) float64: calibrated probability that the pair is an edge of the network, by models that did not see whether
    it is; 0 for a TF with itself."""
    deviation: np.ndarray | None
    """(n, G) float64: its standard deviation over repeats; None where there was one."""
    frequency: np.ndarray | None
    """(n, G) float64: share of repeats where the pair was among the first `n_edges`; None where there was one."""
    metrics: dict[str, dict[str, float]]
    """For each of `SCORERS` its figures of merit, in the mean over hidden folds."""
    gain: Gain
    """Of the model over the degree baseline."""
    expression_gain: Gain
    """Of the ridge member over the same without expression."""
    curves: dict[str, np.ndarray]
    """`recall`, and the precision of `model` and `baseline` there, in the mean over hidden folds."""
    roc: dict[str, np.ndarray]
    """`false_positive_rate`, and the share of hidden edges that `model` and `baseline` find there, likewise."""
    history: list[dict[str, object]]
    symmetric: bool
    verdict: str
    """In words, whether known edges that were hidden are found better than by degree, and whether expression helps."""


def infer_links(
    x: sp.csr_matrix,
    known: np.ndarray,
    tfs: np.ndarray,
    config: Config,
    split: Split,
    encoder: Encoder,
    *,
    n_with_edges: int,
    n_edges: int,
    device: torch.device,
    engine: Engine,
    seed: int,
) -> Regulation:
    """Score every pair by models that learned while it was hidden, and measure how well hidden edges are found.

    Parameters
    ----------
    x
        Expression on a log scale, CSR, (n_cells, G).
    known
        Edges, (n, G) bool.
    tfs
        The gene that each TF is, (n,).
    n_with_edges
        The first so many of the TFs have edges; the others are scored by all models, and nothing is learned of them.
    n_edges
        How many of the first pairs `frequency` is about.
    """
    rng = np.random.default_rng(seed)
    symmetric = is_symmetric(known, tfs)
    n_outer = config.n_folds**2 if split == "both" else config.n_folds
    uses_gnn = "gnn" in config.members and not (split in ("tf", "both") and config.offset)
    total = config.n_repeats * n_outer * (config.n_epochs if uses_gnn else 1)
    records: list[dict[str, dict[str, float]]] = []
    curves: list[np.ndarray] = []
    rates: list[np.ndarray] = []
    history: list[dict[str, object]] = []
    probabilities = []
    with progress_bar(total, "epoch" if uses_gnn else "fold", "links") as progress:
        for repeat in range(config.n_repeats):
            cells = _draw_cells(x.shape[0], config, rng)
            genes = describe_genes(x[cells].toarray().astype(np.float64), tfs, encoder, rng=rng)
            fold = deal(known, tfs, split, config.n_folds, rng, symmetric=symmetric)
            fold[n_with_edges:] = -1
            logits = np.zeros(known.shape)
            for number in range(n_outer):
                asked = fold == number
                shown = train_of(fold, number, tfs, split, config.n_folds, symmetric=symmetric)
                found = score_links(
                    known,
                    shown,
                    tfs,
                    genes,
                    config,
                    split,
                    symmetric=symmetric,
                    device=device,
                    engine=engine,
                    seed=int(rng.integers(2**31)),
                    progress=progress,
                )
                if not uses_gnn:
                    progress.update()
                logits[asked] = found.logits[asked]
                logits[n_with_edges:] += found.logits[n_with_edges:] / n_outer
                scorers = dict(zip(SCORERS, (found.logits, found.degree, found.network, found.ridge), strict=True))
                records.append({name: link_scores(known, values, asked) for name, values in scorers.items()})
                curves += _precisions(known[asked], found.logits[asked], found.degree[asked])
                rates += _found_edges(known[asked], found.logits[asked], found.degree[asked])
                history += [{"repeat": repeat, "fold": number, **row} for row in found.history]
            probabilities.append(_calibrate(logits, known, fold, tfs))
    metrics = {name: _mean([record[name] for record in records]) for name in SCORERS}
    per_side = 1 / (config.n_folds - 1)
    ratio = per_side**2 if split == "both" else per_side
    gain = _gain(records, "model", "baseline", ratio)
    expression_gain = _gain(records, "ridge", "network", ratio)
    verdict = _verdict(metrics, gain, expression_gain)
    several = config.n_repeats > 1
    return Regulation(
        scores=np.mean(probabilities, axis=0),
        deviation=np.std(probabilities, axis=0, ddof=1) if several else None,
        frequency=np.mean([_is_first(part, n_edges) for part in probabilities], axis=0) if several else None,
        metrics=metrics,
        gain=gain,
        expression_gain=expression_gain,
        curves=_mean_curves(curves, "recall"),
        roc=_mean_curves(rates, "false_positive_rate"),
        history=history,
        symmetric=symmetric,
        verdict=verdict,
    )


def _draw_cells(n_cells: int, config: Config, rng: np.random.Generator) -> np.ndarray:
    """All cells, or as many as may be; with repeats a bootstrap of them."""
    n = min(n_cells, config.max_cells)
    if config.n_repeats > 1:
        return rng.integers(n_cells, size=n)
    return np.arange(n_cells) if n == n_cells else np.sort(rng.choice(n_cells, n, replace=False))


def _calibrate(logits: np.ndarray, known: np.ndarray, fold: np.ndarray, tfs: np.ndarray) -> np.ndarray:
    """Probabilities by a logistic regression on the log-odds of hidden pairs; its two numbers hardly over-fit."""
    asked = fold >= 0
    x, y = logits[asked], known[asked].astype(np.float64)
    w, c = ridge_logistic(x[:, None], y, np.zeros(len(x)), 1e-3)
    if w[0] < _LEAST_SLOPE:  # the order of the scores stays what it is, however little they say
        w = np.array([_LEAST_SLOPE])
        _, c = ridge_logistic(np.zeros((len(x), 1)), y, _LEAST_SLOPE * x, 1.0)
    p = expit(w[0] * logits + c)
    p[np.arange(len(tfs)), tfs] = 0
    return p


def _precisions(known: np.ndarray, *scores: np.ndarray) -> list[np.ndarray]:
    """Of each score the precision at evenly spread recalls, the highest at that recall or beyond: (n_scores, points)."""
    if not known.any():
        return []
    at = np.linspace(0, 1, _N_POINTS)
    found = []
    for values in scores:
        precision, recall, _ = precision_recall_curve(known, values)
        precision, recall = np.maximum.accumulate(precision[:-1]), recall[:-1]  # recall falls, thresholds rise
        found.append(precision[len(recall) - 1 - np.searchsorted(recall[::-1], at - 1e-12)])
    return [np.stack(found)]


def _found_edges(known: np.ndarray, *scores: np.ndarray) -> list[np.ndarray]:
    """Of each score the share of edges found at evenly spread false positive rates: (n_scores, points)."""
    if not known.any() or known.all():
        return []
    at = np.linspace(0, 1, _N_POINTS)
    return [np.stack([np.interp(at, *roc_curve(known, values)[:2]) for values in scores])]


def _mean_curves(curves: list[np.ndarray], axis: str) -> dict[str, np.ndarray]:
    model, baseline = np.mean(curves, axis=0) if curves else np.full((2, _N_POINTS), np.nan)
    return {axis: np.linspace(0, 1, _N_POINTS), "model": model, "baseline": baseline}


def _is_first(p: np.ndarray, n_edges: int) -> np.ndarray:
    """Which pairs are among the first so many; where values tie, those that come first."""
    found = np.zeros(p.size, dtype=bool)
    found[np.argsort(-p, axis=None, kind="stable")[:n_edges]] = True
    return found.reshape(p.shape)


def _mean(records: list[dict[str, float]]) -> dict[str, float]:
    """Means over folds, of what folds can tell; sums of what they count."""
    values = {figure: np.array([record[figure] for record in records], dtype=float) for figure in FIGURES}
    found = {figure: float(np.nanmean(v)) if np.isfinite(v).any() else float("nan") for figure, v in values.items()}
    return found | {name: int(sum(record[name] for record in records)) for name in ("n_edges", "n_pairs")}


def _gain(records: list[dict[str, dict[str, float]]], ours: str, theirs: str, ratio: float) -> Gain:
    """`ratio` is that of test to training pairs."""
    difference = np.array([record[ours]["auprc"] - record[theirs]["auprc"] for record in records])
    difference = difference[np.isfinite(difference)]
    n = len(difference)
    if not n:
        return Gain(float("nan"), float("nan"))
    variance = difference.var(ddof=1) if n > 1 else np.nan
    if not variance > 0:
        return Gain(float(difference.mean()), float("nan"))
    t = difference.mean() / np.sqrt((1 / n + ratio) * variance)
    return Gain(float(difference.mean()), float(2 * stats.t.sf(abs(t), n - 1)))


def _verdict(metrics: dict[str, dict[str, float]], gain: Gain, expression_gain: Gain) -> str:
    model, baseline = metrics["model"]["auprc"], metrics["baseline"]["auprc"]
    return (
        f"hidden edges are found with AUPRC {model:.3f}, {gain.words()} the {baseline:.3f} of degree alone; with expression "
        f"a linear model is {expression_gain.words()} the same without "
        f"({expression_gain.mean:+.3f})"
    )
