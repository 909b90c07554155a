"""Cluster cells of two batches by scbignn, with and without batch_key, and by rivals, and compare with labels and batches.

    python benchmarks/clustering_batches.py --data DIR [--seeds 0 1 2 3 4] [--json OUT]
    python benchmarks/clustering_batches.py --read RUN.json [RUN.json ...]

Every method is given the number of labels. *ARI* is with the labels; *mixing* is 1 less the mutual information (NMI) of
clusters and batches within a label, on the mean over labels with 20 cells or more in both batches: 1 where a cell's cluster
says nothing of its batch. Besides the sets as they are: batches dealt at random, where there is nothing to set right; and each
set without its most frequent label in the second batch, where a method that mixes too much mixes types. Leiden and Harmony
need packages: pip install igraph harmonypy.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import anndata
import numpy as np
from _methods import _in_a_process, limit_threads
from _runs import read, write
from _tables import digits, markdown
from clustering import OURS, components, ours, partition, peak, warm_up
from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score

SETS = ("kang_pbmc_muscat", "sc_mixology_3cl", "baron_mouse")
CASES = ("as it is", "one label missing", "random batches")
CALLED = {
    "scbignn_batches": "**scbignn, `batch_key`**",
    "scbignn": "scbignn",
    "kmeans": "k-means on 50 PCs, genes scaled",
    "harmony_kmeans": "Harmony, k-means",
    "harmony_leiden": "Harmony, Leiden, equal number",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=Path("data"), help="folder of the h5ad files")
    parser.add_argument("--sets", nargs="+", default=SETS, choices=SETS)
    parser.add_argument("--methods", nargs="+", default=CALLED, choices=CALLED)
    parser.add_argument("--seeds", type=int, nargs="+", default=range(5))
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--read", type=Path, nargs="+", help="print the table of earlier runs, and run nothing")
    parser.add_argument("--json", type=Path, help="file to write all figures to")
    options = parser.parse_args()
    if options.read:
        print(table(read(options.read)))
        return
    rows = []
    warm_up(leiden="harmony_leiden" in options.methods)
    for name in options.sets:
        whole = anndata.read_h5ad(options.data / f"{name}.h5ad")
        for case in CASES:
            for seed in options.seeds:
                adata = cells(whole, case, seed)
                for method in options.methods:
                    found = _in_a_process(scored, adata, method, seed, options.threads)
                    rows += [{"set": name, "case": case, "seed": seed, **found}]
                    print(json.dumps(rows[-1]), flush=True)
    print(table(rows))
    if options.json:
        write(options.json, rows, [], threads=options.threads, config=OURS["scbignn"].to_dict())


def cells(adata: anndata.AnnData, case: str, seed: int) -> anndata.AnnData:
    """Counts, truth and batch of a case."""
    adata = anndata.AnnData(adata.X, obs=adata.obs[["cell_type", "batch"]].astype(str), var=adata.var[[]])
    if case == "random batches":
        adata.obs["batch"] = np.random.default_rng(seed).permutation(adata.obs["batch"].to_numpy())
    if case == "one label missing":
        second = adata.obs["batch"] == sorted(adata.obs["batch"].unique())[1]
        most = adata.obs["cell_type"][second].value_counts().index[0]
        adata = adata[~(second & (adata.obs["cell_type"] == most)).to_numpy()].copy()
    return adata


def scored(adata: anndata.AnnData, method: str, seed: int, threads: int) -> dict[str, object]:
    limit_threads(threads)
    truth, batch = adata.obs["cell_type"], adata.obs["batch"]
    start = time.perf_counter()
    found = clusters(adata, method, truth.nunique(), seed)
    seconds = time.perf_counter() - start
    own = [(truth == label).to_numpy() for label in truth.unique()]
    both = [cells for cells in own if batch[cells].value_counts().reindex(batch.unique(), fill_value=0).min() >= 20]
    return {
        "method": method,
        "ari": adjusted_rand_score(truth, found),
        "mixing": 1 - float(np.mean([normalized_mutual_info_score(batch[cells], found[cells]) for cells in both])),
        "seconds": seconds,
        "peak_gb": peak(),
    }


def clusters(adata: anndata.AnnData, method: str, n_clusters: int, seed: int) -> np.ndarray:
    if method.startswith("scbignn"):
        return ours(adata, n_clusters, OURS["scbignn"], seed, "batch" if method == "scbignn_batches" else None)
    points = components(adata, seed, scaled=True)
    if method.startswith("harmony"):
        import harmonypy

        found = harmonypy.run_harmony(points, adata.obs, "batch", random_state=seed, verbose=False).Z_corr
        points = np.ascontiguousarray(found if len(found) == adata.n_obs else found.T)
    return partition(points, "leiden_equal" if method == "harmony_leiden" else "kmeans", n_clusters, seed)


def table(rows: list[dict[str, object]]) -> str:
    """ARI / mixing of each method, in each case, on each set and on the mean over sets."""
    blocks = []
    for case in dict.fromkeys(row["case"] for row in rows):
        own = [row for row in rows if row["case"] == case]
        sets = list(dict.fromkeys(row["set"] for row in own))
        body = []
        for method in (method for method in CALLED if any(row["method"] == method for row in own)):
            of = {name: [row for row in own if (row["set"], row["method"]) == (name, method)] for name in sets}
            means = {name: [np.mean([row[f] for row in part]) for f in ("ari", "mixing")] for name, part in of.items()}
            pairs = [*means.values(), np.mean(list(means.values()), axis=0)]
            seconds = np.mean([row["seconds"] for part in of.values() for row in part])
            figures = [" / ".join(digits(value) for value in pair) for pair in pairs]
            body.append([CALLED[method], *figures, f"{seconds:.1f}"])
        blocks.append("\n".join([f"**{case.capitalize()}**", "", *markdown(["method", *sets, "mean", "s"], body)]))
    return "\n\n".join(blocks)


if __name__ == "__main__":
    main()
