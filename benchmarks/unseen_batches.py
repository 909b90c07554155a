"""Leave one batch out, and label it by the others: is it worth telling scBiGNN which batch a reference cell is of?

    python benchmarks/unseen_batches.py --data DIR [--sets ...] [--runs ...] [--batches ...] [--seeds 0] [--threads 1]
                                        [--json OUT]
    python benchmarks/unseen_batches.py --read RUN.json [RUN.json ...]

Every run is calibrated twice: on cells that lost their label by themselves, and on cells whose batch lost all of its
labels. Beside accuracy, macro-F1 and expected calibration error of p: the share of cells that is rejected at an asked rate
of 5 %, all of them being of types that the reference has. Query cells of other types are left out. `planted` is
`baron_mouse` in three random parts, with counts of each gene thinned by a factor of its own in each part: batches that
differ in nothing else. Fits run with s = 10,000 to save time.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from pathlib import Path

import anndata
import numpy as np
import torch
from _methods import _in_a_process
from _runs import read, write
from _scores import scores
from _tables import markdown

import scbignn
from scbignn.annotation import Config, annotate_cells, cross_fit_batches, model_of, trust_of

SETS = ("kang_pbmc_muscat", "planted")
RUNS = {
    "genes over all cells": {"genes_within_batches": False},
    "genes within batches": {},
    "genes within batches, balanced graph": {"balanced_graph": True},
}
FIGURES = ("accuracy", "macro_f1", "ece", "rejected")
_FEWEST = 5
CPU = torch.device("cpu")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=Path("data"), help="folder of the h5ad files")
    parser.add_argument("--sets", nargs="+", default=SETS, choices=SETS)
    parser.add_argument("--runs", nargs="+", default=list(RUNS), choices=RUNS)
    parser.add_argument("--batches", nargs="+", help="only these are left out")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--read", type=Path, nargs="+", help="print the table of earlier runs, and run nothing")
    parser.add_argument("--json", type=Path, help="file to write all figures to")
    options = parser.parse_args()
    if options.read:
        print(table(read(options.read)))
        return
    rows = []
    for name in options.sets:
        for seed in options.seeds:
            adata = load(name, options.data, seed)
            for batch in options.batches or sorted(adata.obs["sample"].unique()):
                for run in options.runs:
                    for row in _in_a_process(left_out, adata, batch, run, seed, options.threads):
                        rows.append({"set": name, "seed": seed, "batch": batch, "run": run, **row})
                        print(json.dumps(rows[-1]), flush=True)
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


def left_out(adata: anndata.AnnData, batch: str, run: str, seed: int, threads: int) -> list[dict[str, object]]:
    """A row for each mode and each way to calibrate."""
    torch.set_num_threads(threads)
    asked = (adata.obs["sample"] == batch).to_numpy()
    reference, query = adata[~asked], adata[asked].copy()
    labels, y = np.unique(reference.obs["cell_type"].astype(str), return_inverse=True)
    batches = np.unique(reference.obs["sample"].astype(str), return_inverse=True)[1]
    query = query[query.obs["cell_type"].isin(labels)].copy()
    truth = np.searchsorted(labels, query.obs["cell_type"].astype(str))
    config, where = Config(target_sum=1e4, **RUNS[run]), {"device": CPU, "engine": "torch", "seed": seed}
    rows = []
    with scbignn.settings.override(progress=False):
        counts = reference.X.tocsr().astype(np.float32)
        found = annotate_cells(counts, y, len(labels), config, **where, batches=batches, unseen_batches=False)
        seen = {"evidence": found.evidence, "expression": found.expression}
        told = cross_fit_batches(found.x, y, len(labels), found.config, batches, **seen, **where)
        for by, trusted in (("cells", found), ("batches", replace(found, by_batch=told, cross_fitted=told.p))):
            trust, _ = trust_of(trusted, of_its_own=False, seed=seed)
            model = model_of(found, adata.var_names, list(labels), trust=trust, batches=batches)
            for mode in ("inductive", "transductive"):
                scbignn.tl.predict(query, model, mode=mode, rng=seed, false_rejection_rate=0.05)
                p = query.obsm["scbignn_proba"].to_numpy()
                scored = scores(truth, p.argmax(1), p, len(labels))
                figures = {figure: scored[figure] for figure in ("accuracy", "macro_f1", "ece")}
                rejected = float((query.obs["scbignn"] == "Unknown").mean())
                rows.append({"mode": mode, "calibrated_by": by, **figures, "rejected": rejected})
    return rows


def table(rows: list[dict[str, object]]) -> str:
    """Means over batches and seeds of every set, in Markdown."""
    head = ["set", "mode", "run", "calibrated by", "n", "accuracy / macro-F1", "ECE", "rejected, asked 5 %"]
    body = []
    kinds = dict.fromkeys(tuple(row[key] for key in ("set", "mode", "run", "calibrated_by")) for row in rows)
    for kind in sorted(kinds):
        own = [row for row in rows if tuple(row[key] for key in ("set", "mode", "run", "calibrated_by")) == kind]
        accuracy, macro_f1, ece, rejected = (np.mean([row[figure] for row in own]) for figure in FIGURES)
        body.append([*kind, f"{len(own)}", f"{accuracy:.4f} / {macro_f1:.4f}", f"{ece:.4f}", f"{rejected:.3f}"])
    return "\n".join(markdown(head, body))


if __name__ == "__main__":
    main()
