"""Leave one type out at a time, and see who tells its cells from held-out cells of known types.

    python benchmarks/rejection.py --data DIR [--sets ...] [--types N] [--threads 1] [--json OUT]
    python benchmarks/rejection.py --read RUN.json [RUN.json ...]

A quarter of the cells of every other type is held out too. Figures: area under the ROC curve of the score among
held-out cells; and, at an asked rate of 5 %, the share of known and of novel cells that is rejected, as by
`tl.annotate(..., reject="auto")`. Rivals see the same cells.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import torch
from _problem import Problem, load
from _runs import read, write
from _tables import markdown
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.multiclass import OneVsRestClassifier
from sklearn.neighbors import NearestNeighbors
from sklearn.preprocessing import StandardScaler

from scbignn import settings
from scbignn.annotation import Config, annotate_cells, trust_of

SETS = ("baron_mouse", "zheng_sorted_4k", "pbmc3k")
FEWEST = 30
CPU = torch.device("cpu")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=Path("data"), help="folder of the h5ad files")
    parser.add_argument("--sets", nargs="+", default=SETS, choices=SETS)
    parser.add_argument("--types", type=int, help="only so many types of each set")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", type=Path, help="file to write all figures to, after every type")
    parser.add_argument("--read", type=Path, nargs="+", help="print the table of earlier runs, and run nothing")
    options = parser.parse_args()
    if options.read:
        print(table(read(options.read)))
        return
    torch.set_num_threads(options.threads)
    rows = []
    for name in options.sets:
        counts, truth, names = load(name, options.data)
        for left in np.flatnonzero(np.bincount(truth) >= FEWEST)[: options.types]:
            problem = without(counts, truth, left)
            for method, figures in run(problem, truth == left).items():
                rows.append({"set": name, "left_out": names[left], "method": method, **figures})
                print(json.dumps(rows[-1]), flush=True)
            if options.json:
                write(options.json, rows, [], threads=options.threads, config=Config().to_dict())
    print(table(rows))


def without(counts, truth: np.ndarray, left: int) -> Problem:
    """One type and a quarter of each other type hidden; the codes of the others close the gap."""
    rng = np.random.default_rng(left)
    y = truth - (truth > left)
    for label in np.unique(truth):
        cells = rng.permutation(np.flatnonzero(truth == label))
        y[cells if label == left else cells[: max(1, len(cells) // 4)]] = -1
    return Problem(counts, y, truth.max(), int(left), np.flatnonzero(y < 0))


def run(problem: Problem, novel: np.ndarray) -> dict[str, dict[str, float]]:
    y, known = problem.y, problem.y >= 0
    with settings.override(progress=False):
        answer = annotate_cells(
            problem.counts, y, problem.n_labels, Config(), device=CPU, engine="torch", seed=problem.seed
        )
    trust, novelty = trust_of(answer, of_its_own=True, seed=problem.seed)
    p = trust.calibration.apply(answer.fit.p)
    rejected = trust.thresholds("auto").reject(novelty, p.argmax(1))
    two = np.sort(answer.evidence.gene_decisions, axis=1)[:, -2:]
    scores = {
        "scBiGNN: novelty": novelty,
        "scBiGNN: 1 - confidence": 1 - p.max(1),
        "rival: SVM, largest decision": -two[:, 1],
        "rival: SVM, margin": two[:, 0] - two[:, 1],
        "rival: distance to 15th labelled cell": to_labelled(problem),
        "rival: logistic regression": 1
        - LogisticRegression(C=30, max_iter=200).fit(problem.x[known], y[known]).predict_proba(problem.x).max(1),
        "rival: one against rest, scaled (as CellTypist)": -one_against_rest(problem),
    }
    hidden = problem.test
    found = {method: {"auroc": roc_auc_score(novel[hidden], score[hidden])} for method, score in scores.items()}
    found["scBiGNN: novelty"] |= {
        "known_rejected": rejected[hidden][~novel[hidden]].mean(),
        "novel_rejected": rejected[novel].mean(),
    }
    return found


def to_labelled(problem: Problem) -> np.ndarray:
    points = problem.components
    return NearestNeighbors(n_neighbors=15).fit(points[problem.train]).kneighbors(points)[0][:, -1]


def one_against_rest(problem: Problem) -> np.ndarray:
    """Largest decision of logistic regressions on 2,000 scaled genes, clipped at 10."""
    mean = np.asarray(problem.x.mean(0)).ravel()
    variance = np.asarray(problem.x.multiply(problem.x).mean(0)).ravel() - mean**2
    x = problem.x[:, np.argsort(-variance)[:2000]].toarray()
    scaled = StandardScaler().fit(x[problem.train]).transform(x).clip(max=10)
    model = OneVsRestClassifier(LogisticRegression(max_iter=100)).fit(scaled[problem.train], problem.y[problem.train])
    return model.decision_function(scaled).max(1)


def table(rows: list[dict[str, object]]) -> str:
    """Means over types, and over sets, in Markdown."""
    sets, methods = (list(dict.fromkeys(row[key] for row in rows)) for key in ("set", "method"))
    body = []
    for method in methods:
        means = {}
        for figure in ("auroc", "known_rejected", "novel_rejected"):
            own = [
                [row.get(figure, np.nan) for row in rows if (row["method"], row["set"]) == (method, name)]
                for name in sets
            ]
            means[figure] = [float(np.mean(values)) for values in own]
        cells = [f"{value:.3f}" for value in [*means["auroc"], np.mean(means["auroc"])]]
        rates = [np.mean(means[figure]) for figure in ("known_rejected", "novel_rejected")]
        cells += ["" if np.isnan(rate) else f"{rate:.3f}" for rate in rates]
        body.append([method, *cells])
    return "\n".join(markdown(["method", *sets, "mean", "known rejected", "novel rejected"], body))


if __name__ == "__main__":
    main()
