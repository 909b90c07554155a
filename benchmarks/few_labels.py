"""Draw what few labels are worth to each method, from runs of annotation.py with --few.

    python benchmarks/few_labels.py RUN.json [RUN.json ...] [--output docs/_static/few_labels.png]

Means over the sets that all runs share, and standard errors over seeds.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import matplotlib.pyplot as plt
from _tables import mean
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

FIGURES = {"accuracy": "accuracy", "macro_f1": "macro-F1"}
LOOKS = {
    "scBiGNN: p": ("#0072B2", "o", "-"),
    "scBiGNN: q": ("#56B4E9", "s", "-"),
    "linear SVM on [X, AX], tuned": ("#D55E00", "^", "--"),
    "linear SVM, tuned": ("#777777", "v", "--"),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("runs", type=Path, nargs="+", help="one for each number of labelled cells")
    parser.add_argument("--output", type=Path, default=Path("docs/_static/few_labels.png"))
    options = parser.parse_args()
    plt.switch_backend("agg")
    runs = [json.loads(path.read_text()) for path in options.runs]
    curves({run["about"]["few"]: run["rows"] for run in runs}).savefig(options.output, dpi=150)


def curves(runs: dict[int, list[dict[str, object]]]) -> Figure:
    """Each figure of merit against the labelled cells of each type."""
    shared = set.intersection(*({row["set"] for row in rows} for rows in runs.values()))
    figure, axes = plt.subplots(1, len(FIGURES), figsize=(6.8, 2.8), layout="constrained", sharey=True)
    for ax, (name, title) in zip(axes, FIGURES.items(), strict=True):
        for method, (color, marker, line) in LOOKS.items():
            points = [
                (few, *mean([row for row in runs[few] if row["set"] in shared], method, name)) for few in sorted(runs)
            ]
            few, height, error = zip(*points, strict=True)
            ax.errorbar(few, height, error, color=color, marker=marker, linestyle=line, markersize=4, label=method)
        ax.set(xscale="log", xticks=few, xticklabels=few, xlabel="labelled cells of each type", title=title)
        ax.xaxis.set_minor_locator(NullLocator())
        ax.spines[["top", "right"]].set_visible(False)
    axes[0].legend(frameon=False, fontsize=8)
    return figure


if __name__ == "__main__":
    main()
