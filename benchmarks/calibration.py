"""Expected calibration error before and after calibration, and known cells called Unknown, within a set and across batches.

    python benchmarks/calibration.py --data DIR [--sets ...] [--folds 0 1 2 3 4] [--pairs ...] [--seeds 0] [--threads 1]
                                     [--json OUT]
    python benchmarks/calibration.py --read RUN.json [RUN.json ...]

Within a set, a fold of the cells loses its labels (transductive); and a model of one fold labels the other four, in both modes.
Across batches, a model of one batch labels another; the pairs are those of `transfer.py`. The same probabilities are scored
twice: as p gives them, and calibrated on labelled cells. 15 bins of equal numbers of cells. And the share of the cells that
is called Unknown at an asked rate of 5 %, though all are of types with labels.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import anndata
import numpy as np
import torch
from _methods import _in_a_process
from _problem import SETS, folds, load
from _runs import read, write
from _scores import calibration_error
from _tables import markdown
from transfer import PAIRS, transfer

from scbignn import settings
from scbignn.annotation import Config, Predictor, annotate_cells, model_of, trust_of

CPU = torch.device("cpu")
WHERE = {"device": CPU, "engine": "torch"}
#: Asked share of known cells that may be called Unknown, and the fewest cells of a type whose own share is looked at.
RATE, FEWEST = 0.05, 30
FIGURES = ("ece_before", "ece_after", "rejected", "rejected_of_a_type")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=Path("data"), help="folder of the h5ad files")
    parser.add_argument("--sets", nargs="*", default=SETS[:-1], choices=SETS)
    parser.add_argument("--folds", type=int, nargs="+", default=range(5))
    parser.add_argument("--pairs", nargs="*", default=list(PAIRS), choices=PAIRS)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", type=Path, help="file to write all figures to, after every set and pair")
    parser.add_argument("--read", type=Path, nargs="+", help="print the table of earlier runs, and run nothing")
    options = parser.parse_args()
    if options.read:
        print(table(read(options.read)))
        return
    rows = []

    def done(name: str, found: list[dict[str, object]]) -> None:
        for row in found:
            rows.append({"name": name, **row})
            print(json.dumps(rows[-1]), flush=True)
        if options.json:
            write(options.json, rows, [], threads=options.threads, config=Config().to_dict())

    for pair in options.pairs:
        name, reference, query = PAIRS[pair]
        adata = anndata.read_h5ad(options.data / f"{name}.h5ad")
        for seed in options.seeds:
            found = _in_a_process(across, adata, reference, query, seed, options.threads)
            done(f"{name}: {reference} to {query}", found)
    for name in options.sets:
        counts, truth, _ = load(name, options.data)
        for fold in options.folds:
            for seed in options.seeds:
                own = folds(name) == fold
                found = _in_a_process(within, counts, truth, own, seed, options.threads)
                done(name, found + _in_a_process(of_a_fold, counts, truth, own, seed, options.threads))
    print(table(rows))


def within(counts, truth: np.ndarray, hidden: np.ndarray, seed: int, threads: int) -> list[dict[str, object]]:
    """Of the cells that are hidden, in a run of all cells."""
    torch.set_num_threads(threads)
    y = np.where(hidden, -1, truth)
    with settings.override(progress=False):
        found = annotate_cells(counts, y, truth.max() + 1, Config(), seed=seed, **WHERE)
    trust, novelty = trust_of(found, of_its_own=True, seed=seed)
    p = found.fit.p[hidden]
    rejected = trust.thresholds(RATE).reject(novelty[hidden], p.argmax(1))
    return [figures("within", "transductive", truth[hidden], p, trust.calibration.apply(p), rejected, seed)]


def of_a_fold(counts, truth: np.ndarray, own: np.ndarray, seed: int, threads: int) -> list[dict[str, object]]:
    """Of the cells of all other folds that have a label of this one, by a model of this one."""
    asked = ~own & np.isin(truth, truth[own])
    return of_a_query("of a fold", counts[own], truth[own], counts[asked], truth[asked], seed, threads)


def across(adata: anndata.AnnData, reference: str, query: str, seed: int, threads: int) -> list[dict[str, object]]:
    """Of the cells of another batch."""
    problem, truth, _ = transfer(adata, reference, query, seed)
    known = problem.batch == 0
    return of_a_query(
        "across", problem.counts[known], problem.y[known], problem.counts[problem.test], truth, seed, threads
    )


def of_a_query(
    kind: str, counts, y: np.ndarray, query, truth: np.ndarray, seed: int, threads: int
) -> list[dict[str, object]]:
    """Of other cells, by a model, in both modes."""
    torch.set_num_threads(threads)
    labels, y = np.unique(y, return_inverse=True)
    names, genes = [str(label) for label in labels], np.arange(counts.shape[1]).astype(str)
    with settings.override(progress=False):
        found = annotate_cells(counts, y, len(labels), Config(), seed=seed, **WHERE)
        trust, _ = trust_of(found, of_its_own=False, seed=seed)
        plain, calibrated = (
            Predictor(model_of(found, genes, names, trust=told), np.ones(len(genes), dtype=bool), **WHERE)
            for told in (None, trust)
        )
        before = {"inductive": plain.inductive(query), "transductive": plain.transductive(query, seed=seed)[0]}
        after = {"inductive": calibrated.inductive(query), "transductive": calibrated.transductive(query, seed=seed)[0]}
    truth, rows = np.searchsorted(labels, truth), []
    for mode, answer in after.items():
        rejected = trust.thresholds(RATE, together=mode == "transductive").reject(answer.novelty, answer.p.argmax(1))
        rows.append(figures(kind, mode, truth, before[mode].p, answer.p, rejected, seed))
    return rows


def figures(
    kind: str, mode: str, truth: np.ndarray, before: np.ndarray, after: np.ndarray, rejected: np.ndarray, seed: int
) -> dict[str, object]:
    errors = {name: calibration_error(truth, p) for name, p in (("ece_before", before), ("ece_after", after))}
    of_types = [rejected[truth == label].mean() for label in np.unique(truth) if np.sum(truth == label) >= FEWEST]
    shares = {"rejected": float(rejected.mean()), "rejected_of_a_type": float(max(of_types, default=np.nan))}
    return {"kind": kind, "mode": mode, "seed": seed, "n_cells": len(truth)} | errors | shares


def table(rows: list[dict[str, object]]) -> str:
    """Means over folds and seeds of each set and pair, and of all of a kind, in Markdown."""
    body = []
    for kind in dict.fromkeys((row["kind"], row["mode"]) for row in rows):
        own = [row for row in rows if (row["kind"], row["mode"]) == kind]
        means = []
        for name in dict.fromkeys(row["name"] for row in own):
            runs = [row for row in own if row["name"] == name]
            means.append([np.mean([row[figure] for row in runs]) for figure in FIGURES])
            body.append([name, kind[1], f"{len(runs)}", *(f"{figure:.4f}" for figure in means[-1])])
        found = (f"{figure:.4f}" for figure in np.mean(means, axis=0))
        body.append([f"**mean, {kind[0]}**", kind[1], f"{len(own)}", *found])
    head = ["", "mode", "runs", "ECE before", "ECE after", "called Unknown", "of the type that suffers most"]
    return "\n".join(markdown(head, body))


if __name__ == "__main__":
    main()
