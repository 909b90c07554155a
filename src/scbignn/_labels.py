"""Labels and their colours as text: all that reads or writes them has the same."""

from __future__ import annotations

from matplotlib.colors import is_color_like, to_hex

#: Of cells that are like no label, or of none.
UNKNOWN_COLOR = "#bbbbbb"


def label_text(value: object) -> str:
    """A label as a string; 1.0 is "1", since a missing value turns whole numbers into floats."""
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def palette_texts(palette: object, n: int) -> list[str] | None:
    """Colours of n labels as strings that matplotlib and scanpy read; None where they are not n colours."""
    colors = [] if palette is None or isinstance(palette, str) else list(palette)
    if len(colors) != n or not all(is_color_like(color) for color in colors):
        return None
    return [color if isinstance(color, str) else to_hex(color, keep_alpha=len(color) == 4) for color in colors]
