"""What self-attention between genes is worth on real data: the default with and without its attention layer.

    python benchmarks/attention.py --data DIR [--sets ...] [--folds 0 1 2 3 4] [--seeds 0 1 2 3 4] [--threads 1]
                                   [--json OUT]
    python benchmarks/attention.py --read RUN.json [RUN.json ...]

Folds as in annotation.py. Genes and linear evidence are gathered once a fold; on them both networks train with every seed,
with and without attention, so that whatever differs is due to the layer or to the seed. Nothing is calibrated. Seconds are
those of both networks, memory is that of everything.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from resource import RUSAGE_SELF, getrusage

import numpy as np
import torch
from _methods import _in_a_process
from _problem import SETS, folds, load
from _runs import read, show, write
from _scores import scores
from _tables import table

import scbignn
from scbignn._expression import columns, normalized
from scbignn.annotation import Config, choose_genes, choose_target_sum, fit, gather_evidence

METHODS = {"1 attention layer": Config(), "no attention": Config(n_layers=0)}
CPU = torch.device("cpu")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=Path("data"), help="folder of the h5ad files")
    parser.add_argument("--sets", nargs="+", default=SETS, choices=SETS)
    parser.add_argument("--folds", type=int, nargs="+", default=range(5))
    parser.add_argument("--seeds", type=int, nargs="+", default=range(5))
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", type=Path, help="file to write all figures to, after every fold")
    parser.add_argument("--read", type=Path, nargs="+", help="print the table of earlier runs, and run nothing")
    options = parser.parse_args()
    if options.read:
        print(tables(read(options.read)))
        return
    torch.set_num_threads(options.threads)
    rows = []
    for name in options.sets:
        counts, y, labels = load(name, options.data)
        for fold in options.folds:
            with scbignn.settings.override(progress=False):
                test = np.flatnonzero(folds(name) == fold)
                found = _in_a_process(run, counts, y, len(labels), test, options.seeds)
            rows += [{"set": name, "fold": fold, **row} for row in found]
            for row in rows[-len(found) :]:
                show(row, "set", "fold", "seed")
            if options.json:
                write(options.json, rows, [], threads=options.threads, config=Config().to_dict())
    print(tables(rows))


def run(counts, y: np.ndarray, n_labels: int, test: np.ndarray, seeds: list[int]) -> list[dict[str, object]]:
    """A row for every seed, method and network."""
    shown = y.copy()
    shown[test] = -1
    config, gene = choose_target_sum(counts, shown, n_labels, Config(), seed=0)
    expression = normalized(counts, config.target_sum, unit=config.unit_rows)
    gene = gene.of_all(expression, shown)
    evidence = gather_evidence(expression, shown, n_labels, config, device=CPU, seed=0, gene=gene)
    panel = columns(expression, choose_genes(expression, shown, config))
    rows = []
    for seed in seeds:
        for method, own in METHODS.items():
            start = time.perf_counter()
            found = fit(panel, shown, n_labels, own, device=CPU, engine="torch", seed=seed, evidence=evidence)
            seconds = time.perf_counter() - start
            for network, mode in (("p", "transductive"), ("q", "inductive")):
                probability = getattr(found, network)[test]
                figures = scores(y[test], probability.argmax(1), probability, n_labels)
                row = {"seed": seed, "method": f"{method}: {network}", "mode": mode, **figures}
                rows.append(row | {"seconds": seconds, "peak_gb": getrusage(RUSAGE_SELF).ru_maxrss / 2**20})
    return rows


def tables(rows: list[dict[str, object]]) -> str:
    return table(rows, against=tuple(f"1 attention layer: {network}" for network in "pq"), share=0.25)


if __name__ == "__main__":
    main()
