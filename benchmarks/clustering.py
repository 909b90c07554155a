"""Cluster labelled data by scbignn and by rivals, and compare with the labels, which no method sees.

    python benchmarks/clustering.py --data DIR [--sets ...] [--methods ...] [--seeds 0 1 2 3 4] [--json OUT]
    python benchmarks/clustering.py --data DIR --estimate | --held-out [--sets ...] [--seeds ...] [--json OUT]
    python benchmarks/clustering.py --data DIR --few-labels 5 [--sets ...] [--seeds ...] [--json OUT]
    python benchmarks/clustering.py --growth 10000 50000 200000 [--against leiden attention] [--json OUT]
    python benchmarks/clustering.py --read RUN.json [RUN.json ...] [--sets ...] [--seeds ...]

Every method is given the number of labels as the number of clusters, but for Leiden at resolution 1. Every method runs in
a process of its own, so that seconds and peak memory are its own too. Leiden needs igraph: pip install igraph. scVI needs
its own environment: python benchmarks/set_up_rivals.py. Rivals on scVI's latent space share it, and each is charged with it.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import anndata
import numba
import numpy as np
import scanpy as sc
import scipy.sparse as sp
import torch
from _methods import _in_a_process, limit_threads
from _runs import read, write
from _tables import digits, markdown
from pynndescent import PyNNDescentTransformer
from rivals import _apart, scvi_latent
from sklearn.cluster import KMeans
from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score

import scbignn
from scbignn._adata import ExpressionRows
from scbignn.clustering import Config, _consensus
from scbignn.clustering._landmarks import cluster_graph
from scbignn.clustering._scores import all_components

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
    "single": Config(n_resamples=0, n_partitions=1),
    "network": Config(network=True),
    "network_no_attention": Config(network=True, attention=False),
    "network_no_commitment": Config(network=True, commitment_weight=0.0),
    "network_no_anchor_loss": Config(network=True, anchor_weight=0.0),
    "network_no_denoising": Config(network=True, reconstruction_weight=0.0),
    "network_clustering": Config(network=True, clustering_weight=0.1),
    "dec": Config(network=True, attention=False, start="embedding", clustering_weight=0.1),
    "paper": Config.paper(),
}
CALLED = {
    "scbignn": "**scbignn, default**",
    "single": "one partition",
    "network": "network on top",
    "network_no_attention": "network without attention",
    "network_no_commitment": "network without commitment",
    "network_no_anchor_loss": "network without anchor reconstruction",
    "network_no_denoising": "network without self-supervision",
    "network_clustering": "network with the clustering loss",
    "dec": "DEC: no anchors, no attention",
    "paper": "`Config.paper()`",
    "kmeans": "k-means on 50 PCs",
    "kmeans_scaled": "k-means on 50 PCs, genes scaled",
    "leiden": "Leiden, resolution 1",
    "leiden_scaled": "Leiden, resolution 1, genes scaled",
    "leiden_equal": "Leiden, equal number",
    "leiden_equal_scaled": "Leiden, equal number, genes scaled",
    "leiden_scvi": "Leiden, resolution 1, scVI's latent space",
    "leiden_equal_scvi": "Leiden, equal number, scVI's latent space",
}
FIGURES = ("ari", "nmi", "acc")
#: Shares of cells that agree between two runs, and what a table calls them.
AGREEMENTS = {
    "agreement": "held-out cells",
    "agreement_of_others": "the cells that took part",
    "agreement_of_seeds": "all cells, another seed",
    "agreement_of_single": "held-out cells, one partition",
    "agreement_of_extension": "held-out cells, one partition, the same anchors",
    "agreement_of_kmeans_scaled": "k-means, genes scaled: cells that took part",
    "agreement_of_leiden_equal": "Leiden, equal number: cells that took part",
}
N_GENES, N_PCS, N_NEIGHBORS = 1500, 50, 15


def main() -> None:
    options = parse()
    if options.read:
        rows = [row for row in read(options.read) if row.get("set") in (*options.sets, None)]
        hidden = set(CALLED).difference(options.methods)
        print(tables([row for row in rows if row.get("seed", 0) in options.seeds and row["method"] not in hidden]))
        return
    if options.growth:
        runs = [partial(growth, method=method) for method in ("growth", *options.against)]
        rows = [row for n in options.growth for run in runs for row in _in_a_process(run, n, options.threads)]
        print(growth_table(rows))
    else:
        rows = []
        warm_up(leiden=not options.few_labels)
        for name in options.sets:
            adata = anndata.read_h5ad(options.data / f"{name}.h5ad")
            for seed in options.seeds:
                for task in tasks(options):
                    found = _in_a_process(task, adata, seed, options.threads)
                    for row in found:
                        rows.append({"set": name, "seed": seed, **row})
                        print(json.dumps(rows[-1]), flush=True)
        print(tables(rows))
    if options.json:
        about = {"threads": options.threads, "config": OURS["scbignn"].to_dict()}
        if any(str(row["method"]).endswith("_scvi") for row in rows):
            about["versions_apart"] = _apart.versions()
        write(options.json, rows, [], **about)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=Path("data"), help="folder of the h5ad files")
    parser.add_argument("--sets", nargs="+", default=SETS, choices=SETS)
    parser.add_argument("--methods", nargs="+", default=CALLED, choices=CALLED)
    parser.add_argument(
        "--seeds",
        type=int,
        nargs="+",
        default=range(5),
        help="to run, or with --read, like --sets and --methods, to show",
    )
    parser.add_argument("--estimate", action="store_true", help="estimate the number of clusters instead")
    parser.add_argument("--held-out", action="store_true", help="assign a tenth of the cells by the others instead")
    parser.add_argument("--few-labels", type=int, help="show the labels of so many cells of each type instead")
    parser.add_argument("--growth", type=int, nargs="+", help="generated cells, to measure time and memory on")
    parser.add_argument("--against", nargs="+", default=[], choices=GROWING, help="what else to grow")
    parser.add_argument("--read", type=Path, nargs="+", help="print the tables of earlier runs, and run nothing")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", type=Path, help="file to write all figures to")
    return parser.parse_args()


def warm_up(*, leiden: bool) -> None:
    """Let libraries load and compile what they compile, so that no method is charged with it."""
    os.environ.setdefault("NUMBA_THREADING_LAYER", "workqueue")  # others do not survive a fork
    numba.config.reload_config()
    limit_threads(1)  # once OpenMP has several, it does not survive a fork either
    adata = anndata.AnnData(np.random.default_rng(0).poisson(1.0, (300, 100)).astype(np.float32))
    adata.obs["cell_type"] = np.arange(300) % 3
    for method in ("scbignn", "leiden")[: 1 + leiden]:
        labels(adata, method, 3, 0)


def tasks(options: argparse.Namespace) -> list[Callable[..., list[dict[str, object]]]]:
    if options.estimate:
        return [estimate]
    if options.held_out:
        return [held_out]
    if options.few_labels:
        return [partial(few_labels, n_shown=options.few_labels)]
    on_scvi = [method for method in options.methods if method.endswith("_scvi")]
    runs = [partial(scored, methods=[method]) for method in options.methods if method not in on_scvi]
    return [*runs, partial(scored, methods=on_scvi)] if on_scvi else runs


def scored(adata: anndata.AnnData, seed: int, threads: int, *, methods: list[str]) -> list[dict[str, object]]:
    limit_threads(threads)
    truth = adata.obs["cell_type"].astype(str).astype("category").cat.codes.to_numpy()
    start = time.perf_counter()
    shared = scvi_latent.latent(adata.X, seed) if any(method.endswith("_scvi") for method in methods) else None
    before = time.perf_counter() - start
    rows = []
    for method in methods:
        start = time.perf_counter()
        found = labels(adata, method, len(np.unique(truth)), seed, latent=shared)
        rows.append(
            {
                "method": method,
                "ari": adjusted_rand_score(truth, found),
                "nmi": normalized_mutual_info_score(truth, found),
                "acc": float(np.mean(matched(found, truth) == truth)),
                "n_clusters": len(np.unique(found)),
                "n_labels": len(np.unique(truth)),
                "seconds": before + time.perf_counter() - start,
                "peak_gb": peak(),
            }
        )
    return rows


def peak() -> float:
    """GB, of this process or of one that it has started."""
    return max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)) / 2**20


def matched(found: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Each cluster called by the label that it is matched with one to one, so that most cells agree; else -1."""
    return _consensus.matched(found, truth, truth.max() + 1)


