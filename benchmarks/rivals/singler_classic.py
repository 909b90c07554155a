"""singler with its default markers, by differences of medians between labels."""

from __future__ import annotations

import numpy as np

from . import _apart
from .singler import correlations

MODE = "inductive"


def predict(problem) -> np.ndarray:
    return _apart.ask("singler_classic", problem)


def answer(given: _apart.Given) -> np.ndarray:
    return correlations(given, "classic")
