"""Does an answer rest on the genes that are called important? Delete them from cells to annotate, and see.

    python benchmarks/importance.py --data DIR [--sets ...] [--folds 0 1] [--seed 0] [--threads 1] [--json OUT]

A model is fitted to the cells outside a fold of `benchmarks/folds`. In the cells of the fold, the counts of the first k
genes of a ranking are set to zero, and the model labels them, each by itself. The more accuracy a ranking costs, the
more the answer rests on its genes. All rankings are made without the fold: by attention and by attribution of the model;
by variance of log-normalised expression; by the weights of a linear SVM on all genes (their largest absolute value over
labels, and their length over labels), also times the gene's mean; and at random, of the genes that entered the network.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from pathlib import Path

import numpy as np
import scipy.sparse as sp
import torch
from _problem import Problem, folds, load
from _runs import write
from _tables import digits, markdown
from sklearn.svm import LinearSVC

from scbignn import settings
from scbignn.annotation import Config, Model, Predictor, annotate_cells, model_of

SETS = ("baron_mouse", "zheng_sorted_4k", "pbmc3k", "worm_neuron", "cite_cbmc_top2000")
DELETED = (0, 10, 20, 50, 100, 200)
CPU = torch.device("cpu")
_RANDOM_DRAWS = 3
#: Deletions of which the table shows every set.
_PER_SET = 50


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=Path("data"), help="folder of the h5ad files")
    parser.add_argument("--sets", nargs="+", default=SETS, choices=SETS)
    parser.add_argument("--folds", type=int, nargs="+", default=[0])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", type=Path, help="file to write all figures to")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    rows = []
    for name in options.sets:
        counts, y, _ = load(name, options.data)
        for fold in options.folds:
            test = folds(name) == fold
            for row in run(counts, y, test, options.seed):
                rows.append({"set": name, "fold": fold, **row})
                print(rows[-1], flush=True)
    print(table(rows))
    if options.json:
        write(options.json, rows, [], config=Config().to_dict(), seed=options.seed, threads=options.threads)


def run(counts: sp.csr_matrix, y: np.ndarray, test: np.ndarray, seed: int) -> list[dict[str, object]]:
    """Accuracy of p and q on the cells of one fold, by ranking and number of deleted genes."""
    train = Problem(counts[~test], y[~test], int(y.max()) + 1, seed, np.empty(0, dtype=int))
    config = Config(cross_fit_folds=0)
    with settings.override(progress=False):
        found = annotate_cells(train.counts, train.y, train.n_labels, config, device=CPU, engine="torch", seed=seed)
    names, labels = (np.arange(size).astype(str) for size in (counts.shape[1], train.n_labels))
    model = model_of(found, names, list(labels))
    predictor = Predictor(model, np.ones(len(names), dtype=bool), device=CPU, engine="torch")
    rows = []
    for ranking, orders in rankings(train, model, seed).items():
        for n in DELETED:
            of_p, of_q = np.mean([without(predictor, counts[test], y[test], order[:n]) for order in orders], axis=0)
            rows.append({"ranking": ranking, "deleted": n, "p": of_p, "q": of_q})
    return rows


def rankings(train: Problem, model: Model, seed: int) -> dict[str, list[np.ndarray]]:
    """Genes, the most important first; several orders where chance has a part."""
    mean = np.asarray(train.x.mean(0)).ravel()
    variance = np.asarray(train.x.multiply(train.x).mean(0)).ravel() - mean**2
    weights = np.abs(LinearSVC(random_state=seed).fit(train.x, train.y).coef_)
    scores = {
        "variance": variance,
        "SVM, largest weight": weights.max(0),
        "SVM, length of weights": np.linalg.norm(weights, axis=0),
        "SVM, largest weight x mean": (weights * mean).max(0),
    }
    rng, panel, importance = np.random.default_rng(seed), model.panel, model.importance
    return {
        "attention": [panel[np.argsort(-importance.received, kind="stable")]],
        "attribution": [panel[np.argsort(-importance.attribution, kind="stable")]],
        **{name: [np.argsort(-score, kind="stable")] for name, score in scores.items()},
        "random": [rng.permutation(panel) for _ in range(_RANDOM_DRAWS)],
    }


def without(predictor: Predictor, counts: sp.csr_matrix, y: np.ndarray, genes: np.ndarray) -> tuple[float, float]:
    """Accuracy of p and q on cells whose counts of these genes are set to zero; a cell left without counts is wrong."""
    kept = np.ones(counts.shape[1], dtype=np.float32)
    kept[genes] = 0
    counts = sp.csr_matrix(counts @ sp.diags_array(kept))
    counts.eliminate_zeros()
    some = np.diff(counts.indptr) > 0
    found = predictor.inductive(counts[some])
    return tuple(np.sum(answer.argmax(1) == y[some]) / len(y) for answer in (found.p, found.q))


def table(rows: list[dict[str, object]]) -> str:
    """Accuracy of p / q after each number of deletions, on the mean of sets and folds; and per set after 50."""
    sets = list(dict.fromkeys(row["set"] for row in rows))
    figures = defaultdict(list)
    for row in rows:
        for place in (row["deleted"], row["set"] if row["deleted"] == _PER_SET else None):
            figures[row["ranking"], place].append((row["p"], row["q"]))
    head = ["ranking", *(f"{n} deleted" for n in DELETED), *(f"{name}, {_PER_SET}" for name in sets)]
    body = []
    for ranking in dict.fromkeys(row["ranking"] for row in rows):
        cells = [np.mean(figures[ranking, place], axis=0) for place in (*DELETED, *sets)]
        body.append([ranking, *("/".join(digits(value, 3) for value in cell) for cell in cells)])
    return "\n".join(markdown(head, body))


if __name__ == "__main__":
    main()
