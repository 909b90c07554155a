"""Options that benchmarks share."""

from __future__ import annotations

import ast


def setting(text: str) -> tuple[str, object]:
    """A field of the configuration and its value, from "FIELD=VALUE"."""
    name, value = text.split("=")
    try:
        return name, ast.literal_eval(value)
    except ValueError:
        return name, value
