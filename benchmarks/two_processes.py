"""Train the gene-level network in one process and in two, of one thread each, in turn, and compare speed and losses.

    python benchmarks/two_processes.py [--repeats 5] [--processes 2] [--scale 1.0]
    python benchmarks/two_processes.py --read RUN.json

Starts itself by torchrun. In each repeat the first process trains alone, then all together, then all at the same time
but each by itself: what the last one loses is the machine's, not ours. Wall time is of the slowest process, and needs as
many idle cores as processes; processor time is what a process has to do, whatever else runs.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from statistics import median

import numpy as np
import scipy.sparse as sp
import torch
from _runs import write
from _tables import markdown

from scbignn._checkpoints import Keeper
from scbignn._ranks import ALONE, Ranks, join
from scbignn._training import progress_bar
from scbignn.annotation import Config
from scbignn.annotation._em import EM

RESULTS = Path(__file__).parent / "results"
N_GENES = 2000
#: Genes that a cell expresses, and cells.
SIZES = {160: 512, 500: 512}
N_LABELS = 20
#: Without what else a run does: only the gene level is trained here.
_ONLY_Q = {"anchor": False, "cell_input": "genes", "graph_from": "h"}
_SHORT = {"n_top_genes": N_GENES, "pretrain_epochs": 2, "pretrain_updates": 1}
NETWORKS = {
    "default": Config(**_ONLY_Q, **_SHORT),
    "default, batches of 512": Config(**_ONLY_Q, **_SHORT, batch_size=512),
    "published": Config.paper(**_SHORT),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--scale", type=float, default=1.0, help="of the numbers of cells")
    parser.add_argument("--json", type=Path, default=RESULTS / "two_processes.json")
    parser.add_argument("--read", type=Path, help="only write the table of an earlier run")
    options = parser.parse_args()
    if options.read:
        options.json = options.read
    elif "RANK" in os.environ:
        measure(options)
        return
    else:
        here = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={options.processes}"]
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
        subprocess.run([*here, __file__, *sys.argv[1:]], env=environment, check=True)
    text = table(json.loads(options.json.read_text())["rows"])
    options.json.with_suffix(".md").write_text(text)
    print(text)


def measure(options: argparse.Namespace) -> None:
    """Each of the processes runs this; the first writes."""
    torch.set_num_threads(1)
    ranks = join(torch.device("cpu"))
    rows = []
    for repeat in range(-1, options.repeats):  # the first is a warm-up
        for n_expressed, n_cells in SIZES.items():
            x, y = cells(round(options.scale * n_cells), n_expressed)
            for name, config in NETWORKS.items():
                row = {"network": name, "genes_per_cell": n_expressed, "cells": len(y), "batch_size": config.batch_size}
                row |= {"processes": ranks.size, "repeat": repeat, **once(x, y, config, ranks)}
                if repeat >= 0 and ranks.is_first:
                    rows.append(row)
                    print(json.dumps(row), flush=True)
        if ranks.is_first and rows:
            write(options.json, rows, [])


def once(x: sp.csr_matrix, y: np.ndarray, config: Config, ranks: Ranks) -> dict[str, float]:
    """Cells a second, by wall and by processor, and how far losses are apart."""
    found, losses, n_seen = {}, {}, len(y) * config.pretrain_epochs
    for way, own, runs in (("one", ALONE, ranks.is_first), ("together", ranks, True), ("apart", ALONE, True)):
        ranks.check_alike(way=way)  # all wait for one another
        wall = processor = 0.0
        if runs:
            em = EM(x, y, N_LABELS, config, device=torch.device("cpu"), engine="torch", seed=0, ranks=own)
            schedule = em.stages()[0].schedule
            ranks.check_alike(way=way) if way != "one" else None
            start = time.perf_counter(), time.process_time()
            with progress_bar(schedule.n_epochs, shown=False) as bar:
                epochs = em.pretrain(0, schedule, progress=bar, keeper=Keeper(None, {}, em.generator), ranks=own)
            wall, processor = time.perf_counter() - start[0], time.process_time() - start[1]
            losses[way] = np.array([epoch.loss for epoch in epochs])
        slowest = [max(seconds) for seconds in zip(*everyone(ranks, wall, processor), strict=True)]
        found |= {f"{way}_cells_per_s": n_seen / slowest[0], f"{way}_cells_per_cpu_s": n_seen / slowest[1]}
    found["loss_difference"] = float(np.abs(losses["one" if "one" in losses else "apart"] - losses["together"]).max())
    return found


def everyone(ranks: Ranks, *values: float) -> list[list[float]]:
    """These values of every process."""
    own = torch.tensor(values, dtype=torch.float64)
    others = [torch.empty_like(own) for _ in range(ranks.size)]
    torch.distributed.all_gather(others, own)
    return [other.tolist() for other in others]


def cells(n: int, n_expressed: int) -> tuple[sp.csr_matrix, np.ndarray]:
    """Expression with so many genes a cell in the mean, more in some cells than in others, and labels."""
    rng = np.random.default_rng(0)
    share = n_expressed / N_GENES * rng.lognormal(0, 0.35, n) / np.exp(0.35**2 / 2)
    shown = rng.random((n, N_GENES)) < share[:, None]
    x = sp.csr_matrix(np.where(shown, rng.lognormal(0, 0.5, (n, N_GENES)), 0), dtype=np.float32)
    return x, (np.arange(n) % N_LABELS).astype(np.int64)


def table(rows: list[dict[str, object]]) -> str:
    """Medians over the repeats; ratios are medians of the ratios within a repeat."""
    size = rows[0]["processes"]
    head = ["network", "genes a cell", "cells/s, one process", f"{size} together", "ratio", f"{size} apart"]
    head += ["ratio of processor time", "loss differs by"]
    body = []
    keys = dict.fromkeys((row["network"], row["genes_per_cell"]) for row in rows)
    for network, genes in keys:
        own = [row for row in rows if (row["network"], row["genes_per_cell"]) == (network, genes)]

        def ratio(way: str, kind: str, own: list[dict[str, object]] = own) -> float:
            return median(row[f"{way}_{kind}"] / row[f"one_{kind}"] for row in own)

        speed = [median(row[f"{way}_cells_per_s"] for row in own) for way in ("one", "together")]
        differs = max(row["loss_difference"] for row in own)
        ratios = [ratio("together", "cells_per_s"), size * ratio("apart", "cells_per_s")]
        ratios.append(ratio("together", "cells_per_cpu_s"))
        cells = [network, f"{genes}", *(f"{cells_per_s:,.0f}" for cells_per_s in speed)]
        body.append([*cells, *(f"{value:.2f}" for value in ratios), f"{differs:.0e}"])
    return "\n".join(markdown(head, body)) + "\n"


if __name__ == "__main__":
    main()
