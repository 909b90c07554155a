"""Probabilities that mean what they say: temperature, then a shrunken monotone map of the confidence."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd
from scipy.optimize import brentq, minimize_scalar
from scipy.special import logsumexp, softmax
from sklearn.isotonic import IsotonicRegression

from ._draws import deal_folds

_N_BINS = 15
_N_FOLDS = 5
#: Points of a risk-coverage curve.
_N_COVERAGES = 100
#: Probabilities below count as this much, so that no single cell decides.
_FLOOR = 1e-7
#: Bounds of log T, and the width of the prior that keeps it near 0 where few cells, all of them right, say nothing.
_LOG_TEMPERATURE, _PRIOR_WIDTH = (-3.0, 3.0), 0.25
#: The monotone map counts by n / (n + this): with few cells the temperature alone speaks.
_SHRINKAGE = 1000.0
#: Confidences that agree so far are one step of the monotone map.
_DIGITS = 6
#: The most probable label stays ahead of the second by this share.
_AHEAD = 1e-5


@dataclass(frozen=True)
class Reliability:
    """Confidence beside accuracy in bins of equal numbers of cells, least confident first."""

    confidence: tuple[float, ...]
    """Mean probability of the most probable label in each bin."""
    accuracy: tuple[float, ...]
    """Share of cells in the bin whose most probable label is theirs."""
    n_cells: tuple[int, ...]

    @property
    def ece(self) -> float:
        """Expected calibration error: the gap between the two, averaged over cells."""
        gaps = np.abs(np.subtract(self.confidence, self.accuracy))
        return float(np.average(gaps, weights=self.n_cells))


@dataclass(frozen=True)
class Calibration:
    """A map of probabilities, and how well it did on cells that it was not fitted on."""

    temperature: float
    """T: p becomes proportional to p^(1 / T)."""
    knots: tuple[float, ...]
    """Confidences, ascending, between which the monotone map is linear."""
    values: tuple[float, ...]
    """The map at the knots."""
    weight: float
    """Share of the monotone map in the confidence; the rest is the temperature's."""
    before: Reliability
    after: Reliability
    """Of held-out cells: each calibrated by a map that did not see it."""
    coverage: tuple[float, ...]
    """Shares of cells answered, the most confident first."""
    risk: tuple[float, ...]
    """Share of wrong answers among them."""
    held_out: Literal["folds", "batches"]
    """What was left out in turn for `after` and `risk`: a fifth of the cells, or a batch."""

    def apply(self, p: np.ndarray, *, first: float = 1.0) -> np.ndarray:
        """Calibrated probabilities, float32, shape (N, C): rows sum to 1, the most probable label stays.

        Parameters
        ----------
        p
            Probabilities, shape (N, C).
        first
            A temperature that comes before the map's own, for probabilities that are not as those were which it was
            fitted on.
        """
        tempered = _tempered(p, first * self.temperature)
        return _with_confidence(tempered, self._confidence(tempered.max(1))).astype(np.float32)

    def temperature_for(self, p: np.ndarray, mean_confidence: float) -> float:
        """The temperature `first` with which calibrated `p` has this confidence on the mean, or as nearly as can be."""

        def gap(log_temperature: float) -> float:
            return float(self.apply(p, first=np.exp(log_temperature)).max(1).mean()) - mean_confidence

        hot, cold = gap(_LOG_TEMPERATURE[1]), gap(_LOG_TEMPERATURE[0])
        if hot >= 0 or cold <= 0:
            return float(np.exp(_LOG_TEMPERATURE[1] if hot >= 0 else _LOG_TEMPERATURE[0]))
        return float(np.exp(brentq(gap, *_LOG_TEMPERATURE, xtol=1e-4)))

    def _confidence(self, confidence: np.ndarray) -> np.ndarray:
        return self.weight * np.interp(confidence, self.knots, self.values) + (1 - self.weight) * confidence

    def to_dict(self) -> dict[str, Any]:
        """Ready for JSON."""
        curves = {name: {key: list(part) for key, part in vars(getattr(self, name)).items()} for name in _CURVES}
        lists = {name: list(getattr(self, name)) for name in _LISTS}
        return {"temperature": self.temperature, "weight": self.weight, "held_out": self.held_out, **lists, **curves}

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> Calibration:
        """The inverse of :meth:`to_dict`."""
        curves = {name: Reliability(**{key: tuple(part) for key, part in stored[name].items()}) for name in _CURVES}
        return cls(**{**stored, **{name: tuple(stored[name]) for name in _LISTS}, **curves})


