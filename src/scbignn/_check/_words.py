"""Numbers and names as messages give them."""

from __future__ import annotations


def counted(number: int, noun: str) -> str:
    """A number and what it counts: "1 cell", "1,200 cells"."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def some(values: object, limit: int = 5) -> str:
    """The first few, quoted."""
    values = list(values)
    listed = ", ".join(repr(str(value)) for value in values[:limit]) or "none"
    return f"{listed}, ..." if len(values) > limit else listed
