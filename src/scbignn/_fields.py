"""Fields of a configuration: what numbers they may be, and how files have them."""

from __future__ import annotations

import dataclasses
import math
from numbers import Integral, Real
from typing import Any

import numpy as np


def is_count(value: object, least: int) -> bool:
    """Whether it is a whole number, and at least so large."""
    return isinstance(value, Integral) and not isinstance(value, bool) and value >= least


def is_number(value: object) -> bool:
    """Whether it is a finite number."""
    return isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value)


def fields_for_json(config: Any) -> dict[str, Any]:
    """All fields of a dataclass by name."""
    fields = dataclasses.asdict(config)
    return {
        name: list(value) if isinstance(value, tuple) else value.item() if isinstance(value, np.generic) else value
        for name, value in fields.items()
    }
