"""`scbignn demo`: the main job on real cells that come with scanpy, beside a linear SVM."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import scanpy as sc
from anndata import AnnData
from sklearn.metrics import accuracy_score, f1_score
from sklearn.model_selection import GridSearchCV, StratifiedShuffleSplit
from sklearn.svm import LinearSVC

from . import get, graph, pl, tl
from ._keys import AnnotationKeys

_LABELS = "bulk_labels"


def demo(folder: Path, say: Callable[[str], None] = print) -> None:
    """Hide half of the labels, annotate, and say and write what came of it.

    Writes `annotated.h5ad` and three figures to `folder`.
    """
    start = time.perf_counter()
    adata, truth = _half_labelled()
    hidden = (adata.obs["shown"] == "Unknown").to_numpy()
    say(
        f"{adata.n_obs} blood cells x {adata.n_vars} genes (scanpy.datasets.pbmc68k_reduced, log-normalised), "
        f"{truth.cat.categories.size} labels.\nHiding the labels of {hidden.sum()} cells (half, stratified)."
    )
    tl.annotate(adata, labels_key="shown")
    elapsed = time.perf_counter() - start

    cells = truth[hidden]
    found = {
        "scBiGNN": get.annotation(adata)["label"].astype(str)[hidden],
        "linear SVM, tuned": _linear_svm(adata, truth, hidden),
    }
    say(f"\nOn the {hidden.sum()} cells whose labels were hidden:")
    say(f"  {'':20s}accuracy  macro-F1")
    for name, labels in found.items():
        macro_f1 = f1_score(cells, labels, average="macro", zero_division=0)
        say(f"  {name:20s}{accuracy_score(cells, labels):8.3f}  {macro_f1:8.3f}")
    say("  (transductive: scBiGNN has seen the expression of the hidden cells, never their labels)")

    learned, raw = _homophily_by_truth(adata, truth)
    say(f"\nEdges within a label, by all true labels: learned graph {learned:.3f}, raw PCA graph {raw:.3f}")
    genes = get.gene_importance(adata, by="attribution", n_genes=10)["gene"]
    say(f"Genes that the labels rest on most: {', '.join(genes)}")

    written = _write(adata, folder)
    say("\nWritten to the AnnData: " + "; ".join(_slots(adata)))
    say(f"Written to {folder}: {', '.join(written)}")
    say(f"Time: {elapsed:.0f} s for annotation, {time.perf_counter() - start:.0f} s in all")


def _half_labelled() -> tuple[AnnData, pd.Series]:
    """The data with `obs["shown"]`, in which a stratified half of the labels is hidden, and the true labels."""
    reduced = sc.datasets.pbmc68k_reduced()
    adata = reduced.raw.to_adata()  # reduced.X is scaled
    truth = adata.obs[_LABELS]
    split = StratifiedShuffleSplit(n_splits=1, test_size=0.5, random_state=0)
    (_, hidden), *_ = split.split(np.zeros(len(truth)), truth)
    shown = truth.cat.add_categories("Unknown").copy()
    shown.iloc[hidden] = "Unknown"
    adata.obs["shown"] = shown
    colors = list(reduced.uns[f"{_LABELS}_colors"])
    adata.uns["shown_colors"] = [*colors, "#bbbbbb"]
    return adata, truth


def _linear_svm(adata: AnnData, truth: pd.Series, hidden: np.ndarray) -> np.ndarray:
    """Labels of the hidden cells by a linear SVM on all genes, its C chosen by cross-validation on the others."""
    search = GridSearchCV(LinearSVC(), {"C": [0.001, 0.01, 0.1, 1.0]}, cv=3)
    search.fit(adata.X[~hidden], truth[~hidden].astype(str))
    return search.predict(adata.X[hidden])


def _homophily_by_truth(adata: AnnData, truth: pd.Series) -> tuple[float, float]:
    codes = truth.cat.codes.to_numpy()
    run = adata.uns["scbignn"]
    learned = adata.obsp[run["distances_key"]]
    k = run["params"]["n_neighbors"] - 1
    raw = sc.pp.neighbors(sc.pp.pca(adata, copy=True), n_neighbors=k + 1, copy=True).obsp["distances"]
    return graph.homophily(learned, codes), graph.homophily(raw, codes)


def _write(adata: AnnData, folder: Path) -> list[str]:
    folder.mkdir(parents=True, exist_ok=True)
    adata.write_h5ad(folder / "annotated.h5ad")
    written = ["annotated.h5ad"]
    plt.switch_backend("agg")
    plots = partial(pl.gene_importance, by="attribution"), pl.homophily, pl.history
    for name, plot in zip(("gene_importance", "homophily", "history"), plots, strict=True):
        written.append(f"{name}.png")
        figure = plot(adata).figure
        figure.savefig(folder / written[-1], dpi=200)
        plt.close(figure)
    return written


def _slots(adata: AnnData) -> list[str]:
    """The slots that the annotation has filled, by attribute."""
    return [
        f"{attribute} {', '.join(name for name in names if name in getattr(adata, attribute))}"
        for attribute, names in AnnotationKeys("scbignn").slots.items()
    ]
