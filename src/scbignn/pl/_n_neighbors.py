"""`pl.n_neighbors`."""

from __future__ import annotations

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, NullLocator

from ._style import FIRST, SECOND, THIRD, axes_or_new, plain, shortened, tidy

#: Inches, of a figure of one column.
_WIDTH = 3.4
_LOOKS = [
    (color, marker)
    for marker in ("o", "s", "^")
    for color in (FIRST, SECOND, "#009E73", "#CC79A7", "#E69F00", "#56B4E9", THIRD)
]


def n_neighbors(
    table: pd.DataFrame,
    *,
    x: str = "n_neighbors",
    y: str = "accuracy",
    by: str | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Accuracy against k, the number of neighbours in the cell graph: the ablation of the paper.

    Parameters
    ----------
    table
        A row a run. Rows with the same k, for example of several folds, are drawn as their mean, with a bar of one
        standard deviation on either side.
    x
        Column with k.
    y
        Column with the accuracy, or another score.
    by
        Column, for example with the data set, that has a line of its own for each value.
    ax
        Axes to draw on. Default: those of a new figure.

    Returns
    -------
    The Axes.

    Raises
    ------
    KeyError
        `table` has no such column.
    TypeError
        `table` is no DataFrame.
    ValueError
        `table` has no rows, or a k is below 1.

    Examples
    --------
    >>> import pandas as pd, scbignn
    >>> table = pd.DataFrame({"n_neighbors": [1, 5, 20], "accuracy": [0.96, 0.98, 0.97]})
    >>> scbignn.pl.n_neighbors(table).get_xlabel()
    'neighbours in the graph, k'
    """
    if not isinstance(table, pd.DataFrame):
        msg = f"table is of type {type(table).__name__}. Pass a DataFrame with a row a run and the columns {x!r} and {y!r}."
        raise TypeError(msg)
    for column in (x, y, *([] if by is None else [by])):
        if column not in table:
            msg = f"table has no column {column!r}. It has {', '.join(map(repr, table))}: pass x=, y= or by=."
            raise KeyError(msg)
    if table.empty or not (table[x] >= 1).all():
        msg = f"table[{x!r}] must hold a k of 1 or more in one row at least. Found: {table[x].tolist()[:10]}."
        raise ValueError(msg)
    lines = [(None, table)] if by is None else list(table.groupby(by, sort=False, observed=True))
    names = [] if by is None else [plain(shortened(str(name), 30 if len(lines) <= 7 else 20)) for name, _ in lines]
    font = 7 if len(names) <= 14 else 6
    width = _WIDTH - 0.7 if ax is None else ax.get_window_extent().width / ax.figure.dpi
    columns = max(1, int(width / (0.5 + 0.0085 * font * max(map(len, names), default=1))))
    ax = axes_or_new(ax, _WIDTH, 2.3 + 0.021 * font * -(-len(names) // columns))
    for number, (_, rows) in enumerate(lines):
        scores = rows.groupby(x)[y].agg(["mean", "std"])
        color, marker = _LOOKS[number % len(_LOOKS)]
        ax.errorbar(
            scores.index.to_numpy(),
            scores["mean"].to_numpy(),
            yerr=scores["std"].fillna(0).to_numpy() if scores["std"].notna().any() else None,
            color=color,
            marker=marker,
            markersize=4,
            linewidth=1.2,
            capsize=2,
            label=names[number] if names else None,
        )
    ax.set_xscale("log")
    ks = sorted(table[x].unique())
    ax.xaxis.set_major_locator(FixedLocator(ks))
    ax.xaxis.set_minor_locator(NullLocator())
    ax.set_xticks(ks, [f"{k:g}" for k in ks])
    ax.set_xlabel("neighbours in the graph, k")
    ax.set_ylabel(plain(y.replace("_", " ")))
    if by is not None:
        ax.legend(frameon=False, fontsize=font, loc="lower left", bbox_to_anchor=(0, 1), ncols=columns)
    return tidy(ax)
