"""Cluster labelled data by scbignn and by rivals, and compare with the labels, which no method sees.

    python benchmarks/clustering.py --data DIR [--sets ...] [--methods ...] [--seeds 0 1 2 3 4] [--json OUT]
    python benchmarks/clustering.py --data DIR --estimate | --held-out [--sets ...] [--seeds ...] [--json OUT]
    python benchmarks/clustering.py --growth 10000 50000 200000 [--json OUT]
    python benchmarks/clustering.py --read RUN.json [RUN.json ...]

Every method is given the number of labels as the number of clusters, but for Leiden at resolution 1. Every method runs in
a process of its own, so that seconds and peak memory are its own too. Leiden needs igraph: pip install igraph.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import anndata
import numpy as np
import scanpy as sc
import scipy.sparse as sp
import torch
from _methods import _in_a_process
from _runs import write
from _tables import digits
from scipy.optimize import linear_sum_assignment
from sklearn.cluster import KMeans
from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score

import scbignn
from scbignn.clustering import Config

SETS = (
    "worm_neuron",
    "zheng_sorted_4k",
    "pbmc4k_top2000",
    "human_kidney_top2000",
    "cite_cbmc_top2000",
    "baron_mouse",
    "pbmc3k",
)
#: Configurations of scbignn, by name.
OURS = {
    "scbignn": Config(n_resamples=0),
    "network": Config(network=True),
    "network_no_attention": Config(network=True, attention=False),
    "dec": Config(network=True, attention=False, start="embedding"),
    "paper": Config.paper(),
}
CALLED = {
    "scbignn": "**scbignn, default**",
    "network": "network on top",
    "network_no_attention": "network without attention",
    "dec": "DEC: no anchors, no attention",
    "paper": "`Config.paper()`",
    "kmeans": "k-means on 50 PCs",
    "kmeans_scaled": "k-means on 50 PCs, genes scaled",
    "leiden": "Leiden, resolution 1",
    "leiden_scaled": "Leiden, resolution 1, genes scaled",
    "leiden_equal": "Leiden, equal number",
    "leiden_equal_scaled": "Leiden, equal number, genes scaled",
}
FIGURES = ("ari", "nmi", "acc")
N_GENES, N_PCS, N_NEIGHBORS = 1500, 50, 15


def main() -> None:
    options = parse()
    if options.read:
        print(tables([row for path in options.read for row in json.loads(path.read_text())["rows"]]))
        return
    if options.growth:
        rows = [row for n in options.growth for row in _in_a_process(growth, n, options.threads)]
        print(growth_table(rows))
    else:
        rows = []
        warm_up()
        for name in options.sets:
            adata = anndata.read_h5ad(options.data / f"{name}.h5ad")
            for seed in options.seeds:
                for task in tasks(options):
                    found = _in_a_process(task, adata, seed, options.threads)
                    rows += [{"set": name, "seed": seed, **row} for row in found]
                    print(json.dumps(rows[-1]), flush=True)
        print(tables(rows))
    if options.json:
        write(options.json, rows, [], threads=options.threads, config=OURS["scbignn"].to_dict())


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=Path("data"), help="folder of the h5ad files")
    parser.add_argument("--sets", nargs="+", default=SETS, choices=SETS)
    parser.add_argument("--methods", nargs="+", default=CALLED, choices=CALLED)
    parser.add_argument("--seeds", type=int, nargs="+", default=range(5))
    parser.add_argument("--estimate", action="store_true", help="estimate the number of clusters instead")
    parser.add_argument("--held-out", action="store_true", help="assign a tenth of the cells by the others instead")
    parser.add_argument("--growth", type=int, nargs="+", help="generated cells, to measure time and memory on")
    parser.add_argument("--read", type=Path, nargs="+", help="print the tables of earlier runs, and run nothing")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", type=Path, help="file to write all figures to")
    return parser.parse_args()


def warm_up() -> None:
    """Let libraries load and compile what they compile, so that no method is charged with it."""
    os.environ.setdefault("NUMBA_THREADING_LAYER", "workqueue")  # others do not survive a fork
    adata = anndata.AnnData(np.random.default_rng(0).poisson(1.0, (300, 100)).astype(np.float32))
    adata.obs["cell_type"] = np.arange(300) % 3
    for method in ("scbignn", "leiden"):
        labels(adata, method, 3, 0)


def tasks(options: argparse.Namespace) -> list[Callable[..., list[dict[str, object]]]]:
    if options.estimate:
        return [estimate]
    if options.held_out:
        return [held_out]
    return [partial(scored, method=method) for method in options.methods]


def scored(adata: anndata.AnnData, seed: int, threads: int, *, method: str) -> list[dict[str, object]]:
    torch.set_num_threads(threads)
    truth = adata.obs["cell_type"].astype(str).astype("category").cat.codes.to_numpy()
    start = time.perf_counter()
    found = labels(adata, method, len(np.unique(truth)), seed)
    seconds = time.perf_counter() - start
    return [
        {
            "method": method,
            "ari": adjusted_rand_score(truth, found),
            "nmi": normalized_mutual_info_score(truth, found),
            "acc": float(np.mean(matched(found, truth) == truth)),
            "n_clusters": len(np.unique(found)),
            "n_labels": len(np.unique(truth)),
            "seconds": seconds,
            "peak_gb": peak(),
        }
    ]


def peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def matched(found: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Each cluster called by the label that it is matched with one to one, so that most cells agree; else -1."""
    table = np.zeros((found.max() + 1, truth.max() + 1), dtype=int)
    np.add.at(table, (found, truth), 1)
    name = np.full(len(table), -1)
    rows, columns = linear_sum_assignment(-table)
    name[rows] = columns
    return name[found]


