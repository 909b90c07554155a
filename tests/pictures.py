"""A run as `tl.annotate` leaves it, written by hand, with as many labels as a plot must bear."""

from __future__ import annotations

import io
from itertools import combinations

import numpy as np
import pandas as pd
import scipy.sparse as sp
from anndata import AnnData
from matplotlib.axes import Axes
from matplotlib.text import Text

LONG = "central memory CD8-positive, alpha-beta T cell"


def label_names(n_labels: int) -> list[str]:
    """One of them long, one with signs that trouble file formats and matplotlib."""
    names = [f"type {number}" for number in range(n_labels)]
    names[1:3] = [LONG, "CD4+/CD25 T Reg $_$"]
    return names


def run_of(n_labels: int, *, n_cells: int = 400, n_genes: int = 60, n_rejected: int = 12, seed: int = 0) -> AnnData:
    """Cells of `n_labels` given labels in obs["truth"], the last without cells, predicted with some confusion.

    Each label is mistaken for the one five places on; confidence falls with the number of the label.
    """
    rng = np.random.default_rng(seed)
    names = label_names(n_labels)
    codes = np.sort(rng.integers(n_labels - 1, size=n_cells))
    mistaken = rng.random(n_cells) < 0.25
    guess = np.where(mistaken, (codes + 5) % (n_labels - 1), codes)
    confidence = np.clip(rng.beta(8, 1, n_cells) - 0.3 * codes / n_labels - 0.2 * mistaken, 1 / n_labels, 1)
    p = np.full((n_cells, n_labels), 0.0) + ((1 - confidence) / (n_labels - 1))[:, None]
    p[np.arange(n_cells), guess] = confidence
    label = guess.copy()
    label[rng.choice(n_cells, n_rejected, replace=False)] = n_labels
    categories = [*names, "Unknown"] if n_rejected else names
    genes = [f"Gene{number}" for number in range(n_genes)]
    genes[3] = "ENSMUSG00000099999-RIKEN-long"
    obs = pd.DataFrame(
        {
            "truth": pd.Categorical.from_codes(codes, categories=names),
            "scbignn": pd.Categorical.from_codes(label, categories=categories),
            "scbignn_confidence": p.max(1).astype(np.float32),
            "scbignn_entropy": np.zeros(n_cells, dtype=np.float32),
            "scbignn_disagreement": np.zeros(n_cells, dtype=np.float32),
        },
        index=[f"cell {number}" for number in range(n_cells)],
    )
    adata = AnnData(sp.csr_matrix((n_cells, n_genes), dtype=np.float32), obs=obs, var=pd.DataFrame(index=genes))
    adata.obsm["scbignn_proba"] = pd.DataFrame(
        p.astype(np.float32), index=obs.index, columns=[f"c{n}" for n in range(n_labels)]
    )
    turn = 2 * np.pi * codes / n_labels
    adata.obsm["X_umap"] = np.column_stack([np.cos(turn), np.sin(turn)]) * 5 + rng.normal(0, 0.5, (n_cells, 2))
    attention = rng.gamma(0.5, 0.02, (n_genes, n_genes)) * (rng.random((n_genes, n_genes)) < 0.6)
    block = np.arange(n_genes) % 5
    attention += 0.05 * rng.random((n_genes, n_genes)) * (block == block[:, None])
    adata.varp["scbignn_attention"] = sp.csr_matrix(attention, dtype=np.float32)
    score = pd.DataFrame({"score": attention.sum(0)}, index=genes).sort_values("score", ascending=False)
    by_label = rng.gamma(0.5, 1, (n_genes, n_labels))
    by_label[:, -1] = np.nan
    share = np.linspace(0.55, 0.99, n_labels)
    share[-1] = np.nan  # no cell, no edge
    adata.uns["scbignn"] = {
        "params": {"labels_key": "shown"},
        "labels": np.array(names, dtype=object),
        "gene_importance": score,
        "gene_importance_per_label": {"score": by_label},
        "homophily": {
            "learned": 0.93,
            "raw": 0.81,
            "per_label": pd.DataFrame({"learned": share, "raw": share - 0.15}, index=names),
        },
    }
    return adata


def drawn(ax: Axes) -> bytes:
    """The PNG of a figure, after a look at its words: none is cut off, and none empty.

    Warnings are errors in these tests, so a missing glyph or a layout that does not fit fails here as well.
    """
    figure = ax.figure
    buffer = io.BytesIO()
    figure.savefig(buffer, dpi=100)
    renderer = figure.canvas.get_renderer()
    for text in figure.findobj(Text):
        if text.get_visible() and text.get_text() and text.axes is not None:
            box = text.get_window_extent(renderer)
            limits = figure.bbox.padded(1.5)
            inside = limits.x0 <= box.x0 and box.x1 <= limits.x1 and limits.y0 <= box.y0 and box.y1 <= limits.y1
            if _is_shown(text):
                assert inside, f"{text.get_text()!r} at {box.extents} leaves {limits.extents}"
    return buffer.getvalue()


def _is_shown(text: Text) -> bool:
    """Whether a tick's label, if it is one, is within the limits of its axis."""
    axes = text.axes
    if not axes.axison:
        return text in axes.texts
    for axis in (axes.xaxis, axes.yaxis):
        low, high = sorted(axis.get_view_interval())
        for tick in [*axis.get_major_ticks(), *axis.get_minor_ticks()]:
            if text in (tick.label1, tick.label2):
                return low <= tick.get_loc() <= high
    return True


def overlapping(texts: list[Text], *, neighbors: bool = True) -> list[tuple[str, str]]:
    """Pairs of drawn texts, or of neighbours in the list, that lie on each other by more than a fifth of a letter."""
    boxes = [text.get_window_extent().shrunk(0.8, 0.8) for text in texts]
    pairs = (
        zip(range(len(boxes)), range(1, len(boxes)), strict=False) if neighbors else combinations(range(len(boxes)), 2)
    )
    return [(texts[a].get_text(), texts[b].get_text()) for a, b in pairs if boxes[a].overlaps(boxes[b])]
