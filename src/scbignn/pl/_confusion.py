"""`pl.confusion`."""

from __future__ import annotations

import numpy as np
from anndata import AnnData
from matplotlib.axes import Axes
from matplotlib.ticker import PercentFormatter

from .. import get
from ._style import axes_or_new, fit_names, shortened

#: Most labels of a table in whose squares shares are written.
_WRITTEN = 20


def confusion(
    adata: AnnData,
    truth_key: str,
    *,
    key: str = "scbignn",
    unlabeled_category: object = "Unknown",
    ax: Axes | None = None,
) -> Axes:
    """What the cells of each given label were predicted to be, in shares of the row; see :func:`scbignn.get.confusion`.

    Labels that are confused with each other stand side by side; a row without cells is grey. Shares are written where
    there are up to 20 labels.

    Parameters
    ----------
    adata
        Annotated data.
    truth_key
        Column of `adata.obs` with the labels to compare with.
    key
        The `key_added` of the run.
    unlabeled_category
        Cells with this label in `truth_key` are left out. None: only those with no label.
    ax
        Axes to draw on. Default: those of a new figure.

    Returns
    -------
    The Axes.

    Raises
    ------
    KeyError
        `adata` holds no such run, or `adata.obs` has no such column.
    """
    counts = get.confusion(adata, truth_key, key=key, unlabeled_category=unlabeled_category)
    size = counts.sum(axis=1)
    share = counts.div(size.where(size > 0), axis=0).to_numpy()
    n_rows, n_columns = share.shape
    small = max(n_rows, n_columns) > _WRITTEN
    rows = [f"{shortened(name, 20)} ({n:,})" for name, n in size.items()]
    columns = [shortened(name, 20) for name in counts.columns]
    step = 0.105 if small else (0.14 if n_rows > 6 else 0.24)
    words = 0.042 if small else 0.05  # inches a letter
    given = ax is not None
    ax = axes_or_new(
        ax,
        max(2.0, (0.9 if small else 0.35) + words * max(map(len, rows), default=0) + step * n_columns),
        max(1.5, 0.3 + words * max(map(len, columns), default=0) + step * n_rows),
    )
    ax.set_facecolor("0.85")
    image = ax.imshow(
        np.ma.masked_invalid(share), cmap="Blues", vmin=0, vmax=1, aspect="equal", interpolation="nearest"
    )
    ax.set_xticks(range(n_columns), columns, rotation=90, fontsize=5 if small else 6, parse_math=False)
    ax.set_yticks(range(n_rows), rows, fontsize=5 if small else 6, parse_math=False)
    ax.tick_params(length=1.5, pad=1.5)
    if not small:
        for row, column in np.argwhere(share >= 0.005):
            value = share[row, column]
            text = f"{100 * value:.0f}"
            ax.text(column, row, text, ha="center", va="center", fontsize=5, color="white" if value > 0.5 else "black")
    ax.set_xlabel("predicted, % of the row", fontsize=8, loc="right")
    ax.set_ylabel("given (cells)", fontsize=8)
    if small:
        bar = ax.figure.colorbar(image, ax=ax, shrink=0.6, pad=0.02, format=PercentFormatter(1), ticks=[0, 0.5, 1])
        bar.ax.tick_params(labelsize=6)
    if given:
        size = min(5, 0.45 * fit_names(ax))  # three digits in a cell
        for text in ax.texts:
            text.set_fontsize(max(size, 1))
    return ax
