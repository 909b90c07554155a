"""A run as `tl.annotate` leaves it, written by hand, with as many labels as a plot must bear."""

from __future__ import annotations

import numpy as np
import pandas as pd
import scipy.sparse as sp
from anndata import AnnData

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
    share = np.linspace(0.55, 0.99, n_labels)
    share[-1] = np.nan  # no cell, no edge
    adata.uns["scbignn"] = {
        "params": {"labels_key": "shown"},
        "labels": np.array(names, dtype=object),
        "gene_importance": score,
        "homophily": {
            "learned": 0.93,
            "raw": 0.81,
            "per_label": pd.DataFrame({"learned": share, "raw": share - 0.15}, index=names),
        },
    }
    return adata