def labels(
    adata: anndata.AnnData, method: str, n_clusters: int, seed: int, latent: np.ndarray | None = None
) -> np.ndarray:
    if method in OURS:
        return ours(adata, n_clusters, OURS[method], seed)
    if method.endswith("_scvi"):
        return partition(latent, method.removesuffix("_scvi"), n_clusters, seed)
    scaled = method.endswith("_scaled")
    return partition(components(adata, seed, scaled=scaled), method.removesuffix("_scaled"), n_clusters, seed)


def partition(points: np.ndarray, kind: str, n_clusters: int, seed: int) -> np.ndarray:
    """Of cells by their components, by "kmeans", "leiden" or "leiden_equal"."""
    if kind == "kmeans":
        return KMeans(n_clusters, n_init=10, random_state=seed).fit_predict(points)
    graph = anndata.AnnData(points)
    sc.pp.neighbors(graph, n_neighbors=N_NEIGHBORS, use_rep="X", transformer="sklearn", random_state=seed)
    return leiden(graph, 1.0, seed) if kind == "leiden" else leiden_equal(graph, n_clusters, seed)


def ours(
    adata: anndata.AnnData, n_clusters: int | None, config: Config, seed: int, batch_key: str | None = None
) -> np.ndarray:
    cells = anndata.AnnData(adata.X, obs=adata.obs[[batch_key] if batch_key else []], var=adata.var[[]])
    with scbignn.settings.override(progress=False):
        scbignn.tl.cluster(cells, n_clusters, batch_key=batch_key, config=config, device="cpu", rng=seed)
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
    limit_threads(threads)
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
    """The share of held-out cells that get the cluster which they get when they take part, and where the rest comes from.

    Clusters of two runs are matched on cells that take part in both. For comparison: how many of the cells that take part
    in both runs agree, how many agree with a run on all cells by another seed, how many of the held-out cells agree with
    one partition in place of several, and how many of them if the same anchors are clustered with them in the graph, which
    is what the extension to later cells by itself costs. Rivals do not say of later cells where they belong: of them there
    are only the cells that take part in both runs.
    """
    limit_threads(threads)
    n_clusters, config = adata.obs["cell_type"].nunique(), OURS["scbignn"]
    cells = anndata.AnnData(adata.X, obs=adata.obs[[]], var=adata.var[[]])
    out = np.zeros(adata.n_obs, dtype=bool)
    out[np.random.default_rng(seed).permutation(adata.n_obs)[: adata.n_obs // 10]] = True
    everything, found, _ = with_and_without(cells, out, n_clusters, config, seed)
    agree = agreement(found, everything, ~out)
    by_one, found_by_one, model = with_and_without(cells, out, n_clusters, OURS["single"], seed)

    def of_rival(method: str) -> float:
        with_all, without = (labels(part, method, n_clusters, seed) for part in (adata, adata[~out]))
        return float(agreement(without, with_all[~out]).mean())

    return [
        {
            "method": "held_out",
            "agreement": float(agree[out].mean()),
            "agreement_of_others": float(agree[~out].mean()),
            "agreement_of_seeds": float(agreement(ours(adata, n_clusters, config, seed + 1000), everything).mean()),
            "agreement_of_single": float(agreement(found_by_one, by_one, ~out)[out].mean()),
            "agreement_of_extension": float(agreement(found_by_one, taking_part(cells, model, seed), ~out)[out].mean()),
            "agreement_of_kmeans_scaled": of_rival("kmeans_scaled"),
            "agreement_of_leiden_equal": of_rival("leiden_equal"),
        }
    ]


def with_and_without(
    cells: anndata.AnnData, out: np.ndarray, n_clusters: int, config: Config, seed: int
) -> tuple[np.ndarray, np.ndarray, scbignn.clustering.Model]:
    """Clusters of all cells, where all take part and where some are assigned later, and the model that does that."""
    everything = ours(cells, n_clusters, config, seed)
    model = scbignn.tl.fit_clusters(cells[~out], n_clusters, config=config, rng=seed)
    scbignn.tl.predict_clusters(cells, model)
    return everything, cells.obs["bgformer"].cat.codes.to_numpy().astype(int), model


def taking_part(adata: anndata.AnnData, model: scbignn.clustering.Model, seed: int) -> np.ndarray:
    """Clusters of all cells by the genes, components and anchors of a model that was made without some of them."""
    points = all_components(ExpressionRows(adata, None), adata.n_obs, model.scores)
    landmarks, rng = model.landmarks, np.random.default_rng(seed)
    graph = landmarks.graph(points)
    return cluster_graph(graph, landmarks.anchors, model.n_clusters, model.config, rng)[1]


def agreement(found: np.ndarray, other: np.ndarray, on: np.ndarray | slice = slice(None)) -> np.ndarray:
    """Which cells are in one cluster in both partitions, after clusters are matched one to one on some of the cells."""
    table = np.zeros((found.max() + 1, other.max() + 1), dtype=int)
    np.add.at(table, (found[on], other[on]), 1)
    return _consensus.partners(table)[found] == other


def few_labels(adata: anndata.AnnData, seed: int, threads: int, *, n_shown: int) -> list[dict[str, object]]:
    """ARI and NMI of the other cells with labels of some cells of each type, and of the same cells without; one partition."""
    limit_threads(threads)
    truth = adata.obs["cell_type"].astype(str)
    drawn = np.random.default_rng(seed).permutation(adata.n_obs)
    shown = np.zeros(adata.n_obs, dtype=bool)
    shown[drawn[truth.iloc[drawn].groupby(truth.iloc[drawn].to_numpy()).cumcount().to_numpy() < n_shown]] = True
    cells = anndata.AnnData(adata.X, obs=adata.obs[[]], var=adata.var[[]])
    cells.obs["shown"] = truth.where(shown, "Unknown")
    rows = []
    for method, labels_key in (("labels_none", None), ("labels_some", "shown")):
        start = time.perf_counter()
        scbignn.tl.cluster(cells, truth.nunique(), labels_key=labels_key, config=OURS["single"], rng=seed)
        seconds = time.perf_counter() - start
        found = cells.obs["bgformer"].cat.codes.to_numpy()
        scores = {"ari": adjusted_rand_score, "nmi": normalized_mutual_info_score}
        scores = {name: score(truth[~shown], found[~shown]) for name, score in scores.items()}
        right = cells.obs["bgformer"].astype(str).map(cluster_names(cells)) if labels_key else None
        scores |= {"accuracy": float((right == truth)[~shown].mean())} if labels_key else {}
        rows.append({"method": method, "n_shown": n_shown, **scores, "seconds": seconds})
    return rows


def cluster_names(cells: anndata.AnnData) -> dict[str, str]:
    """The label of each cluster that has one."""
    table = scbignn.get.clusters(cells)
    return dict(zip(table["cluster"], table["label"], strict=True))


def growth(n: int, threads: int, *, method: str = "growth") -> list[dict[str, object]]:
    """Processor time and memory of one run on generated cells, and the memory before it."""
    limit_threads(threads)
    adata = generated(n)
    if method == "leiden":
        by_leiden(generated(5000))  # compiles what it compiles
    before = peak()
    start = time.process_time()
    found = GROWING[method](adata)
    seconds = time.process_time() - start
    row = {"method": method, "n_cells": n, "seconds": seconds, "peak_gb": peak(), "data_gb": before}
    if found is not None:
        row["ari"] = adjusted_rand_score(adata.obs["truth"], found)
    print(json.dumps(row), flush=True)
    return [row]


class Approximate(PyNNDescentTransformer):
    """Scanpy's own choice for many cells, as the class of matrix that scanpy 1.11 reads."""

    def fit_transform(self, points: np.ndarray, y: None = None) -> sp.csr_matrix:
        return sp.csr_matrix(super().fit_transform(points))


def by_leiden(adata: anndata.AnnData) -> np.ndarray:
    """Components, the graph of nearest neighbours, and Leiden at resolution 1, as in scanpy's tutorials."""
    sc.pp.normalize_total(adata)
    sc.pp.log1p(adata)
    sc.pp.pca(adata, n_comps=N_PCS)
    sc.pp.neighbors(adata, n_neighbors=N_NEIGHBORS, transformer=Approximate(N_NEIGHBORS, random_state=0))
    return leiden(adata, 1.0, 0)


@torch.no_grad()
def by_attention(adata: anndata.AnnData) -> None:
    """One layer of attention among all cells at the width of the network, once and forward only, without training."""
    width, n_heads = Config().width, Config().n_heads
    x = torch.from_numpy(adata.X[:, :width].toarray()).view(adata.n_obs, n_heads, -1).transpose(0, 1)
    weights = torch.softmax(x @ x.mT / x.shape[2] ** 0.5, dim=2)
    if not torch.isfinite(weights @ x).all():
        msg = "attention among cells is not finite"
        raise ValueError(msg)


#: What is grown, by name.
GROWING = {
    "growth": lambda adata: ours(adata, 20, OURS["scbignn"], 0),
    "leiden": by_leiden,
    "attention": by_attention,
}
GROWING_CALLED = {
    "growth": "scbignn",
    "leiden": "Leiden and its kNN graph",
    "attention": "one pass of attention among all cells",
}


def generated(n: int, **of: int) -> anndata.AnnData:
    """All of :func:`generated_parts`, their types as obs["truth"]."""
    parts, kinds = zip(*generated_parts(n, **of), strict=True)
    adata = anndata.AnnData(sp.vstack(parts, format="csr"))
    adata.obs["truth"] = np.concatenate(kinds)
    return adata


def generated_parts(
    n: int, n_genes: int = 2000, n_types: int = 20, per_cell: int = 200
) -> Iterator[tuple[sp.csr_matrix, np.ndarray]]:
    """Cells of 20 types with some 200 draws each from the genes, half of them from a profile of the type's own.

    Counts and types, 10,000 cells at a time.
    """
    rng = np.random.default_rng(0)
    shared = rng.dirichlet(np.full(n_genes, 0.3))
    profiles = np.stack([(shared + rng.dirichlet(np.full(n_genes, 0.05))) / 2 for _ in range(n_types)]).cumsum(1)
    kind = rng.integers(n_types, size=n)
    for start in range(0, n, 10_000):
        own = kind[start : start + 10_000]
        genes = np.empty((len(own), per_cell), dtype=np.int32)
        for number in range(n_types):
            rows = np.flatnonzero(own == number)
            genes[rows] = np.searchsorted(profiles[number], rng.random((len(rows), per_cell))).clip(max=n_genes - 1)
        entries = np.ones(genes.size, np.float32), genes.ravel(), np.arange(0, genes.size + 1, per_cell)
        part = sp.csr_matrix(entries, shape=(len(own), n_genes))
        part.sum_duplicates()
        yield part, own


def tables(rows: list[dict[str, object]]) -> str:
    """All figures of some runs, in Markdown."""
    blocks = []
    if any("acc" in row for row in rows):
        blocks.append(score_table([row for row in rows if "acc" in row]))
    if any(str(row["method"]).endswith("_number") for row in rows):
        blocks.append(number_table([row for row in rows if str(row["method"]).endswith("_number")]))
    if any("n_shown" in row for row in rows):
        blocks.append(few_labels_table([row for row in rows if "n_shown" in row]))
    if any("agreement" in row for row in rows):
        blocks.append(held_out_table([row for row in rows if "agreement" in row]))
    if any("n_cells" in row for row in rows):
        blocks.append(growth_table([row for row in rows if "n_cells" in row]))
    return "\n\n".join(blocks)


def score_table(rows: list[dict[str, object]]) -> str:
    """ARI and NMI of each set and of all, means over seeds; the standard deviation is that of the mean over sets."""
    sets = list(dict.fromkeys(row["set"] for row in rows))
    head = ["method", *sets, "mean ARI", "mean NMI", "mean ACC", "mean rank", "seeds", "s", "GB"]
    body = []
    present = [method for method in CALLED if all(of(rows, method, name) for name in sets)]
    at_number = [method for method in present if method not in ("leiden", "leiden_scaled", "leiden_scvi")]
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
        body.append([CALLED[method], *cells, *overall, rank, str(len(seeds)), *cost])
    return "\n".join(markdown(head, body))


def of(rows: list[dict[str, object]], method: str, name: str) -> list[dict[str, object]]:
    return [row for row in rows if row["method"] == method and row["set"] == name]


def average(rows: list[dict[str, object]], method: str, name: str, figure: str, seed: int | None = None) -> float:
    own = [row[figure] for row in of(rows, method, name) if seed is None or row["seed"] == seed]
    return float(np.mean(own)) if own else float("nan")


def number_table(rows: list[dict[str, object]]) -> str:
    """Numbers of clusters, one a seed, and the mean ARI of the partitions."""
    head = ["set", "labels", "scbignn", "Leiden, resolution 1", "ARI, scbignn", "ARI, Leiden"]
    body = []
    methods = ("scbignn_number", "leiden_number")
    for name in dict.fromkeys(row["set"] for row in rows):
        found = [", ".join(str(row["n_clusters"]) for row in of(rows, method, name)) for method in methods]
        scores = [digits(average(rows, method, name, "ari")) for method in methods]
        n_labels = next(row["n_labels"] for row in rows if row["set"] == name)
        body.append([name, str(n_labels), *found, *scores])
    return "\n".join(markdown(head, body))


def held_out_table(rows: list[dict[str, object]]) -> str:
    figures = {figure: name for figure, name in AGREEMENTS.items() if all(figure in row for row in rows)}
    body = []
    for name in dict.fromkeys(row["set"] for row in rows):
        cells = [digits(average(rows, "held_out", name, figure)) for figure in figures]
        body.append([name, *cells])
    means = [digits(float(np.mean([row[figure] for row in rows]))) for figure in figures]
    return "\n".join(markdown(["set", *figures.values()], [*body, ["mean", *means]]))


def few_labels_table(rows: list[dict[str, object]]) -> str:
    head = ["set", "ARI without labels", "ARI with", "NMI without", "NMI with", "accuracy with"]
    body = []
    for name in dict.fromkeys(row["set"] for row in rows):
        kinds = ("labels_none", "labels_some")
        scores = [digits(average(rows, kind, name, figure)) for figure in ("ari", "nmi") for kind in kinds]
        scores.append(digits(average(rows, "labels_some", name, "accuracy")))
        body.append([name, *scores])
    return "\n".join(markdown(head, body))


def growth_table(rows: list[dict[str, object]]) -> str:
    head = ["method", "cells", "s of processor", "ms a cell", "GB", "GB before", "ARI"]
    body = []
    for row in sorted(rows, key=lambda row: list(GROWING).index(row["method"])):
        n, seconds = row["n_cells"], row["seconds"]
        cost = [f"{seconds:.1f}", f"{1000 * seconds / n:.3f}", f"{row['peak_gb']:.1f}", f"{row['data_gb']:.1f}"]
        score = digits(row["ari"]) if "ari" in row else ""
        body.append([GROWING_CALLED[row["method"]], f"{n:,}", *cost, score])
    return "\n".join(markdown(head, body))


if __name__ == "__main__":
    main()
