"""What self-attention between genes is worth where types differ by an interaction of genes and by nothing else.

    python benchmarks/interactions.py [--pairs 1 6] [--seeds 0 1 2] [--threads 2]

Generated counts. Of each pair of genes, one, both or neither is on, all four equally often in every type, but for the
pair that marks the type: there, of the first type one gene is on, of the second both or neither. No gene's mean differs
between types, so no additive rule can tell them apart. Printed: accuracy of q on the hidden half.
"""

from __future__ import annotations

import argparse

import anndata
import numpy as np
import pandas as pd
import torch
from sklearn.svm import LinearSVC

import scbignn
from scbignn.annotation import Config

N_CELLS, N_GENES = 2000, 40


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pairs", type=int, nargs="+", default=[1, 6])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    common = {"gene_panel": "variance", "n_top_genes": N_GENES, "pretrain_epochs": 60, "gene_dropout": 0.0}
    methods = {
        "no attention": Config(n_layers=0, **common),
        "no attention, additive": Config(n_layers=0, batch_norm=False, dropout=0.0, **common),
        "1 attention layer": Config(n_layers=1, **common),
        "1 attention layer, additive read-out": Config(n_layers=1, batch_norm=False, dropout=0.0, **common),
        "2 attention layers": Config(n_layers=2, **common),
    }
    print("| pairs | linear SVM | " + " | ".join(methods) + " |")
    print("|---" * (2 + len(methods)) + "|")
    for n_pairs in options.pairs:
        cells = []
        for seed in options.seeds:
            counts, y, hidden = interacting(n_pairs, seed)
            row = [svm(counts, y, hidden)]
            row += [gene_level(counts, y, hidden, config, seed) for config in methods.values()]
            cells.append(row)
        means, errors = np.mean(cells, 0), np.std(cells, 0, ddof=1) / np.sqrt(len(cells))
        figures = (f"{m:.3f} ± {e:.3f}" for m, e in zip(means, errors, strict=True))
        print(f"| {n_pairs} | " + " | ".join(figures) + " |", flush=True)


def interacting(n_pairs: int, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Counts (N, M), type of each cell, and which cells are hidden. With n pairs there are n + 1 types."""
    rng = np.random.default_rng(seed)
    y = rng.integers(n_pairs + 1, size=N_CELLS)
    on = rng.random((N_CELLS, n_pairs, 2)) < 0.5
    for pair in range(n_pairs):  # type `pair` has exactly one gene of its pair on; the others have both or neither
        odd = on[:, pair, 0] != on[:, pair, 1]
        flip = odd != (y == pair)
        on[flip, pair, 1] ^= True
    rate = rng.gamma(2.0, 0.5, N_GENES) * np.ones((N_CELLS, 1))
    rate[:, : 2 * n_pairs] = np.where(on.reshape(N_CELLS, -1), 8.0, 0.2)
    return rng.poisson(rate), y, rng.random(N_CELLS) < 0.5


def svm(counts: np.ndarray, y: np.ndarray, hidden: np.ndarray) -> float:
    x = np.log1p(1e4 * counts / counts.sum(1, keepdims=True))
    machine = LinearSVC(C=0.01).fit(x[~hidden], y[~hidden])
    return float(np.mean(machine.predict(x[hidden]) == y[hidden]))


def gene_level(counts: np.ndarray, y: np.ndarray, hidden: np.ndarray, config: Config, seed: int) -> float:
    names = np.array([f"type {label}" for label in range(y.max() + 1)])
    obs = pd.DataFrame({"shown": np.where(hidden, "Unknown", names[y])}, index=[f"cell {i}" for i in range(len(y))])
    var = pd.DataFrame(index=[f"gene {i}" for i in range(counts.shape[1])])
    adata = anndata.AnnData(counts.astype(np.float32), obs, var)
    with scbignn.settings.override(progress=False):
        scbignn.tl.annotate(adata, "shown", config=config, rng=seed)
    found = adata.obsm["scbignn_proba_q"].to_numpy().argmax(1)
    return float(np.mean(found[hidden] == y[hidden]))


if __name__ == "__main__":
    main()
