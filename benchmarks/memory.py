"""Peak memory beside what is resident, measured in a process of its own and set beside the estimate.

Data are generated: Poisson counts in 2,000 genes of which a cell expresses 8 %, 20 types, half of the cells labelled. The
peak does not depend on how long anything trains, so training is short. Linux only: the peak is the kernel's, reset before
the call.

    python benchmarks/memory.py [--cells 2000 10000 30000] [--verbs annotate fit inductive transductive cluster]
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import re
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import scipy.sparse as sp
import torch
from _runs import commit
from anndata import AnnData
from sklearn.svm import LinearSVC

import scbignn
from scbignn.annotation import Config, _linear

VERBS = ("annotate", "fit", "inductive", "transductive", "cluster")
N_GENES, N_TYPES, DENSITY = 2000, 20, 0.08
N_REFERENCE = 2000
SHORT = Config(target_sum=1e4, pretrain_epochs=1, pretrain_updates=1, m_step_updates=3, cross_fit_folds=2)


def generated(n_cells: int, labelled: float, seed: int = 0) -> AnnData:
    rng = np.random.default_rng(seed)
    rates = np.exp(rng.normal(0, 1, N_GENES) + rng.normal(0, 0.8, (N_TYPES, N_GENES)))
    for _ in range(20):
        rates *= DENSITY / np.mean(1 - np.exp(-rates))
    kind = rng.integers(N_TYPES, size=n_cells)
    parts = [sp.csr_matrix(rng.poisson(rates[kind[i : i + 2000]]), dtype=np.float32) for i in range(0, n_cells, 2000)]
    label = np.array([f"type {number}" for number in kind], dtype=object)
    label[rng.random(n_cells) >= labelled] = "Unknown"
    obs = pd.DataFrame({"cell_type": pd.Categorical(label)}, index=[f"cell {i}" for i in range(n_cells)])
    return AnnData(sp.vstack(parts, format="csr"), obs, pd.DataFrame(index=[f"gene {i}" for i in range(N_GENES)]))


def resident(what: str) -> int:
    """VmRSS or VmHWM, in bytes."""
    return 1024 * int(re.search(rf"{what}:\s+(\d+)", Path("/proc/self/status").read_text())[1])


def measure(verb: str, n_cells: int, folder: Path) -> dict[str, object]:
    _linear.LinearSVC = partial(LinearSVC, max_iter=20)
    logging.captureWarnings(True)
    lines: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: lines.append(record.getMessage())
    logging.getLogger("scbignn").addHandler(handler)
    adata = generated(n_cells, 1.0 if verb == "fit" else 0.5)
    model = scbignn.read_model(folder / "model") if verb in ("inductive", "transductive") else None
    calls = {
        "annotate": lambda: scbignn.tl.annotate(adata, "cell_type", config=SHORT),
        "fit": lambda: scbignn.tl.fit(adata, "cell_type", config=SHORT),
        "inductive": lambda: scbignn.tl.predict(adata, model, mode="inductive"),
        "transductive": lambda: scbignn.tl.predict(adata, model),
        "cluster": lambda: scbignn.tl.cluster(adata, N_TYPES),
    }
    assert calls.keys() == set(VERBS)
    scbignn.graph.choose_engine("auto", torch.device("cpu"))  # imports DGL before the peak is reset
    with scbignn.settings.override(progress=False, verbosity=2):
        Path("/proc/self/clear_refs").write_text("5")
        before = resident("VmRSS")
        calls[verb]()
        peak = resident("VmHWM") - before
    needed = next(
        re.search(r"about ([\d.]+) ([MG])B of memory.*at most for: (.*);", line) for line in lines if "memory" in line
    )
    estimate = float(needed[1]) * {"M": 1e6, "G": 1e9}[needed[2]]
    row = {"verb": verb, "n_cells": n_cells, "measured_MB": round(peak / 1e6), "estimate_MB": round(estimate / 1e6)}
    return row | {"ratio": round(estimate / peak, 2), "phase": needed[3]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cells", type=int, nargs="+", default=[2000, 10_000, 30_000])
    parser.add_argument("--verbs", nargs="+", choices=VERBS, default=list(VERBS))
    parser.add_argument("--one", nargs=2, metavar=("FOLDER", "VERB"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        print(json.dumps(measure(options.one[1], options.cells[0], Path(options.one[0]))))
        return
    print(json.dumps({"commit": commit()}))
    with tempfile.TemporaryDirectory() as folder:
        if {"inductive", "transductive"} & set(options.verbs):
            scbignn.tl.fit(generated(N_REFERENCE, 1.0), "cell_type", config=SHORT).save(Path(folder) / "model")
        for verb in options.verbs:
            for n_cells in options.cells:
                command = [sys.executable, __file__, "--one", folder, verb, "--cells", str(n_cells)]
                done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, env=os.environ)
                print(done.stdout.splitlines()[-1], flush=True)


if __name__ == "__main__":
    main()
