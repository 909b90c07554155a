"""Annotate hidden cells of labelled data by scBiGNN and by every rival, on the same cells, in one run.

    python benchmarks/annotation.py --data DIR [--sets ...] [--rivals ...] [--folds 0 1 2 3 4] [--few N] [--seeds 0]
                                    [--rivals-only] [--paper] [--set FIELD=VALUE ...] [--threads 2] [--json OUT]
    python benchmarks/annotation.py --read RUN.json [RUN.json ...]

Each fold of `benchmarks/folds` in turn has its labels hidden; with --few N, only N cells of each label keep theirs, and
a seed draws which. Methods that see the expression of the test cells while they train are in a block of their own,
"transductive". A run may be dealt to several machines by set, and its tables read together; where two runs hold the
same figures, the first counts. Every method runs in a process of its own, so that seconds and peak memory are its own
too. CellTypist, singler and scANVI need an environment, which `python benchmarks/set_up_rivals.py` sets up; they run
where --rivals names them.
`pbmc68k_reduced` comes with scanpy; its labels were made by correlation with sorted populations.
"""

from __future__ import annotations

import argparse
import json
from functools import partial
from pathlib import Path

import numpy as np
from _methods import Answer, rival_answers, run, scbignn_answers
from _options import setting
from _problem import SETS, Problem, few_labelled, folds, load
from _runs import show, write
from _tables import table
from rivals import APART, NAMES

from scbignn.annotation import Config


def main() -> None:
    options = parse()
    if options.read:
        runs = [json.loads(path.read_text()) for path in options.read]
        rows = [row for name in options.sets for earlier in runs for row in earlier["rows"] if row["set"] == name]
        found = {(row["set"], row["seed"], row["fold"], row["method"]): row for row in reversed(rows)}
        rows = list(reversed(found.values()))
        print(tables(rows, runs[0]["about"]["few"]))
        return
    rows = []
    for name in options.sets:
        counts, y, labels = load(name, options.data)
        for seed, fold, test in splits(name, y, options):
            shown = y.copy()
            shown[test] = -1
            problem = Problem(counts, shown, len(labels), seed, test)
            for method in methods(options):
                found = run(problem, y[test], partial(answers, method=method, options=options), options.threads)
                rows += [{"set": name, "seed": seed, "fold": fold, **row} for row in found]
                for row in rows[-len(found) :]:
                    show(row, "set", "seed", "fold")
                if options.json:
                    about = {"few": options.few, "config": config_of(options).to_dict(), "threads": options.threads}
                    write(options.json, rows, options.rivals, **about)
    print(tables(rows, options.few))


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
    parser.add_argument("--json", type=Path, help="file to write all figures to, after every answer")
    parser.add_argument(
        "--set", type=setting, nargs="+", default=[], metavar="FIELD=VALUE", help="of the default config"
    )
    return parser.parse_args()


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


def answers(problem: Problem, method: str, options: argparse.Namespace) -> list[Answer]:
    if method == "scbignn":
        return scbignn_answers(problem, config_of(options))
    if method == "scbignn_paper":
        return scbignn_answers(problem, Config.paper(), "scBiGNN, Config.paper(): {}")
    return rival_answers(problem, method)


def tables(rows: list[dict[str, object]], few: int | None) -> str:
    """Where there are folds, a fifth of the cells is tested by what four fifths teach."""
    return table(rows, against=("scBiGNN: p", "scBiGNN: q"), share=0.0 if few else 0.25)


if __name__ == "__main__":
    main()
