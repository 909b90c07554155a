"""Rivals that live in a Python environment of their own: what is asked and answered travels through files.

`ask` runs here, `main` there. The rival's module has `answer(given)`, which runs there and so imports what is there, and
`read(file)` where it is asked something else than :class:`Given`.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import NamedTuple

import numpy as np
import scipy.sparse as sp

BENCHMARKS = Path(__file__).resolve().parents[1]
ENVIRONMENT = BENCHMARKS / ".venv-rivals"
REQUIREMENTS = Path(__file__).with_name("requirements.txt")
_LIMITS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")


class Given(NamedTuple):
    """A problem as it arrives there."""

    counts: sp.csr_matrix
    """(N, M), integer counts, or values proportional to counts in each cell."""
    y: np.ndarray
    """(N,) codes; -1 where hidden."""
    n_labels: int
    seed: int
    test: np.ndarray
    """Cells whose labels are asked for."""
    batch: np.ndarray | None
    """(N,) codes."""
    threads: int


def python_of(environment: Path) -> Path:
    """The interpreter of a virtual environment."""
    return environment / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def ask(name: str, problem, python: Path | None = None) -> np.ndarray:
    """What the rival `name` answers, (cells of `problem.test`, labels), from the interpreter `python`."""
    return call(name, partial(write, problem=problem), python)


def call(name: str, write: Callable[..., None], python: Path | None = None) -> np.ndarray:
    """What the module `name` answers to the question that `write(file, threads=...)` puts into a file."""
    import torch

    python = python or python_of(ENVIRONMENT)
    if not python.exists():
        message = f"{name} needs its own environment, and {python} is not there. Set it up:\n"
        raise FileNotFoundError(message + f"    python {BENCHMARKS / 'set_up_rivals.py'}")
    threads = torch.get_num_threads()
    variables = {**os.environ, **{variable: str(threads) for variable in _LIMITS}, "PYTHONPATH": str(BENCHMARKS)}
    with tempfile.TemporaryDirectory() as folder:
        question, answer = Path(folder, "question.npz"), Path(folder, "answer.npy")
        write(question, threads=threads)
        command = [python, "-m", "rivals._apart", name, question, answer]
        done = subprocess.run(command, cwd=folder, env=variables, capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(f"{name} failed in {python}:\n{done.stderr[-3000:]}")
        return np.load(answer)


def versions() -> dict[str, str]:
    """Versions of what the environment was set up for."""
    code = "import json, sys, importlib.metadata as m; print(json.dumps({p: m.version(p) for p in sys.argv[1:]}))"
    pinned = [line.split("==")[0] for line in REQUIREMENTS.read_text().splitlines() if "==" in line]
    command = [python_of(ENVIRONMENT), "-c", code, *pinned]
    return json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def write(file: Path, problem, threads: int) -> None:
    """The problem, as `read` gives it back."""
    given = {"y": problem.y, "n_labels": problem.n_labels, "seed": problem.seed, "test": problem.test}
    if problem.batch is not None:
        given["batch"] = problem.batch
    np.savez(file, **parts(problem.counts), **given, threads=threads)


def read(file: Path) -> Given:
    with np.load(file) as given:
        numbers = {name: int(given[name]) for name in ("n_labels", "seed", "threads")}
        return Given(whole(given), y=given["y"], test=given["test"], batch=given.get("batch"), **numbers)


def parts(counts: sp.spmatrix) -> dict[str, np.ndarray]:
    """Counts as arrays by name, for `whole`."""
    counts = counts.tocsr()
    return {"data": counts.data, "indices": counts.indices, "indptr": counts.indptr, "shape": counts.shape}


def whole(parts: Mapping[str, np.ndarray]) -> sp.csr_matrix:
    """Counts again, of their arrays."""
    return sp.csr_matrix((parts["data"], parts["indices"], parts["indptr"]), parts["shape"])


def names(given: Given) -> np.ndarray:
    """A name of the label of each cell, (N,), "Unknown" where hidden."""
    return np.array([f"label {code}" for code in range(given.n_labels)] + ["Unknown"], dtype=object)[given.y]


def genes(given: Given) -> list[str]:
    return [f"gene {gene}" for gene in range(given.counts.shape[1])]


def log_normalized(given: Given):
    """AnnData with log1p of counts per 10,000."""
    import anndata
    import pandas as pd
    import scanpy as sc

    cells = pd.DataFrame(index=[f"cell {cell}" for cell in range(len(given.y))])
    adata = anndata.AnnData(given.counts.astype(np.float32), cells, pd.DataFrame(index=genes(given)))
    sc.pp.normalize_total(adata, target_sum=1e4)
    sc.pp.log1p(adata)
    return adata


def of_all_labels(values: np.ndarray, labels, given: Given, elsewhere: float | None = None) -> np.ndarray:
    """The columns `labels` of `values` at their codes; `elsewhere`, or the smallest of all, in other columns."""
    found = np.full((len(values), given.n_labels), values.min() if elsewhere is None else elsewhere, dtype=float)
    found[:, [int(label.removeprefix("label ")) for label in labels]] = values
    return found


def main() -> None:
    name, question, answer = sys.argv[1:]
    module = import_module(f"rivals.{name}")
    np.save(answer, module.answer(getattr(module, "read", read)(Path(question))))


if __name__ == "__main__":
    main()
