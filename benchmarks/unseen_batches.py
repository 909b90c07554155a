"""Leave one batch out, and label it by the others: is it worth telling scBiGNN which batch a reference cell is of?

    python benchmarks/unseen_batches.py --data DIR [--sets ...] [--told ...] [--seeds 0] [--threads 1] [--json OUT]

Beside accuracy, macro-F1 and expected calibration error: the share of cells that is rejected at an asked rate of 5 %, all
of them being of types that the reference has. Query cells of other types are left out. `planted` is `baron_mouse` in three
random parts, with counts of each gene thinned by a factor of its own in each part: batches that differ in nothing else.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import anndata
import numpy as np
import torch
from _methods import _in_a_process
from _runs import write
from _scores import scores

import scbignn
from scbignn.annotation import Config

SETS = ("kang_pbmc_muscat", "planted")
#: What a reference is told of its batches.
TOLD = {
    "nothing": None,
    "batch_key": Config(),
    "batch_key, genes over all cells": Config(genes_within_batches=False),
    "batch_key, balanced graph": Config(balanced_graph=True),
    "batch_key, folds of cells": Config(cross_fit_batches=False),
}
FIGURES = ("accuracy", "macro_f1", "ece", "rejected", "seconds")
_FEWEST = 5


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=Path("data"), help="folder of the h5ad files")
    parser.add_argument("--sets", nargs="+", default=SETS, choices=SETS)
    parser.add_argument("--told", nargs="+", default=list(TOLD), choices=TOLD)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", type=Path, help="file to write all figures to")
    options = parser.parse_args()
    rows = []
    for name in options.sets:
        for seed in options.seeds:
            adata = load(name, options.data, seed)
            for batch in sorted(adata.obs["sample"].unique()):
                for told in options.told:
                    for row in _in_a_process(left_out, adata, batch, told, seed, options.threads):
                        rows.append({"set": name, "seed": seed, "batch": batch, "told": told, **row})
                        figures = {figure: round(row[figure], 4) for figure in FIGURES}
                        print(name, seed, batch, told, row["mode"], json.dumps(figures), flush=True)
    print(table(rows))
    if options.json:
        write(options.json, rows, [], threads=options.threads)


def load(name: str, folder: Path, seed: int) -> anndata.AnnData:
    """Cells of types with at least five, their batches in obs["sample"]."""
    adata = anndata.read_h5ad(folder / f"{'baron_mouse' if name == 'planted' else name}.h5ad")
    if name == "planted":
        adata = planted(adata, 3, np.random.default_rng(seed))
    else:
        adata.obs["sample"] = adata.obs["batch"].astype(str) + " " + adata.obs["donor"].astype(str)
    counts = adata.obs["cell_type"].value_counts()
    return adata[adata.obs["cell_type"].map(counts).astype(int) >= _FEWEST].copy()


def planted(adata: anndata.AnnData, n_batches: int, rng: np.random.Generator) -> anndata.AnnData:
    """Batches at random, each with a share of each gene's molecules that is lost, from none to nearly all."""
    batch = rng.integers(n_batches, size=adata.n_obs)
    kept = rng.beta(2, 2, size=(n_batches, adata.n_vars))
    x = adata.X.tocsr().astype(np.int64)
    cells = np.repeat(np.arange(adata.n_obs), np.diff(x.indptr))
    x.data = rng.binomial(x.data, kept[batch[cells], x.indices])
    x.eliminate_zeros()
    adata = anndata.AnnData(x.astype(np.float32), adata.obs[["cell_type"]].copy(), adata.var[[]].copy())
    adata.obs["sample"] = [f"part {number}" for number in batch]
    return adata[np.diff(x.indptr) > 0].copy()


def left_out(adata: anndata.AnnData, batch: str, told: str, seed: int, threads: int) -> list[dict[str, object]]:
    """A row for each mode."""
    torch.set_num_threads(threads)
    asked = (adata.obs["sample"] == batch).to_numpy()
    reference, query = adata[~asked].copy(), adata[asked].copy()
    config, rows = TOLD[told], []
    with scbignn.settings.override(progress=False):
        start = time.process_time()
        batch_key = None if config is None else "sample"
        model = scbignn.tl.fit(reference, "cell_type", batch_key=batch_key, config=config, rng=seed)
        seconds = time.process_time() - start
        query = query[query.obs["cell_type"].isin(model.labels)].copy()
        truth = np.array([model.labels.index(name) for name in query.obs["cell_type"]])
        for mode in ("inductive", "transductive"):
            scbignn.tl.predict(query, model, mode=mode, rng=seed, false_rejection_rate=0.05)
            p = query.obsm["scbignn_proba"].to_numpy()
            found = scores(truth, p.argmax(1), p, len(model.labels))
            figures = {figure: found[figure] for figure in ("accuracy", "macro_f1", "ece")}
            rejected = float((query.obs["scbignn"] == "Unknown").mean())
            rows.append({"mode": mode, **figures, "rejected": rejected, "seconds": seconds})
    return rows


def table(rows: list[dict[str, object]]) -> str:
    """Means over batches and seeds of every set, in Markdown; seconds are those of the fit, of processor time."""
    lines = [
        "| set | mode | told | accuracy / macro-F1 | ECE | rejected, asked 5 % | s of fit |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, mode, told in dict.fromkeys((row["set"], row["mode"], row["told"]) for row in rows):
        own = [row for row in rows if (row["set"], row["mode"], row["told"]) == (name, mode, told)]
        accuracy, macro_f1, ece, rejected, seconds = (np.mean([row[figure] for row in own]) for figure in FIGURES)
        scored = f"{accuracy:.4f} / {macro_f1:.4f}"
        lines.append(f"| {name} | {mode} | {told} | {scored} | {ece:.4f} | {rejected:.3f} | {seconds:.0f} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
