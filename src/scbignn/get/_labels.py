"""Labels of a run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def label_code(run: Mapping[str, Any], label: str) -> int:
    """The place of a label among those of a run.

    Raises
    ------
    KeyError
        It is none of them.
    """
    labels = list(run["labels"])
    if label not in labels:
        msg = f"label={label!r} is none of the labels. They are {', '.join(map(repr, labels))}."
        raise KeyError(msg)
    return labels.index(label)
