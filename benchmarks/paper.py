"""Reproduce a column of the paper's Table 1: five-fold accuracy of scBiGNN's q and p, beside linear SVMs.

    python benchmarks/paper.py baron_mouse.h5ad [--folds 0 1] [--rivals] [--threads 2] [--json OUT] [--set n_layers=2]

The folds are StratifiedKFold(5, shuffle=True, random_state=0). In each, the labels of the test fold are hidden and
`tl.annotate` runs with `Config.paper()`: transductive, as in the paper. The SVM sees all genes of the training cells
only, log1p of counts per 10,000, rows of unit length; its C is chosen by cross-validation inside the training cells.
A second SVM sees what scBiGNN sees: the top genes in the paper's normalisation. With --rivals only the SVMs run.
"""

from __future__ import annotations

import argparse
import json
import time
from importlib.metadata import version
from pathlib import Path

import anndata
import numpy as np
import pandas as pd
import scipy.sparse as sp
import torch
from _options import setting
from _tables import markdown
from sklearn.metrics import accuracy_score, balanced_accuracy_score, f1_score
from sklearn.model_selection import GridSearchCV, StratifiedKFold
from sklearn.preprocessing import normalize as unit_rows
from sklearn.svm import LinearSVC

import scbignn
from scbignn.annotation import Config, normalize, raw_neighbors, top_variance_genes
from scbignn.graph import homophily

LABELS = "cell_type"


def main() -> None:
    options = parse()
    torch.set_num_threads(options.threads)
    config = Config.paper(**dict(options.set))
    adata = anndata.read_h5ad(options.data)
    truth = adata.obs[LABELS].astype(str)
    folds = StratifiedKFold(5, shuffle=True, random_state=0).split(np.zeros(adata.n_obs), truth)
    rows = []
    for number, (_, test) in enumerate(folds):
        if number in options.folds:
            found = [] if options.rivals else scbignn_rows(adata, truth, test, config, options.seed)
            for row in found + svm_rows(adata, truth, test, config):
                rows.append({"fold": number, **row})
                print(json.dumps(rows[-1]), flush=True)
    summary = summarise(rows)
    print(table(summary))
    if options.json:
        about = {
            "data": options.data.name,
            "config": config.to_dict(),
            "seed": options.seed,
            "threads": options.threads,
            "versions": {name: version(name) for name in ("scbignn", "torch", "numpy", "scikit-learn")},
        }
        options.json.write_text(json.dumps({"about": about, "summary": summary, "folds": rows}, indent=1) + "\n")


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path, help=f"h5ad file with counts in X and labels in obs[{LABELS!r}]")
    parser.add_argument("--folds", type=int, nargs="+", default=range(5))
    parser.add_argument("--rivals", action="store_true", help="run the SVMs only")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--json", type=Path, help="file to write all figures to")
    parser.add_argument(
        "--set", type=setting, nargs="+", default=[], metavar="FIELD=VALUE", help="fields of the config"
    )
    return parser.parse_args()


def scbignn_rows(
    adata: anndata.AnnData, truth: pd.Series, test: np.ndarray, config: Config, seed: int
) -> list[dict[str, object]]:
    start = time.perf_counter()
    shown = truth.copy()
    shown.iloc[test] = "Unknown"
    adata = anndata.AnnData(adata.X, obs=adata.obs.assign(shown=shown), var=adata.var[[]])
    with scbignn.settings.override(progress=False):
        scbignn.tl.annotate(adata, "shown", config=config, rng=seed)
    seconds = time.perf_counter() - start

    codes = truth.astype("category").cat.codes.to_numpy()
    raw = raw_neighbors(top_genes(adata, config), config.n_neighbors, device=torch.device("cpu"), seed=0)
    graphs = {
        "homophily_learned": homophily(adata.obsp["scbignn_distances"], codes),
        "homophily_raw": homophily(raw.distance_matrix(), codes),
    }
    labels = np.asarray(adata.uns["scbignn"]["labels"])
    history = scbignn.get.history(adata)
    kept = history[history["selected"]].groupby("network")["val_accuracy"].last()
    rows = []
    for network, slot in (("q", "scbignn_proba_q"), ("p", "scbignn_proba")):
        found = labels[adata.obsm[slot].to_numpy().argmax(1)]
        rows.append(
            {"method": f"scBiGNN {network}", **scores(truth.iloc[test], found[test])}
            | {"validation_accuracy": kept[network], "seconds": seconds, **graphs}
        )
    return rows


def svm_rows(adata: anndata.AnnData, truth: pd.Series, test: np.ndarray, config: Config) -> list[dict[str, object]]:
    x = unit_rows(normalize(adata.X.tocsr(), 1e4))
    return [
        {"method": "linear SVM, all genes", **svm(x, truth, test, [0.1, 0.3, 1.0, 3.0, 10.0])},
        {"method": "linear SVM, top genes", **svm(top_genes(adata, config), truth, test, [0.001, 0.003, 0.01, 0.03])},
    ]


def svm(x: sp.csr_matrix, truth: pd.Series, test: np.ndarray, penalties: list[float]) -> dict[str, float]:
    start = time.perf_counter()
    train = np.setdiff1d(np.arange(len(truth)), test)
    search = GridSearchCV(LinearSVC(), {"C": penalties}, cv=StratifiedKFold(3, shuffle=True, random_state=0))
    found = search.fit(x[train], truth.iloc[train]).predict(x[test])
    return scores(truth.iloc[test], found) | {"seconds": time.perf_counter() - start}


def top_genes(adata: anndata.AnnData, config: Config) -> sp.csr_matrix:
    x = normalize(adata.X.tocsr(), config.target_sum)
    return x[:, top_variance_genes(x, config.n_top_genes)].tocsr()


def scores(truth: pd.Series, found: np.ndarray) -> dict[str, float]:
    return {
        "accuracy": accuracy_score(truth, found),
        "balanced_accuracy": balanced_accuracy_score(truth, found),
        "macro_f1": f1_score(truth, found, average="macro", zero_division=0),
    }


def summarise(rows: list[dict[str, object]]) -> dict[str, dict[str, list[float]]]:
    """Mean and standard error over folds of every figure of every method."""
    summary: dict[str, dict[str, list[float]]] = {}
    for method in dict.fromkeys(row["method"] for row in rows):
        own = [row for row in rows if row["method"] == method]
        for name in own[0].keys() - {"fold", "method"}:
            values = np.array([row[name] for row in own], dtype=float)
            error = values.std(ddof=1) / np.sqrt(len(values)) if len(values) > 1 else np.nan
            summary.setdefault(method, {})[name] = [float(values.mean()), float(error)]
    return summary


def table(summary: dict[str, dict[str, list[float]]]) -> str:
    names = ["accuracy", "balanced_accuracy", "macro_f1", "homophily_learned", "homophily_raw", "seconds"]
    body = []
    for method, figures in summary.items():
        cells = ["{:.4f} ± {:.4f}".format(*figures[name]) if name in figures else "" for name in names]
        body.append([method, *cells])
    return "\n".join(markdown(["method", *names], body))


if __name__ == "__main__":
    main()
