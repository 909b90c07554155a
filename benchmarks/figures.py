"""The figures of the paper's analyses, on real data: shared genes, homophily, number of neighbours.

    python benchmarks/figures.py --data DIR [--output docs/_static] [--threads 1] [--json OUT]

Shared genes: the 50 most important genes of each of five folds of `baron_mouse`, by attention and by attribution.
Homophily: of the learned and of the raw PCA graph with the same k, over edges that leave cells whose label was hidden
(a fifth of each set), by true labels, on every set. Number of neighbours: accuracy of p over five folds of
`baron_mouse`, for several k. One seed; folds by `tl.cross_validate`. Without --data, only the picture of the landing page
is drawn, of cells that come with scanpy: half of the labels hidden.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import anndata
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import scanpy as sc
import scipy.sparse as sp
import torch
from _runs import write
from matplotlib.axes import Axes

import scbignn
from scbignn.annotation import Config, annotate_cells, deal_folds
from scbignn.graph import Neighbors, homophily, nearest_neighbors

SETS = (
    "baron_mouse",
    "zheng_sorted_4k",
    "pbmc3k",
    "worm_neuron",
    "cite_cbmc_top2000",
    "kang_pbmc_muscat",
    "sc_mixology_3cl",
    "pbmc4k_top2000",
    "human_kidney_top2000",
)
NEIGHBORS = (1, 3, 5, 10, 20, 50)
CPU = torch.device("cpu")
#: Calibration changes no figure here.
CONFIG = {"cross_fit_folds": 0}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, help="folder of the h5ad files")
    parser.add_argument("--output", type=Path, default=Path("docs/_static"), help="folder of the pictures")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", type=Path, help="file to write all figures to")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    plt.switch_backend("agg")
    scbignn.settings.progress = False
    options.output.mkdir(parents=True, exist_ok=True)
    keep(landing(), options.output / "landing.png")
    if options.data is None:
        return

    mouse = anndata.read_h5ad(options.data / "baron_mouse.h5ad")
    by_k = pd.concat([validated(mouse, k).assign(n_neighbors=k) for k in NEIGHBORS], ignore_index=True)
    keep(scbignn.pl.n_neighbors(by_k), options.output / "n_neighbors.png")
    validated(mouse, Config().n_neighbors)
    shared, ax = shared_genes(
        {
            name: scbignn.get.cross_validation(mouse, table=table)
            for name, table in (("attention", "gene_importance"), ("attribution", "gene_attribution"))
        }
    )
    keep(ax, options.output / "shared_genes.png")
    graphs = {name: pd.DataFrame([homophilies(name, options.data)], index=["all"]) for name in SETS}
    keep(scbignn.pl.homophily(graphs), options.output / "homophily.png")

    rows = [{"figure": "n_neighbors", **row} for row in by_k.to_dict("records")]
    rows += [{"figure": "shared_genes", "by": name, **row} for name, row in shared.items()]
    rows += [{"figure": "homophily", "set": name, **table.iloc[0].to_dict()} for name, table in graphs.items()]
    print(pd.DataFrame(rows).to_string())
    if options.json:
        write(options.json, rows, [], config=Config(**CONFIG).to_dict(), threads=options.threads)


def landing() -> Axes:
    """Known labels, found labels, confidence, and the genes of one label."""
    reduced = sc.datasets.pbmc68k_reduced()
    adata = reduced.raw.to_adata()
    hidden = np.random.default_rng(0).random(adata.n_obs) < 0.5
    adata.obs["known"] = adata.obs["bulk_labels"].astype(str).where(~hidden, "Unknown").astype("category")
    scbignn.tl.annotate(adata, "known")
    sc.tl.umap(adata, neighbors_key="scbignn")
    figure, axes = plt.subplots(1, 4, figsize=(11, 2.6), layout="constrained", width_ratios=[1, 1, 1.25, 0.9])
    places = scbignn.get.embedding(adata, "umap")
    for ax, column, title in zip(axes, ("known", "scbignn"), ("labels you have", "labels you get"), strict=False):
        colors = scbignn.get.label_colors(adata, "scbignn").to_dict() | {"Unknown": "#dddddd"}
        ax.scatter(places["x"], places["y"], s=5, c=adata.obs[column].astype(str).map(colors), linewidths=0)
        ax.set_title(title, fontsize=9)
        ax.set_axis_off()
    scbignn.pl.confidence(adata, basis="umap", ax=axes[2])
    axes[2].set_title("how sure they are", fontsize=9)
    axes[2].set_axis_off()
    scbignn.pl.gene_importance(adata, by="attribution", label="CD19+ B", n_genes=8, ax=axes[3])
    axes[3].set_title("what makes a B cell", fontsize=9)
    axes[3].set_xlabel("")
    return axes[0]


def validated(mouse: anndata.AnnData, k: int) -> pd.DataFrame:
    """The folds of a cross-validation with k neighbours; the slots stay on `mouse`."""
    scbignn.tl.cross_validate(mouse, "cell_type", config=Config(n_neighbors=k, **CONFIG))
    return scbignn.get.cross_validation(mouse)


def shared_genes(scores: dict[str, pd.DataFrame]) -> tuple[dict[str, dict[str, int]], Axes]:
    """Of the 50 most important genes of each fold, how many folds have them; genes x folds for each measure."""
    _, axes = plt.subplots(1, 2, figsize=(7.2, 3.6), layout="constrained")
    found = {}
    for ax, (name, table) in zip(axes, scores.items(), strict=True):
        lists = scbignn.get.top_genes(table.add_prefix("fold "), n_top=50)
        scbignn.pl.gene_importance_venn(lists, n_top=50, ax=ax)
        ax.set_title(name, fontsize=9)
        counts = pd.Series(np.concatenate(list(lists.values()))).value_counts()
        found[name] = {
            "genes": len(counts),
            "in_more_than_one": int((counts > 1).sum()),
            "in_all": int((counts == len(lists)).sum()),
        }
    return found, axes[0]


def homophilies(name: str, folder: Path) -> dict[str, float]:
    """Of both graphs of one set, over the edges of cells whose label was hidden."""
    adata = anndata.read_h5ad(folder / f"{name}.h5ad")
    truth = adata.obs["cell_type"].astype("category").cat.codes.to_numpy().astype(np.int64)
    hidden = deal_folds(truth, 5, np.random.default_rng(0)) == 0
    x = adata.X.tocsr().astype(np.float32)
    x = x[:, np.asarray(x.sum(0)).ravel() > 0]
    config = Config(**CONFIG)
    shown = np.where(hidden, -1, truth)
    found = annotate_cells(x, shown, int(truth.max()) + 1, config, device=CPU, engine="torch", seed=0)
    raw = nearest_neighbors(found.evidence.components, config.n_neighbors, device=CPU)
    return {kind: of_cells(graph, truth, hidden) for kind, graph in (("learned", found.fit.neighbors), ("raw", raw))}


def of_cells(graph: Neighbors, truth: np.ndarray, cells: np.ndarray) -> float:
    """Over the edges that leave these cells."""
    edges = sp.diags_array(cells.astype(np.float32)) @ graph.adjacency()
    edges = sp.csr_matrix(edges)
    edges.eliminate_zeros()
    return homophily(edges, truth)


def keep(ax: Axes, path: Path) -> None:
    ax.figure.savefig(path, dpi=150)
    plt.close(ax.figure)


if __name__ == "__main__":
    main()