def labels(adata: anndata.AnnData, method: str, n_clusters: int, seed: int) -> np.ndarray:
    if method in OURS:
        return ours(adata, n_clusters, OURS[method], seed)
    scaled = method.endswith("_scaled")
    points = components(adata, seed, scaled=scaled)
    kind = method.removesuffix("_scaled")
    if kind == "kmeans":
        return KMeans(n_clusters, n_init=10, random_state=seed).fit_predict(points)
    graph = anndata.AnnData(points)
    sc.pp.neighbors(graph, n_neighbors=N_NEIGHBORS, use_rep="X", transformer="sklearn", random_state=seed)
    return leiden(graph, 1.0, seed) if kind == "leiden" else leiden_equal(graph, n_clusters, seed)


def ours(adata: anndata.AnnData, n_clusters: int | None, config: Config, seed: int) -> np.ndarray:
    cells = anndata.AnnData(adata.X, obs=adata.obs[[]], var=adata.var[[]])
    with scbignn.settings.override(progress=False):
        scbignn.tl.cluster(cells, n_clusters, config=config, device="cpu", rng=seed)
    return cells.obs["bgformer"].cat.codes.to_numpy()


def components(adata: anndata.AnnData, seed: int, *, scaled: bool) -> np.ndarray:
    """50 principal components of 1,500 genes, as the tutorials of scanpy make them, with or without z-scores."""
    cells = anndata.AnnData(adata.X.astype(np.float32).copy())
    sc.pp.normalize_total(cells)
    sc.pp.log1p(cells)
    sc.pp.highly_variable_genes(cells, n_top_genes=N_GENES)
    cells = cells[:, cells.var["highly_variable"]].copy()
    if scaled:
        cells.X = cells.X.toarray()
        sc.pp.scale(cells, max_value=10)
    sc.pp.pca(cells, n_comps=N_PCS, random_state=seed)
    return cells.obsm["X_pca"]


def leiden(graph: anndata.AnnData, resolution: float, seed: int) -> np.ndarray:
    sc.tl.leiden(graph, resolution=resolution, flavor="igraph", n_iterations=2, directed=False, random_state=seed)
    return graph.obs["leiden"].cat.codes.to_numpy().astype(int)


def leiden_equal(graph: anndata.AnnData, n_clusters: int, seed: int) -> np.ndarray:
    """At the resolution that gives the number of clusters, or the nearest number that the search meets."""
    low, high, best = 0.0, 4.0, None
    for _ in range(20):
        middle = (low + high) / 2
        found = leiden(graph, middle, seed)
        n = len(np.unique(found))
        if best is None or abs(n - n_clusters) < abs(len(np.unique(best)) - n_clusters):
            best = found
        if n == n_clusters:
            break
        low, high = (middle, high) if n < n_clusters else (low, middle)
    return best


