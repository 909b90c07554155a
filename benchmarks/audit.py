"""Plant wrong labels, and see who finds them.

    python benchmarks/audit.py --data DIR [--sets ...] [--seeds 0 1 2 3 4] [--rate 0.05] [--threads 1] [--json OUT]
    python benchmarks/audit.py --read RUN.json [RUN.json ...]

Figures: average precision of the suspicion; share of wrong labels as estimated; share of the planted ones for which the
true label is suggested, all as by `tl.audit_labels`. Logistic regression is cross-validated on the same cells.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import torch
from _problem import load
from _runs import read, write
from _tables import markdown
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import average_precision_score
from sklearn.model_selection import KFold, cross_val_predict

from scbignn import settings
from scbignn.annotation import Config, annotate_cells, audit_labels, label_shapes, normalize, unit_rows

SETS = ("baron_mouse", "zheng_sorted_4k", "pbmc3k")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=Path("data"), help="folder of the h5ad files")
    parser.add_argument("--sets", nargs="+", default=SETS, choices=SETS)
    parser.add_argument("--seeds", type=int, nargs="+", default=range(5))
    parser.add_argument("--rate", type=float, default=0.05)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", type=Path, help="file to write all figures to, after every seed")
    parser.add_argument("--read", type=Path, nargs="+", help="print the table of earlier runs, and run nothing")
    options = parser.parse_args()
    if options.read:
        print(table(read(options.read)))
        return
    torch.set_num_threads(options.threads)
    rows = []
    for name in options.sets:
        counts, truth, names = load(name, options.data)
        x = unit_rows(normalize(counts, 1e4))
        for seed in options.seeds:
            y = planted(truth, len(names), options.rate, seed)
            for method, figures in run(counts, x, y, truth, seed).items():
                rows.append({"set": name, "seed": seed, "method": method, **figures})
                print(json.dumps(rows[-1]), flush=True)
            if options.json:
                write(options.json, rows, [], threads=options.threads, config=Config().to_dict())
    print(table(rows))


def planted(truth: np.ndarray, n_labels: int, rate: float, seed: int) -> np.ndarray:
    """The labels, a share of them replaced by any other."""
    rng = np.random.default_rng(seed)
    y = truth.copy()
    wrong = rng.permutation(len(y))[: round(rate * len(y))]
    y[wrong] = (y[wrong] + rng.integers(1, n_labels, len(wrong))) % n_labels
    return y


def run(counts, x, y: np.ndarray, truth: np.ndarray, seed: int) -> dict[str, dict[str, float]]:
    wrong, rows, n_labels = y != truth, np.arange(len(y)), truth.max() + 1
    with settings.override(progress=False):
        run = annotate_cells(counts, y, n_labels, Config(), device=torch.device("cpu"), engine="torch", seed=seed)
    points = run.evidence.components
    distances = label_shapes(points, y, n_labels).distances(points, y)
    found = {}
    for method, near in (("scBiGNN", distances), ("scBiGNN, by probabilities alone", None)):
        audit = audit_labels(run.cross_fitted, y, near)
        found[method] = {
            "average_precision": average_precision_score(wrong, audit.wrong),
            "expected_wrong": float(audit.wrong.mean()),
            "suggested_right": float(np.mean(audit.suggested[wrong] == truth[wrong])),
        }
    folds = KFold(3, shuffle=True, random_state=seed)
    model = LogisticRegression(C=30, max_iter=100)
    other = cross_val_predict(model, x, y, cv=folds, method="predict_log_proba")
    own = other[rows, y].copy()
    other[rows, y] = -np.inf
    suspicion = {"probability": -own, "log margin": other.max(1) - own, "margin": np.exp(other.max(1)) - np.exp(own)}
    for method, score in suspicion.items():
        found[f"rival: logistic regression, {method}"] = {"average_precision": average_precision_score(wrong, score)}
    return found


def table(rows: list[dict[str, object]]) -> str:
    """Means over seeds, and over sets, in Markdown."""
    sets, methods = (list(dict.fromkeys(row[key] for row in rows)) for key in ("set", "method"))
    figures = ("average_precision", "expected_wrong", "suggested_right")
    body = []
    for method in methods:
        own = {
            figure: [
                float(
                    np.mean([row.get(figure, np.nan) for row in rows if (row["method"], row["set"]) == (method, name)])
                )
                for name in sets
            ]
            for figure in figures
        }
        cells = [f"{value:.3f}" for value in [*own["average_precision"], np.mean(own["average_precision"])]]
        cells += ["" if np.isnan(own[figure]).any() else f"{np.mean(own[figure]):.3f}" for figure in figures[1:]]
        body.append([method, *cells])
    return "\n".join(markdown(["method", *sets, "mean", "estimated rate", "suggested right"], body))


if __name__ == "__main__":
    main()
