"""`pl.gene_importance_venn`."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Mapping

import numpy as np
import pandas as pd
from anndata import AnnData
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb, to_rgba
from matplotlib.patches import Patch

from .. import get
from ._style import FIRST, SECOND, axes_or_new, plain, shortened
from ._venn_shapes import outlines, regions

_COLORS = (FIRST, SECOND, "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
_LETTERS = "ABCDEF"


def gene_importance_venn(
    lists: AnnData | pd.DataFrame | Mapping[str, Iterable[str]],
    *,
    n_top: int = 50,
    key: str = "scbignn_cv",
    max_bars: int = 20,
    ax: Axes | None = None,
) -> Axes:
    """How many of the most important genes several runs share.

    A Venn diagram of two to six runs: the number in a region counts the genes that are in the lists of just the runs
    that cover it. Long names are listed below it, by letters. More runs are drawn as an UpSet plot: a bar for each combination of lists, largest first, and below it
    dots for the lists that are in it.

    Parameters
    ----------
    lists
        Ranked genes by the name of the run, best first; or scores, a DataFrame genes x runs; or annotated data with
        such a DataFrame in ``uns[key]["gene_importance"]``, a column a fold.
    n_top
        How many genes of each run are compared.
    key
        With annotated data: where the scores are.
    max_bars
        Most bars of an UpSet plot. What is left out is said below it.
    ax
        Axes to draw on. Default: those of a new figure.

    Returns
    -------
    The Axes.

    Raises
    ------
    KeyError
        The annotated data hold no such table.
    TypeError
        `lists` is none of these.
    ValueError
        There are fewer than two runs, or fewer than `n_top` genes in one.

    Examples
    --------
    >>> import scbignn
    >>> ax = scbignn.pl.gene_importance_venn({"fold 1": ["CD3E", "MS4A1"], "fold 2": ["CD3E", "NKG7"]}, n_top=2)
    >>> [text.get_text() for text in ax.texts]
    ['1', '1', '1', 'fold 1', 'fold 2']
    """
    sets = {name: set(genes) for name, genes in get.top_genes(lists, n_top=n_top, key=key).items()}
    if len(sets) < 2:
        msg = f"lists holds {len(sets)} run, and one shares its genes with none. Pass two or more."
        raise ValueError(msg)
    genes = sorted(set.union(*sets.values()))
    membership = pd.Series([tuple(gene in own for own in sets.values()) for gene in genes], index=genes)
    counts = membership.value_counts()
    if len(sets) <= 6:
        return _venn(sets, counts, ax)
    return _upset(sets, counts, max_bars, ax)


def _venn(sets: dict[str, set[str]], counts: pd.Series, ax: Axes | None) -> Axes:
    names = [_in_lines(name) for name in sets]
    listed = None in names
    ax = axes_or_new(ax, 3.4, 3.4 + 0.15 * len(sets) * listed)
    curves = outlines(len(sets))
    for curve, color in zip(curves, _COLORS, strict=False):
        ax.fill(*curve.T, facecolor=to_rgba(color, 0.14), edgecolor=color, linewidth=1.2)
    size = {2: 9, 3: 9, 4: 8}.get(len(sets), 6)
    for member, place in regions(len(sets)).items():
        n_genes = int(counts.get(member, 0))
        shade = "black" if n_genes else "0.55"
        ax.text(place.x, place.y, str(n_genes), ha="center", va="center", fontsize=size, color=shade)
    ax.set(xlim=(-1.03, 1.03), ylim=(-1.17, 1.17), aspect="equal")  # names lie below a title
    ax.set_axis_off()
    for place, (name, color) in enumerate(zip(names, _COLORS, strict=False)):
        _name_outside(ax, _LETTERS[place] if listed else name, place, color, curves)
    if listed:
        handles = [
            Patch(facecolor=to_rgba(color, 0.14), edgecolor=color, label=f"{letter}  {plain(shortened(name, 36))}")
            for letter, name, color in zip(_LETTERS, sets, _COLORS, strict=False)
        ]
        ax.legend(
            handles=handles, frameon=False, fontsize=7, loc="upper center", bbox_to_anchor=(0.5, 0), borderaxespad=0
        )
    return ax


def _name_outside(ax: Axes, name: str, place: int, color: str, curves: tuple[np.ndarray, ...]) -> None:
    """The name of a set beyond the region that is its alone, with a line to it where other sets lie between."""
    n_sets = len(curves)
    alone = regions(n_sets)[tuple(other == place for other in range(n_sets))]
    angle = np.arctan2(alone.y, alone.x) if n_sets > 2 else np.pi / 3 * (2 if alone.x < 0 else 1)
    direction = np.array([np.cos(angle), np.sin(angle)])
    points = np.vstack(curves)
    away = np.abs(np.angle(np.exp(1j * (np.arctan2(points[:, 1], points[:, 0]) - angle))))
    x, y = 1.06 * np.linalg.norm(points[away < 0.15], axis=1).max() * direction
    sides = {"ha": "center" if abs(direction[0]) < 0.4 else ("left" if x > 0 else "right")}
    sides["va"] = "center" if abs(direction[1]) < 0.4 else ("bottom" if y > 0 else "top")
    dark = 0.75 * np.array(to_rgb(color))  # letters are thin
    ax.text(x, y, name, color=dark, fontsize=8, linespacing=1.0, fontweight="bold", parse_math=False, **sides)
    if np.hypot(x, y) - np.hypot(alone.x, alone.y) > 3 * alone.radius and n_sets == 6:
        edge = np.array([alone.x, alone.y]) + 0.8 * alone.radius * direction
        ax.plot([edge[0], 0.98 * x], [edge[1], 0.98 * y], color=color, linewidth=0.6)


def _in_lines(name: str) -> str | None:
    """At most two short lines; None if that is too little."""
    lines = textwrap.wrap(name, 10, break_long_words=False)
    return "\n".join(lines) if len(lines) <= 2 and max(map(len, lines), default=0) <= 10 else None


def _upset(sets: dict[str, set[str]], counts: pd.Series, max_bars: int, ax: Axes | None) -> Axes:
    shown = counts.sort_values(ascending=False, kind="stable").head(max_bars)
    n_sets, bars = len(sets), np.arange(len(shown))
    tall = 8.0  # of the highest bar, in rows of dots
    ax = axes_or_new(ax, 3.4, 0.7 + 0.17 * (n_sets + tall))
    heights = tall * shown.to_numpy() / shown.max()
    ax.bar(bars, heights, bottom=0.4, width=0.7, color=FIRST)
    for bar, height, n_genes in zip(bars, heights, shown, strict=True):
        ax.text(bar, height + 0.55, str(n_genes), ha="center", va="bottom", fontsize=6)
    member = np.array(shown.index.tolist())  # (bars, sets)
    rows = -np.arange(n_sets, dtype=float) - 0.4
    for row in rows[::2]:
        ax.axhspan(row - 0.5, row + 0.5, color="0.95", zorder=0)
    for is_in, color in ((False, "0.8"), (True, "black")):
        bar, place = np.nonzero(member == is_in)
        ax.scatter(bar, rows[place], s=9, color=color, zorder=2, linewidths=0)
    for bar, is_in in zip(bars, member, strict=True):
        ax.plot([bar, bar], [rows[is_in].min(), rows[is_in].max()], color="black", linewidth=0.8, zorder=1)
    names = [f"{shortened(name, 20)} ({len(genes)})" for name, genes in sets.items()]
    ax.set_yticks(rows, names, fontsize=7, parse_math=False)
    ax.tick_params(length=0)
    ax.set_xticks([])
    ax.set(xlim=(-0.6, len(shown) - 0.4), ylim=(rows[-1] - 0.6, tall + 2))
    ax.set_title("genes in just these lists", fontsize=8, loc="left")
    left_out = counts.sum() - shown.sum()
    if left_out:
        ax.set_xlabel(
            f"{left_out} more genes in {len(counts) - len(shown)} smaller combinations", fontsize=7, loc="right"
        )
    ax.spines[:].set_visible(False)
    return ax