def estimate(adata: anndata.AnnData, seed: int, threads: int) -> list[dict[str, object]]:
    """The number of clusters by scbignn, and that of Leiden at resolution 1."""
    torch.set_num_threads(threads)
    truth = adata.obs["cell_type"].astype(str).astype("category").cat.codes.to_numpy()
    rows = []
    for method in ("scbignn", "leiden"):
        start = time.perf_counter()
        found = ours(adata, None, OURS["scbignn"], seed) if method == "scbignn" else labels(adata, method, 0, seed)
        seconds = time.perf_counter() - start
        rows.append(
            {
                "method": f"{method}_number",
                "n_clusters": len(np.unique(found)),
                "n_labels": len(np.unique(truth)),
                "ari": adjusted_rand_score(truth, found),
                "seconds": seconds,
            }
        )
    return rows


def held_out(adata: anndata.AnnData, seed: int, threads: int) -> list[dict[str, object]]:
    """The share of held-out cells that get the cluster which they get when they take part.

    Clusters of both runs are matched on the cells that take part in both.
    """
    torch.set_num_threads(threads)
    n = adata.n_obs
    n_clusters = adata.obs["cell_type"].nunique()
    cells = anndata.AnnData(adata.X, obs=adata.obs[[]], var=adata.var[[]])
    out = np.zeros(n, dtype=bool)
    out[np.random.default_rng(seed).permutation(n)[: n // 10]] = True
    config = OURS["scbignn"]
    everything = ours(adata, n_clusters, config, seed)
    model = scbignn.tl.fit_clusters(cells[~out], n_clusters, config=config, rng=seed)
    scbignn.tl.predict_clusters(cells, model)
    found = cells.obs["bgformer"].cat.codes.to_numpy().astype(int)
    table = np.zeros((n_clusters, n_clusters), dtype=int)
    np.add.at(table, (found[~out], everything[~out]), 1)
    rows, columns = linear_sum_assignment(-table)
    name = np.full(n_clusters, -1)
    name[rows] = columns
    model = scbignn.tl.fit_clusters(cells, n_clusters, config=config, rng=seed)
    scbignn.tl.predict_clusters(cells, model)
    same = cells.obs["bgformer"].cat.codes.to_numpy()
    return [
        {
            "method": "held_out",
            "agreement": float(np.mean(name[found[out]] == everything[out])),
            "agreement_of_others": float(np.mean(name[found[~out]] == everything[~out])),
            "agreement_of_same_model": float(np.mean(same == everything)),
        }
    ]


def growth(n: int, threads: int) -> list[dict[str, object]]:
    """Processor time and memory of one run on generated cells, and the memory before it."""
    torch.set_num_threads(threads)
    adata = generated(n)
    before = peak()
    start = time.process_time()
    scbignn.tl.cluster(adata, 20, config=OURS["scbignn"])
    seconds = time.process_time() - start
    truth = adata.obs["truth"].to_numpy()
    row = {
        "method": "growth",
        "n_cells": n,
        "seconds": seconds,
        "peak_gb": peak(),
        "data_gb": before,
        "ari": adjusted_rand_score(truth, adata.obs["bgformer"].cat.codes),
    }
    print(json.dumps(row), flush=True)
    return [row]


def generated(n: int, n_genes: int = 2000, n_types: int = 20, per_cell: int = 200) -> anndata.AnnData:
    """Cells of 20 types with some 200 draws each from the genes, half of them from a profile of the type's own."""
    rng = np.random.default_rng(0)
    shared = rng.dirichlet(np.full(n_genes, 0.3))
    profiles = np.stack([(shared + rng.dirichlet(np.full(n_genes, 0.05))) / 2 for _ in range(n_types)]).cumsum(1)
    kind = rng.integers(n_types, size=n)
    parts = []
    for start in range(0, n, 10_000):
        own = kind[start : start + 10_000]
        genes = np.empty((len(own), per_cell), dtype=np.int32)
        for number in range(n_types):
            rows = np.flatnonzero(own == number)
            genes[rows] = np.searchsorted(profiles[number], rng.random((len(rows), per_cell))).clip(max=n_genes - 1)
        entries = np.ones(genes.size, np.float32), genes.ravel(), np.arange(0, genes.size + 1, per_cell)
        part = sp.csr_matrix(entries, shape=(len(own), n_genes))
        part.sum_duplicates()
        parts.append(part)
    adata = anndata.AnnData(sp.vstack(parts, format="csr"))
    adata.obs["truth"] = kind
    return adata


def tables(rows: list[dict[str, object]]) -> str:
    """All figures of some runs, in Markdown."""
    blocks = []
    if any("nmi" in row for row in rows):
        blocks.append(score_table([row for row in rows if "nmi" in row]))
    if any(str(row["method"]).endswith("_number") for row in rows):
        blocks.append(number_table([row for row in rows if str(row["method"]).endswith("_number")]))
    if any("agreement" in row for row in rows):
        blocks.append(held_out_table([row for row in rows if "agreement" in row]))
    if any("n_cells" in row for row in rows):
        blocks.append(growth_table([row for row in rows if "n_cells" in row]))
    return "\n\n".join(blocks)


def score_table(rows: list[dict[str, object]]) -> str:
    """ARI and NMI of each set and of all, means over seeds; the standard deviation is that of the mean over sets."""
    sets = list(dict.fromkeys(row["set"] for row in rows))
    head = ["method", *sets, "mean ARI", "mean NMI", "mean ACC", "mean rank", "seeds", "s", "GB"]
    lines = ["| " + " | ".join(head) + " |", "|---" * len(head) + "|"]
    present = [method for method in CALLED if all(of(rows, method, name) for name in sets)]
    at_number = [method for method in present if method not in ("leiden", "leiden_scaled")]
    means = {method: {name: average(rows, method, name, "ari") for name in sets} for method in present}
    for method in sorted(present, key=lambda method: -np.mean(list(means[method].values()))):
        cells = [f"{digits(means[method][name])} / {digits(average(rows, method, name, 'nmi'))}" for name in sets]
        seeds = sorted({row["seed"] for row in rows if row["method"] == method})
        overall = []
        for figure in FIGURES:
            by_seed = [np.mean([average(rows, method, name, figure, seed) for name in sets]) for seed in seeds]
            spread = f" ± {digits(float(np.std(by_seed, ddof=1)))}" if len(by_seed) > 1 else ""
            overall.append(digits(float(np.mean(by_seed))) + spread)
        ranks = [1 + sum(means[other][name] > means[method][name] for other in at_number) for name in sets]
        rank = f"{np.mean(ranks):.1f}" if method in at_number else ""
        own = [row for row in rows if row["method"] == method]
        cost = [f"{np.mean([row['seconds'] for row in own]):.1f}", f"{max(row['peak_gb'] for row in own):.1f}"]
        lines.append("| " + " | ".join([CALLED[method], *cells, *overall, rank, str(len(seeds)), *cost]) + " |")
    return "\n".join(lines)


def of(rows: list[dict[str, object]], method: str, name: str) -> list[dict[str, object]]:
    return [row for row in rows if row["method"] == method and row["set"] == name]


def average(rows: list[dict[str, object]], method: str, name: str, figure: str, seed: int | None = None) -> float:
    own = [row[figure] for row in of(rows, method, name) if seed is None or row["seed"] == seed]
    return float(np.mean(own)) if own else float("nan")


def number_table(rows: list[dict[str, object]]) -> str:
    """Numbers of clusters, one a seed, and the mean ARI of the partitions."""
    head = ["set", "labels", "scbignn", "Leiden, resolution 1", "ARI, scbignn", "ARI, Leiden"]
    lines = ["| " + " | ".join(head) + " |", "|---" * len(head) + "|"]
    methods = ("scbignn_number", "leiden_number")
    for name in dict.fromkeys(row["set"] for row in rows):
        found = [", ".join(str(row["n_clusters"]) for row in of(rows, method, name)) for method in methods]
        scores = [digits(average(rows, method, name, "ari")) for method in methods]
        n_labels = next(row["n_labels"] for row in rows if row["set"] == name)
        lines.append("| " + " | ".join([name, str(n_labels), *found, *scores]) + " |")
    return "\n".join(lines)


def held_out_table(rows: list[dict[str, object]]) -> str:
    lines = ["| set | held-out cells | the cells that took part | all cells, same model |", "|---|---|---|---|"]
    for name in dict.fromkeys(row["set"] for row in rows):
        figures = [
            digits(average(rows, "held_out", name, figure))
            for figure in ("agreement", "agreement_of_others", "agreement_of_same_model")
        ]
        lines.append(f"| {name} | " + " | ".join(figures) + " |")
    return "\n".join(lines)


def growth_table(rows: list[dict[str, object]]) -> str:
    lines = ["| cells | s of processor | ms a cell | GB | GB before | ARI |", "|---|---|---|---|---|---|"]
    for row in rows:
        n, seconds = row["n_cells"], row["seconds"]
        figures = f"{seconds:.1f} | {1000 * seconds / n:.3f} | {row['peak_gb']:.1f} | {row['data_gb']:.1f}"
        lines.append(f"| {n:,} | {figures} | {digits(row['ari'])} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
