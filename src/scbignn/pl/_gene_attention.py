"""`pl.gene_attention`."""

from __future__ import annotations

from typing import Literal

import numpy as np
import pandas as pd
from anndata import AnnData
from matplotlib.axes import Axes
from matplotlib.patches import FancyArrowPatch

from .. import get
from ._style import FIRST, SECOND, axes_or_new, fit_names, shortened


def gene_attention(
    adata: AnnData,
    *,
    kind: Literal["heatmap", "network"] = "heatmap",
    key: str = "scbignn",
    n_genes: int = 30,
    n_pairs: int = 40,
    ax: Axes | None = None,
) -> Axes:
    """Attention between the most important genes; see :func:`scbignn.get.attention_matrix`.

    Parameters
    ----------
    adata
        Annotated data.
    kind
        ``"heatmap"``: a square for each pair, genes that attend to each other side by side. ``"network"``: genes on a
        circle in that order, the larger the more attention they receive from the others shown, and an arrow from source
        to target for each of the strongest pairs, the wider the stronger. Attention of a gene to itself is not shown.
    key
        The `key_added` of the run.
    n_genes
        How many genes.
    n_pairs
        How many arrows of a network.
    ax
        Axes to draw on. Default: those of a new figure.

    Returns
    -------
    The Axes.

    Raises
    ------
    KeyError
        `adata` holds no such run, or its matrix of attention is gone.
    ValueError
        `kind` is neither, or the run has no attention.
    """
    if kind not in {"heatmap", "network"}:
        msg = f'kind={kind!r} is unknown. Use kind="heatmap" or kind="network".'
        raise ValueError(msg)
    table = get.attention_matrix(adata, key=key, n_genes=n_genes)
    weight = table.to_numpy(copy=True)
    np.fill_diagonal(weight, 0)
    return _heatmap(table, weight, ax) if kind == "heatmap" else _network(table, weight, n_pairs, ax)


def _heatmap(table: pd.DataFrame, weight: np.ndarray, ax: Axes | None) -> Axes:
    n_genes = len(table)
    side, given = max(3.4, 0.9 + 0.1 * n_genes), ax is not None
    ax = axes_or_new(ax, side + 0.3, side)
    positive = weight[weight > 0]
    high = np.quantile(positive, 0.99) if positive.size else 1.0  # a single pair must not make all others pale
    shown = np.ma.masked_equal(weight, 0)
    ax.set_facecolor("0.9")
    image = ax.imshow(shown, cmap="cividis", vmin=0, vmax=high, aspect="equal", interpolation="nearest")
    names = [shortened(gene, 16) for gene in table.index]
    size = 6 if n_genes <= 45 else 4
    ax.set_xticks(range(n_genes), names, rotation=90, fontsize=size, parse_math=False)
    ax.set_yticks(range(n_genes), names, fontsize=size, parse_math=False)
    ax.tick_params(length=1.5, pad=1.5)
    ax.set_xlabel("attended to", fontsize=8)
    ax.set_ylabel("attends", fontsize=8)
    bar = ax.figure.colorbar(
        image, ax=ax, shrink=0.5, pad=0.02, extend="max" if positive.max(initial=0) > high else None
    )
    bar.set_label("mean attention", fontsize=8)
    bar.ax.tick_params(labelsize=6)
    if given:
        fit_names(ax)
    return ax


def _network(table: pd.DataFrame, weight: np.ndarray, n_pairs: int, ax: Axes | None) -> Axes:
    ax = axes_or_new(ax, 3.4, 3.4)
    n_genes = len(table)
    turn = np.pi / 2 - 2 * np.pi * np.arange(n_genes) / n_genes
    places = np.column_stack([np.cos(turn), np.sin(turn)])
    n_found = int((weight > 0).sum())
    strongest = np.argsort(-weight, axis=None, kind="stable")[: min(n_pairs, n_found)]
    source, target = np.unravel_index(strongest, weight.shape)
    strength = weight[source, target] / weight.max() if strongest.size else np.empty(0)
    received = weight.sum(0)
    largest = min(72.0, (0.75 * 2 * np.pi * 80 / n_genes) ** 2)  # neighbours on the circle do not touch
    size = largest * (0.15 + 0.85 * received / max(received.max(), np.finfo(float).tiny))
    for start, end, share in reversed(list(zip(source, target, strength, strict=True))):
        ax.add_patch(
            FancyArrowPatch(
                places[start],
                places[end],
                arrowstyle="-|>",
                mutation_scale=4 + 3 * share,
                connectionstyle=f"arc3,rad={_bend(places[start], places[end])}",
                shrinkA=2,
                shrinkB=np.sqrt(size[end]) / 2 + 1,
                linewidth=0.3 + 1.7 * share,
                color=FIRST,
                alpha=0.25 + 0.6 * share,
            )
        )
    linked = np.isin(np.arange(n_genes), np.concatenate([source, target]))
    ax.scatter(*places.T, s=size, color=np.where(linked, SECOND, "0.75"), linewidths=0, zorder=3)
    font = np.clip(2 * np.pi * 72 * 1.1 / n_genes / 1.25, 4, 7)  # a name is as high as its part of the circle
    for (x, y), angle, gene, is_linked in zip(places, np.degrees(turn), table.index, linked, strict=True):
        flip = np.cos(np.radians(angle)) < -1e-9
        ax.text(
            1.09 * x,
            1.09 * y,
            shortened(gene, 16),
            parse_math=False,
            rotation=angle + 180 * flip,
            rotation_mode="anchor",
            ha="right" if flip else "left",
            va="center",
            fontsize=font,
            color="black" if is_linked else "0.5",
        )
    ax.set(xlim=(-1.1, 1.1), ylim=(-1.1, 1.1), aspect="equal")
    ax.set_axis_off()
    return ax


def _bend(start: np.ndarray, end: np.ndarray) -> float:
    """How far an arc bends towards the middle: the more, the closer its ends; there and back on two arcs."""
    cross = start[0] * end[1] - start[1] * end[0]
    near = 1 - np.linalg.norm(start - end) / 2
    return float((-1 if cross > 0 else 1) * 0.6 * near + 0.06)
