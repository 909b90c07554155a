"""How far the networks are from the floor of the machine, and how time and memory grow with the number of cells.

    python benchmarks/speed.py --floors [--gpu] [--repeats 7] [--json OUT]
    python benchmarks/speed.py --growth 10000 50000 200000 1000000 [--gpu] [--json OUT]
    python benchmarks/speed.py --disk 1000000 20000 [--json OUT]
    python benchmarks/speed.py --pool DIR [--seeds 0 1 2] [--json OUT]

Times are processor time of one thread unless --threads says otherwise, or wall time on a GPU; what is compared is run
in turns, and medians of the turns are divided. The floor of the gene-level network is the time of its floating-point
operations at the rate of a 1024 x 1024 matrix product; that of the mean over neighbours is the time of moving what a
cell must read and write, (k + 1) rows of Z forward and as many back, at the rate of a copy. --growth annotates generated cells, a
tenth of them labelled, and predicts them from a file with a model of 5,000 others; each size runs in a process of its own. --disk
writes generated cells and genes to a file, a twentieth of their counts not zero, and reads them from there: for `tl.predict`, and
for all that `tl.annotate` does before its networks train; memory is what was needed beside the model. --pool
hides the unlabelled cells of real data from training until few are left, and asks what that costs.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import anndata
import h5py
import numpy as np
import pandas as pd
import scipy.sparse as sp
import torch
import torch.nn.functional as F
from _methods import _in_a_process, run, scbignn_answers
from _problem import Problem, few_labelled, load
from _runs import write
from clustering import generated, generated_parts, peak
from sklearn.metrics import accuracy_score

import scbignn
from scbignn.annotation import Config, _annotate, _em
from scbignn.annotation._gene_gnn import GeneGNN
from scbignn.annotation._tokens import Tokens
from scbignn.graph import nearest_neighbors, neighbor_mean

N_LABELS = 12
#: Two layers of one head, as the paper's, and the default.
NETWORKS = {
    "two layers, one head": Config.paper(n_layers=2, n_heads=1, gene_dropout=0.0),
    "default": Config(gene_dropout=0.0),
}
#: Expressed genes a cell, genes.
CELLS = {"two layers, one head": [(160, 1000), (500, 1000)], "default": [(110, 256), (160, 1000), (500, 1000)]}
N_CELLS, BATCH = 960, 96
#: What `annotate_cells` calls, by the name of the phase in the table.
PHASES = {
    "choose_target_sum": "normalisation and linear machine",
    "gather_evidence": "linear evidence",
    "fit": "networks",
    "cross_fit": "calibration folds",
    "importance_of": "gene importance",
    "homophily_of": "homophily",
}


def main() -> None:
    options = parse()
    torch.set_num_threads(options.threads)
    rows = []
    if options.floors:
        rows += floors(torch.device(device_of(options)), options.repeats)
    for n in options.growth or ():
        rows += _in_a_process(growth, n, options.threads, device_of(options))
    if options.disk:
        rows += disk(*options.disk, options.threads)
    if options.pool:
        rows += pool(options.pool, options.seeds, options.threads)
    if options.json:
        write(
            options.json, rows, [], threads=options.threads, config=Config().to_dict(), device=device_name(options.gpu)
        )


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--floors", action="store_true")
    parser.add_argument(
        "--gpu", action="store_true", help="measure floors, or annotation in --growth, on a CUDA device"
    )
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--growth", type=int, nargs="+", help="generated cells")
    parser.add_argument("--disk", type=int, nargs=2, metavar=("CELLS", "GENES"), help="more than 10,000 cells")
    parser.add_argument("--pool", type=Path, help="folder of the h5ad files")
    parser.add_argument("--seeds", type=int, nargs="+", default=range(3), help="of --pool")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", type=Path, help="file to write all figures to")
    return parser.parse_args()


def device_of(options: argparse.Namespace) -> str:
    return "cuda" if options.gpu else "cpu"


def device_name(gpu: bool) -> str:
    return torch.cuda.get_device_name() if gpu else "cpu"


def show(row: dict[str, object]) -> dict[str, object]:
    print(json.dumps(row), flush=True)
    return row


# --- floors -----------------------------------------------------------------------------------------------------------


def medians(tasks: dict[str, Callable[[], object]], device: torch.device, repeats: int) -> dict[str, float]:
    """Seconds of each task, the median over turns in which all of them run."""
    found = {name: [] for name in tasks}
    for _ in range(repeats + 1):
        for name, task in tasks.items():
            found[name].append(seconds_of(task, device))
    return {name: float(np.median(times[1:])) for name, times in found.items()}  # the first turn warms up


def seconds_of(task: Callable[[], object], device: torch.device) -> float:
    if device.type == "cpu":
        start = time.process_time()
        task()
        return time.process_time() - start
    torch.cuda.synchronize()
    start = time.perf_counter()
    task()
    torch.cuda.synchronize()
    return time.perf_counter() - start


def floors(device: torch.device, repeats: int) -> list[dict[str, object]]:
    rows = [gene_level(name, *size, device, repeats) for name in NETWORKS for size in CELLS[name]]
    return [*rows, *(cell_level(n, k, device, repeats) for n, k in [(20_000, 10), (200_000, 5), (200_000, 10)])]


def gene_level(name: str, n_expressed: int, n_genes: int, device: torch.device, repeats: int) -> dict[str, object]:
    """Training and inference of q beside the time of its floating-point operations."""
    config, x = NETWORKS[name], sequences(n_expressed, n_genes)
    tokens, cells = Tokens(x, device), np.arange(N_CELLS)
    network = GeneGNN(
        config,
        n_genes,
        N_LABELS,
        mean_length=float(tokens.lengths.mean()),
        mean_total=float(x.sum(1).mean()),
        init=torch.Generator().manual_seed(0),
        noise=torch.Generator(device).manual_seed(0),
    ).to(device)
    labels = torch.from_numpy(np.random.default_rng(1).integers(N_LABELS, size=N_CELLS)).to(device)
    decisions = torch.zeros(N_CELLS, N_LABELS, device=device) if config.anchor else None
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-3, fused=True)
    batches = np.array_split(np.random.default_rng(0).permutation(N_CELLS), N_CELLS // BATCH)

    def train() -> None:
        network.train()
        for batch in batches:
            own = None if decisions is None else decisions[: len(batch)]
            loss = F.cross_entropy(
                network.logits(network(tokens, batch), own), labels[torch.from_numpy(batch).to(device)]
            )
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()

    @torch.no_grad()
    def infer() -> None:
        network.eval()
        network(tokens, cells)

    one, other = (torch.randn(1024, 1024, device=device) for _ in range(2))
    found = medians({"gemm": lambda: [one @ other for _ in range(5)], "train": train, "infer": infer}, device, repeats)
    rate = 5 * 2 * 1024**3 / found["gemm"]
    work = operations(tokens.lengths, config)
    return show(
        {
            "what": f"gene level, {name}",
            "genes_a_cell": float(tokens.lengths.mean()),
            "gemm_gflops": rate / 1e9,
            "train_cells_per_s": N_CELLS / found["train"],
            "train_over_floor": found["train"] * rate / (3 * work),
            "infer_cells_per_s": N_CELLS / found["infer"],
            "infer_over_floor": found["infer"] * rate / work,
        }
    )


def operations(lengths: np.ndarray, config: Config) -> float:
    """Floating-point operations of one forward pass: matrix products alone, without padding."""
    d, total, pairs = config.width, float(lengths.sum()), float((lengths.astype(float) ** 2).sum())
    d_head = d // config.n_heads
    work = total * 2 * (d + d * config.gene_width)  # the MLP of counts
    for layer in range(config.n_layers):
        d_in = config.gene_width if layer == 0 else d
        work += total * 2 * d_in * d + pairs * 4 * d  # P; P P^T and R P
        work += total * config.n_heads * 2 * 2 * d_head * d  # the MLP of each head
    return work + total * 2 * (d * d if config.read_out == "value" else d)


def sequences(n_expressed: int, n_genes: int) -> sp.csr_matrix:
    """Cells that express so many genes on the mean, at lengths that spread as those of real cells."""
    rng = np.random.default_rng(0)
    lengths = np.clip(rng.lognormal(np.log(n_expressed * 0.92), 0.4, N_CELLS), n_expressed * 0.3, n_genes).astype(int)
    genes = np.concatenate([np.sort(rng.choice(n_genes, length, replace=False)) for length in lengths])
    starts = np.concatenate([[0], lengths.cumsum()])
    return sp.csr_matrix((rng.gamma(2.0, 0.5, len(genes)).astype(np.float32), genes, starts), (N_CELLS, n_genes))


def cell_level(n: int, k: int, device: torch.device, repeats: int, d: int = 64) -> dict[str, object]:
    """Forward and backward pass of the mean over neighbours, by each engine, beside a copy of what it must move."""
    rng = np.random.default_rng(0)
    graph = sp.csr_matrix(
        (np.ones(n * k, np.float32), rng.integers(n, size=n * k), np.arange(0, n * k + 1, k)), shape=(n, n)
    )
    z = torch.randn(n, d, device=device, requires_grad=True)
    source, target = (torch.empty(n * (k + 1) * d // 2, device=device) for _ in range(2))

    def both(engine: str) -> Callable[[], None]:
        mean = neighbor_mean(graph, engine, device)

        def task() -> None:
            z.grad = None
            mean(z).sum().backward()

        return task

    tasks = {"copy": lambda: [target.copy_(source) for _ in range(2)], "torch": both("torch")}
    if device.type == "cpu":
        tasks["dgl"] = both("dgl")
    found = medians(tasks, device, repeats)
    ratios = {f"{engine}_over_floor": found[engine] / found["copy"] for engine in tasks if engine != "copy"}
    return show({"what": f"cell level, {n} cells, k = {k}, d = {d}", **ratios})


# --- growth -----------------------------------------------------------------------------------------------------------


def growth(n: int, threads: int, device: str) -> list[dict[str, object]]:
    torch.set_num_threads(threads)
    scbignn.settings.progress = False
    adata = generated(n + 5000)
    adata.obs_names = numbered(n + 5000)
    adata.obs["cell_type"] = names_of(adata.obs["truth"])
    reference, adata = adata[n:].copy(), adata[:n].copy()
    hidden = np.random.default_rng(0).random(n) > 0.1
    adata.obs["shown"] = np.where(hidden, "Unknown", adata.obs["cell_type"])
    truth = adata.obs["cell_type"].to_numpy()
    before, phases, start, wall = peak(), timed_phases(), time.process_time(), time.perf_counter()
    scbignn.tl.annotate(adata, "shown", device=device)
    seconds, wall = time.process_time() - start, time.perf_counter() - wall
    row = {
        "what": "annotate",
        "n_cells": n,
        "wall_s": wall,
        "us_per_cell": {name: 1e6 * value / n for name, value in (phases | {"everything": seconds}).items()},
        "accuracy": accuracy_score(truth[hidden], adata.obs["scbignn"].astype(str)[hidden]),
        "data_gb": before,
        "peak_gb": peak(),
    }
    return [
        show(row),
        *_in_a_process(from_file, anndata.AnnData(adata.X, adata.obs[["cell_type"]]), reference, threads),
    ]


def timed_phases() -> dict[str, float]:
    """Seconds of each phase of the run to come, to be read after it."""
    spent = dict.fromkeys([*PHASES.values(), "nearest neighbours, within these"], 0.0)

    def timed(task: Callable, name: str) -> Callable:
        def wrapped(*arguments, **options):
            start = time.process_time()
            found = task(*arguments, **options)
            spent[name] += time.process_time() - start
            return found

        return wrapped

    for function, name in PHASES.items():
        setattr(_annotate, function, timed(getattr(_annotate, function), name))
    for module in (_annotate, _em, scbignn.annotation._evidence):
        module.nearest_neighbors = timed(nearest_neighbors, "nearest neighbours, within these")
    return spent


def from_file(cells: anndata.AnnData, reference: anndata.AnnData, threads: int) -> list[dict[str, object]]:
    """Inductive prediction of cells in a file; memory is that of a process that never held them all."""
    model = scbignn.tl.fit(reference, "cell_type")
    with tempfile.TemporaryDirectory() as folder:
        path, saved = Path(folder) / "cells.h5ad", Path(folder) / "model"
        cells.write_h5ad(path)
        model.save(saved)
        return _afresh(predicted, path, saved, threads)


def _afresh(task: Callable, *arguments: object) -> list[dict[str, object]]:
    """In a new process that shares no memory with this one."""
    from concurrent.futures import ProcessPoolExecutor
    from multiprocessing import get_context

    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as executor:
        return executor.submit(task, *arguments).result()


def predicted(path: Path, saved: Path, threads: int) -> list[dict[str, object]]:
    torch.set_num_threads(threads)
    scbignn.settings.progress = False
    model = scbignn.read_model(saved)
    query = anndata.read_h5ad(path, backed="r")
    before, start = peak(), time.process_time()
    scbignn.tl.predict(query, model, mode="inductive")
    seconds = time.process_time() - start
    row = {
        "what": "predict, inductive, from a file",
        "n_cells": query.n_obs,
        "us_per_cell": {"everything": 1e6 * seconds / query.n_obs},
        "accuracy": accuracy_score(query.obs["cell_type"].astype(str), query.obs["scbignn"].astype(str)),
        "data_gb": before,
        "peak_gb": peak(),
    }
    return [show(row)]


# --- disk ---------------------------------------------------------------------------------------------------------------


class _EnoughError(Exception):
    """What was to be measured is done."""


def disk(n: int, n_genes: int, threads: int) -> list[dict[str, object]]:
    with tempfile.TemporaryDirectory() as folder:
        path, saved = Path(folder) / "cells.h5ad", Path(folder) / "model"
        _in_a_process(write_cells, n, n_genes, path, saved)
        about = {"n_genes": n_genes, "file_gb": path.stat().st_size / 1e9}
        rows = _afresh(predicted, path, saved, threads) + _afresh(features, path, threads)
    return [row | about for row in rows]


def write_cells(n: int, n_genes: int, path: Path, saved: Path) -> None:
    """Cells to a file, part by part, 10,000 of them with a label; and a model of the first 5,000."""
    kinds = []
    for part, kind in generated_parts(n, n_genes=n_genes, per_cell=round(0.0615 * n_genes)):
        if kinds:
            with h5py.File(path, "r+") as file:
                anndata.io.sparse_dataset(file["X"]).append(part)
        else:
            cells = anndata.AnnData(part, pd.DataFrame({"cell_type": names_of(kind)}, index=numbered(len(kind))))
            cells.write_h5ad(path)
            scbignn.tl.fit(cells[:5000].copy(), "cell_type").save(saved)
        kinds.append(kind)
    obs = pd.DataFrame({"cell_type": names_of(np.concatenate(kinds))}, index=numbered(n))
    hidden = np.random.default_rng(0).permutation(n) >= 10_000
    obs["shown"] = pd.Categorical(np.where(hidden, "Unknown", obs["cell_type"]))
    with h5py.File(path, "r+") as file:
        anndata.io.write_elem(file, "obs", obs)


def names_of(kind: np.ndarray) -> pd.Categorical:
    return pd.Categorical([f"type {number}" for number in kind])


def numbered(n: int) -> list[str]:
    return [f"cell {number}" for number in range(n)]


def features(path: Path, threads: int) -> list[dict[str, object]]:
    """All that is read from the file before the networks train."""
    torch.set_num_threads(threads)
    scbignn.settings.progress = False
    cells = anndata.read_h5ad(path, backed="r")

    def enough(*_: object, **__: object) -> None:
        raise _EnoughError

    _annotate.fit = enough
    before, phases, start = peak(), timed_phases(), time.process_time()
    with contextlib.suppress(_EnoughError):
        scbignn.tl.annotate(cells, "shown")
    seconds = time.process_time() - start
    us_per_cell = {
        name: 1e6 * value / cells.n_obs for name, value in (phases | {"everything": seconds}).items() if value
    }
    row = {"what": "annotate, from a file, up to the networks", "n_cells": cells.n_obs, "us_per_cell": us_per_cell}
    return [show(row | {"data_gb": before, "peak_gb": peak()})]


# --- pool -------------------------------------------------------------------------------------------------------------


def pool(data: Path, seeds: list[int], threads: int) -> list[dict[str, object]]:
    """Ten labelled cells a type; a step of EM learns from so many of the others."""
    rows = []
    for name in ("pbmc3k", "baron_mouse", "zheng_sorted_4k", "worm_neuron"):
        counts, y, labels = load(name, data)
        for seed in seeds:
            shown = few_labelled(y, 10, seed)
            test = np.setdiff1d(np.arange(len(y)), shown)
            given = np.full_like(y, -1)
            given[shown] = y[shown]
            problem = Problem(counts, given, len(labels), seed, test)
            for size in (None, 1000, 300):
                config = Config(pool_size=size, cross_fit_folds=0)
                found = run(problem, y[test], lambda problem, config=config: scbignn_answers(problem, config), threads)
                rows += [show({"what": "pool", "set": name, "seed": seed, "pool_size": size, **row}) for row in found]
    return rows


if __name__ == "__main__":
    main()