_LISTS = ("knots", "values", "coverage", "risk")
_CURVES = ("before", "after")


def calibrate(p: np.ndarray, y: np.ndarray, batch: np.ndarray | None = None, *, seed: int = 0) -> Calibration:
    """Fit temperature and monotone map on labelled cells, and measure both on held-out ones.

    T minimises the negative log likelihood of the labels under softmax(log p / T), with a weak prior on log T. The
    confidence is then moved towards its isotonic regression on being right, the more so the more cells there are; what
    is left is shared among the other labels in proportion.

    With batches every batch weighs the same, and `after` and `risk` come from maps fitted on the other batches: so
    they see how far a map travels. Confidence that fails from batch to batch shows only where `p` itself comes from
    machines that did not see the cell's batch.

    Parameters
    ----------
    p
        Probabilities of labelled cells by networks or machines that did not see their labels, shape (N, C).
    y
        Label codes, shape (N,).
    batch
        Batch codes, shape (N,). A single batch counts as none.
    seed
        Deals cells to folds where there are no batches.

    Raises
    ------
    ValueError
        Shapes do not fit, there is no cell, a code is not a column of `p`, or `p` is negative or not finite.
    """
    _check(p, y, batch)
    batches = np.zeros(len(y), dtype=np.int64) if batch is None else np.unique(batch, return_inverse=True)[1]
    by_batch = batches.max() > 0
    weights = 1 / np.bincount(batches)[batches]
    weights *= len(y) / weights.sum()
    fold = batches if by_batch else deal_folds(y, min(_N_FOLDS, len(y)), np.random.default_rng(seed))
    right = p.argmax(1) == y
    after = np.empty(len(y))
    for number in np.unique(fold):
        out = fold == number
        # A label's only cell, fold -1, is always fitted on; so is everything where nothing else is left.
        fitted = ~out if number >= 0 and not out.all() else np.ones(len(y), dtype=bool)
        after[out] = _fit(p[fitted], y[fitted], weights[fitted]).apply(p[out]).max(1)
    coverage, risk = risk_coverage(after, right)
    found = _fit(p, y, weights)
    return Calibration(
        temperature=found.temperature,
        knots=found.knots,
        values=found.values,
        weight=found.weight,
        before=reliability(p.max(1), right),
        after=reliability(after, right),
        coverage=coverage,
        risk=risk,
        held_out="batches" if by_batch else "folds",
    )


def reliability(confidence: np.ndarray, right: np.ndarray) -> Reliability:
    """Confidence beside accuracy, both (N,), in 15 bins of equal numbers of cells, or in as many as there are cells."""
    order = np.argsort(confidence, kind="stable")
    bins = np.array_split(order, min(_N_BINS, len(order)))
    return Reliability(
        tuple(float(np.mean(confidence[cells], dtype=np.float64)) for cells in bins),
        tuple(float(np.mean(right[cells])) for cells in bins),
        tuple(len(cells) for cells in bins),
    )


