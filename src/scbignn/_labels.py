"""Labels and their colours as text: all that reads or writes them has the same."""

from __future__ import annotations

from matplotlib.colors import is_color_like, to_hex

#: Of cells that are like no label, or of none.
UNKNOWN_COLOR = "#bbbbbb"
#: What people write where they know no label, in small letters.
_NO_LABEL = {
    "", "-", "?", "ambiguous", "n/a", "na", "nan", "none", "not assigned", "not available", "null", "unassigned",
    "unclassified", "undefined", "undetermined", "unknown", "unlabeled", "unlabelled",
}  # fmt: skip


def label_text(value: object) -> str:
    """A label as a string; 1.0 is "1", since a missing value turns whole numbers into floats."""
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def says_no_label(label: str) -> bool:
    """Whether a label reads as if there were none, such as "unassigned" or "nan"."""
    return label.strip().lower() in _NO_LABEL


def palette_texts(palette: object, n: int) -> list[str] | None:
    """Colours of n labels as strings that matplotlib and scanpy read; None where they are not n colours."""
    colors = [] if palette is None or isinstance(palette, str) else list(palette)
    if len(colors) != n or not all(is_color_like(color) for color in colors):
        return None
    return [color if isinstance(color, str) else to_hex(color, keep_alpha=len(color) == 4) for color in colors]
