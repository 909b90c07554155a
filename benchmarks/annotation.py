"""Annotate hidden cells of labelled data by scBiGNN and by every rival, on the same cells, in one run.

    python benchmarks/annotation.py --data DIR [--sets ...] [--rivals ...] [--folds 0 1 2 3 4] [--few N] [--seeds 0]
                                    [--paper] [--set FIELD=VALUE ...] [--threads 2] [--json OUT]
    python benchmarks/annotation.py --read RUN.json [RUN.json ...]

Each fold of `benchmarks/folds` in turn has its labels hidden; with --few N, only N cells of each label keep theirs, and
a seed draws which. Methods that see the expression of the test cells while they train are in a block of their own,
"transductive". A run may be dealt to several machines by set, and its tables read together. Every method runs in a process of its own, so that seconds and peak memory are its own too.
`pbmc68k_reduced` comes with scanpy; its labels were made by correlation with sorted populations.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import resource
import subprocess
import time
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch
from _options import setting
from _problem import SETS, Problem, few_labelled, folds, load
from _scores import paired, scores
from rivals import APART, NAMES, rival

import scbignn
from scbignn.annotation import Config

FIGURES = ("accuracy", "balanced_accuracy", "macro_f1", "ece", "seconds", "peak_gb")


def main() -> None:
    options = parse()
    if options.read:
        runs = [json.loads(path.read_text()) for path in options.read]
        rows = [row for earlier in runs for row in earlier["rows"] if row["set"] in options.sets]
        print(table(rows, runs[0]["about"]["few"]))
        return
    rows = []
    for name in options.sets:
        counts, y, labels = load(name, options.data)
        for seed, fold, test in splits(name, y, options):
            shown = y.copy()
            shown[test] = -1
            problem = Problem(counts, shown, len(labels), seed, test)
            for method in methods(options):
                found = in_a_process(run, problem, y[test], method, options)
                rows += [{"set": name, "seed": seed, "fold": fold, **row} for row in found]
                for row in rows[-len(found) :]:
                    figures = {key: row[key] for key in FIGURES if isinstance(row[key], float)}
                    print(name, seed, fold, row["method"], json.dumps(figures), flush=True)
    print(table(rows, options.few))
    if options.json:
        about = {
            "few": options.few,
            "config": config_of(options).to_dict(),
            "threads": options.threads,
            "commit": commit(),
            "versions": {name: version(name) for name in ("scbignn", "torch", "numpy", "scikit-learn", "scanpy")},
        }
        lines = ",\n".join(json.dumps(row) for row in rows)
        options.json.write_text(f'{{"about": {json.dumps(about)},\n"rows": [\n{lines}\n]}}\n')


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=Path("data"), help="folder of the h5ad files")
    parser.add_argument("--sets", nargs="+", default=SETS, choices=SETS)
    parser.add_argument("--rivals", nargs="*", default=[name for name in NAMES if name not in APART], choices=NAMES)
    parser.add_argument("--rivals-only", action="store_true", help="leave scBiGNN out")
    parser.add_argument("--folds", type=int, nargs="+", default=range(5))
    parser.add_argument("--few", type=int, help="labelled cells of each label, in place of folds")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument(
        "--read", type=Path, nargs="+", help="print the table of earlier runs, on --sets, and run nothing"
    )
    parser.add_argument("--paper", action="store_true", help="run Config.paper() too: minutes a fold")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--json", type=Path, help="file to write all figures to")
    parser.add_argument(
        "--set", type=setting, nargs="+", default=[], metavar="FIELD=VALUE", help="of the default config"
    )
    return parser.parse_args()


def commit() -> str:
    """The commit that is checked out here, with "-dirty" after it where files differ."""
    command = ["git", "describe", "--always", "--dirty", "--abbrev=7"]
    return subprocess.run(
        command, cwd=Path(__file__).parent, capture_output=True, text=True, check=False
    ).stdout.strip()


def config_of(options: argparse.Namespace) -> Config:
    return Config(**dict(options.set))


def splits(name: str, y: np.ndarray, options: argparse.Namespace):
    """Seed, fold and test cells of every run; with few labels there are no folds."""
    for seed in options.seeds:
        if options.few:
            yield seed, 0, np.setdiff1d(np.arange(len(y)), few_labelled(y, options.few, seed))
        else:
            for fold in options.folds:
                yield seed, fold, np.flatnonzero(folds(name) == fold)


def methods(options: argparse.Namespace) -> list[str]:
    ours = ["scbignn", *(["scbignn_paper"] if options.paper else [])]
    return [*(() if options.rivals_only else ours), *options.rivals]


def in_a_process(task, *args) -> list[dict[str, object]]:
    """What `task` returns in a forked process, so that its peak memory can be told from that of others."""
    context = multiprocessing.get_context("fork")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=lambda: sender.send(task(*args)))
    process.start()
    sender.close()
    try:
        return receiver.recv()
    finally:
        process.join()


def run(problem: Problem, truth: np.ndarray, method: str, options: argparse.Namespace) -> list[dict[str, object]]:
    torch.set_num_threads(options.threads)
    start = time.perf_counter()
    if method.startswith("scbignn"):
        found = scbignn_rows(problem, Config.paper() if method.endswith("paper") else config_of(options), method)
    else:
        module = rival(method)
        values = module.predict(problem)
        is_probability = np.allclose(values.sum(1), 1) and (values >= 0).all()
        found = [(NAMES[method], module.MODE, values, values if is_probability else None)]
    seconds = time.perf_counter() - start
    peak = max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)) / 2**20
    return [
        {
            "method": name,
            "mode": mode,
            **scores(truth, values.argmax(1), probability, problem.n_labels),
            "seconds": seconds,
            "peak_gb": peak,
        }
        for name, mode, values, probability in found
    ]


def scbignn_rows(problem: Problem, config: Config, method: str) -> list[tuple]:
    import anndata
    import pandas as pd

    names = np.array([f"label {code}" for code in range(problem.n_labels)] + ["Unknown"])
    cells = [f"cell {cell}" for cell in range(len(problem.y))]
    genes = pd.DataFrame(index=[f"gene {gene}" for gene in range(problem.counts.shape[1])])
    adata = anndata.AnnData(problem.counts, pd.DataFrame({"shown": names[problem.y]}, index=cells), genes)
    with scbignn.settings.override(progress=False):
        scbignn.tl.annotate(adata, "shown", config=config, rng=problem.seed)
    columns = [names.tolist().index(label) for label in adata.uns["scbignn"]["labels"]]
    few = len(problem.train) <= config.few_labels * problem.n_labels and config.anchor_refits
    inductive = method == "scbignn" and config.n_rounds == 0 and not few
    rows = []
    for network, slot in (("p", "scbignn_proba"), ("q", "scbignn_proba_q")):
        probability = np.zeros((len(problem.test), problem.n_labels))
        probability[:, columns] = adata.obsm[slot].to_numpy()[problem.test]
        name = f"scBiGNN{', Config.paper()' if method.endswith('paper') else ''}: {network}"
        mode = "inductive" if network == "q" and inductive else "transductive"
        rows.append((name, mode, probability, probability))
    return rows


def table(rows: list[dict[str, object]], few: int | None) -> str:
    """Accuracy / macro-F1 of every method on every set, and its other figures on the mean, in Markdown."""
    sets = list(dict.fromkeys(row["set"] for row in rows))
    lines = []
    for mode in ("inductive", "transductive"):
        own = [row for row in rows if row["mode"] == mode]
        order = sorted(
            dict.fromkeys(row["method"] for row in own), key=lambda method: -mean(own, method, "accuracy")[0]
        )
        head = ["method", *sets, "mean", "± s.e.", "balanced acc.", "ECE", "s", "GB", "difference (p)"]
        lines += [f"**{mode.capitalize()}**", "", "| " + " | ".join(head) + " |", "|---" * len(head) + "|"]
        ours = next((method for method in order if method in {"scBiGNN: p", "scBiGNN: q"}), None)
        for method in order:
            per_set = [pair([row for row in own if row["set"] == name], method) for name in sets]
            errors = " / ".join(digits(mean(own, method, figure)[1]) for figure in ("accuracy", "macro_f1"))
            rest = [digits(mean(own, method, figure)[0]) for figure in ("balanced_accuracy", "ece")]
            cost = [f"{mean(own, method, figure)[0]:.1f}" for figure in ("seconds", "peak_gb")]
            against = "" if ours in (None, method) else difference(own, ours, method, share=None if few else 0.25)
            cells = [method, *per_set, pair(own, method), errors, *rest, *cost, against]
            lines.append("| " + " | ".join(cells) + " |")
        lines.append("")
    return "\n".join(lines)


def mean(rows: list[dict[str, object]], method: str, figure: str) -> tuple[float, float]:
    """Mean over sets of the mean over runs, and its standard error; NaN where a method has no such figure."""
    sets = dict.fromkeys(row["set"] for row in rows)
    values = [[row[figure] for row in rows if row["method"] == method and row["set"] == name] for name in sets]
    if any(value is None for own in values for value in own) or not all(values):
        return float("nan"), float("nan")
    errors = [np.var(own, ddof=1) / len(own) if len(own) > 1 else np.nan for own in values]
    return float(np.mean([np.mean(own) for own in values])), float(np.sqrt(np.sum(errors)) / len(values))


def pair(rows: list[dict[str, object]], method: str) -> str:
    return " / ".join(digits(mean(rows, method, figure)[0]) for figure in ("accuracy", "macro_f1"))


def difference(rows: list[dict[str, object]], ours: str, theirs: str, *, share: float | None) -> str:
    """Ours less theirs in accuracy, paired over all runs."""
    values = [[row["accuracy"] for row in rows if row["method"] == method] for method in (ours, theirs)]
    if len(values[0]) != len(values[1]):
        return ""
    gain, p = paired(*(np.array(value) for value in values), test_share=share or 0.0)
    return f"{gain:+.4f} ({p:.2g})"


def digits(value: float) -> str:
    return "" if np.isnan(value) else f"{value:.4f}".removeprefix("0")


if __name__ == "__main__":
    main()