def risk_coverage(confidence: np.ndarray, right: np.ndarray) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Coverage and risk: of the share of cells answered, most confident first, how many answers are wrong.

    Cells of equal confidence count as if each were a bit right: the order of the cells does not matter.
    """
    value, group, size = np.unique(-confidence, return_inverse=True, return_counts=True)
    wrong = np.bincount(group, weights=~right, minlength=len(value))
    answered = np.arange(1, len(right) + 1)
    total = np.interp(answered, np.r_[0, np.cumsum(size)], np.r_[0, np.cumsum(wrong)])
    shown = np.unique(np.ceil(np.linspace(0, 1, _N_COVERAGES + 1)[1:] * len(right)).astype(int)) - 1
    return tuple((answered[shown] / len(right)).tolist()), tuple((total[shown] / answered[shown]).tolist())


def calibration_record(calibration: Calibration) -> dict[str, Any]:
    """The calibration as `uns` holds it: numbers, strings and DataFrames, which h5ad and zarr can hold.

    Returns
    -------
    A dict of `method`; `held_out`, "folds" or "batches"; `n_cells`, the labelled cells; `temperature`; `map_weight`;
    `map`, a DataFrame of `confidence` and `calibrated`, the knots of the monotone map; `ece_before`, `ece_after`;
    `curve`, a DataFrame of `stage` ("before" or "after"), `confidence`, `accuracy` and `n_cells`, a row a bin; and
    `risk_coverage`, a DataFrame of `coverage` and `risk`.
    """
    curves = [pd.DataFrame({"stage": name, **vars(getattr(calibration, name))}) for name in _CURVES]
    return {
        "method": "temperature, isotonic",
        "held_out": calibration.held_out,
        "n_cells": sum(calibration.before.n_cells),
        "temperature": calibration.temperature,
        "map_weight": calibration.weight,
        "map": pd.DataFrame({"confidence": calibration.knots, "calibrated": calibration.values}),
        "ece_before": calibration.before.ece,
        "ece_after": calibration.after.ece,
        "curve": pd.concat(curves, ignore_index=True),
        "risk_coverage": pd.DataFrame({"coverage": calibration.coverage, "risk": calibration.risk}),
    }


def _fit(p: np.ndarray, y: np.ndarray, weights: np.ndarray) -> Calibration:
    """The map alone, its curves empty."""
    log_p = np.log(np.maximum(p, _FLOOR, dtype=np.float64))
    rows = np.arange(len(y))

    def loss(log_temperature: float) -> float:
        logits = log_p / np.exp(log_temperature)
        fit = np.average(logsumexp(logits, axis=1) - logits[rows, y], weights=weights)
        return fit + (log_temperature / _PRIOR_WIDTH) ** 2 / (2 * len(y))

    temperature = float(np.exp(minimize_scalar(loss, bounds=_LOG_TEMPERATURE, method="bounded").x))
    tempered = _tempered(p, temperature)
    confidence = np.round(tempered.max(1), _DIGITS)
    isotonic = IsotonicRegression(y_min=0, y_max=1)
    fitted = isotonic.fit_transform(confidence, tempered.argmax(1) == y, sample_weight=weights)
    # Linear between the centres of its steps, so that more confident cells stay more confident.
    values, step = np.unique(fitted, return_inverse=True)
    knots = np.bincount(step, weights * confidence) / np.bincount(step, weights)
    nothing = Reliability((), (), ())
    weight = len(y) / (len(y) + _SHRINKAGE)
    return Calibration(
        temperature, tuple(knots.tolist()), tuple(values.tolist()), weight, nothing, nothing, (), (), "folds"
    )


def _tempered(p: np.ndarray, temperature: float) -> np.ndarray:
    return softmax(np.log(np.maximum(p, _FLOOR, dtype=np.float64)) / temperature, axis=1)


def _with_confidence(p: np.ndarray, confidence: np.ndarray) -> np.ndarray:
    """Rows in which the largest probability is the given one, or as little above it as keeps it the largest."""
    rows, best = np.arange(len(p)), p.argmax(1)
    others = p.copy()
    others[rows, best] = 0
    rest, second = others.sum(1), others.max(1)
    share = np.divide(second, rest, out=np.zeros_like(rest), where=rest > 0)
    # Of what is left, 1 - c, the second gets its share: c > (1 - c) share.
    confidence = np.clip(np.maximum(confidence, (1 + _AHEAD) * share / (1 + share)), 0, 1)
    confidence = np.where(rest > 0, confidence, 1)
    others *= np.divide(1 - confidence, rest, out=np.zeros_like(rest), where=rest > 0)[:, None]
    others[rows, best] = confidence
    return others


def _check(p: np.ndarray, y: np.ndarray, batch: np.ndarray | None) -> None:
    if p.ndim != 2 or y.shape != p.shape[:1] or not len(y) or (batch is not None and batch.shape != y.shape):
        batches = "" if batch is None else f", batch {batch.shape}"
        msg = f"p has shape {p.shape}, y {y.shape}{batches}. Pass (N, C) probabilities and one code for each of N >= 1 cells."
        raise ValueError(msg)
    if not np.isfinite(p).all() or (p < 0).any():
        msg = "p holds negative or non-finite values, which are no probabilities. Pass rows that sum to 1."
        raise ValueError(msg)
    if y.min() < 0 or y.max() >= p.shape[1]:
        msg = f"y holds codes from {y.min()} to {y.max()}, but p has {p.shape[1]} columns. Pass labelled cells only."
        raise ValueError(msg)
