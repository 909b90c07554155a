"""Annotate the cells of one batch by the labels of another, by scBiGNN and by every rival, in one run.

    python benchmarks/transfer.py --data DIR [--pairs ...] [--rivals ...] [--seeds 0] [--rivals-only]
                                  [--set FIELD=VALUE ...] [--threads 2] [--json OUT]
    python benchmarks/transfer.py --read RUN.json [RUN.json ...]

All labels of the reference are shown, none of the query. Query cells of a type that the reference does not have are in
the data, but not in the score. Inductive methods learn from the reference alone; transductive methods see the query's
expression too. Nobody is told the batch, but for scANVI, which asks for it. A method whose answer no seed changes
runs with the first seed only. Sets, as h5ad in DIR, have batches in obs["batch"] and labels in obs["cell_type"].
"""

from __future__ import annotations

import argparse
from functools import partial
from pathlib import Path

import anndata
import numpy as np
from _methods import Answer, as_anndata, rival_answers, run
from _options import setting
from _problem import Problem
from _runs import read, show, write
from _tables import table
from rivals import NAMES, SEEDED

import scbignn
from scbignn.annotation import Config

#: Set, batch of the reference, batch of the query.
PAIRS = {
    "kang": ("kang_pbmc_muscat", "ctrl", "stim"),
    "baron_1_2": ("baron_mouse", "mouse1", "mouse2"),
    "baron_2_1": ("baron_mouse", "mouse2", "mouse1"),
    "mixology_cel_drop": ("sc_mixology_3cl", "CEL-seq2", "Drop-seq"),
    "mixology_drop_cel": ("sc_mixology_3cl", "Drop-seq", "CEL-seq2"),
}
RIVALS = (
    "majority",
    "linear_svm",
    "logistic_l2",
    "lda",
    "centroid",
    "spearman",
    "knn",
    "svm_neighbors",
    "svm_self_training",
)


def main() -> None:
    options = parse()
    if options.read:
        print(table(read(options.read)))
        return
    rows = []
    for name in options.pairs:
        source, reference, query = PAIRS[name]
        adata = anndata.read_h5ad(options.data / f"{source}.h5ad")
        title = f"{source}: {reference} to {query}"
        for method in methods(options):
            for seed in options.seeds if method in (*SEEDED, "scbignn") else options.seeds[:1]:
                problem, truth, n_left_out = transfer(adata, reference, query, seed)
                found = run(problem, truth, partial(answers, method=method, options=options), options.threads)
                rows += [{"set": title, "seed": seed, "left_out": n_left_out, **row} for row in found]
                for row in rows[-len(found) :]:
                    show(row, "set", "seed")
        print(f"{title}: {len(truth)} query cells scored, {n_left_out} of types without reference left out", flush=True)
    print(table(rows))
    if options.json:
        write(options.json, rows, options.rivals, config=config_of(options).to_dict(), threads=options.threads)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=Path("data"), help="folder of the h5ad files")
    parser.add_argument("--pairs", nargs="+", default=list(PAIRS), choices=PAIRS)
    parser.add_argument("--rivals", nargs="*", default=list(RIVALS), choices=NAMES)
    parser.add_argument("--rivals-only", action="store_true", help="leave scBiGNN out")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--read", type=Path, nargs="+", help="print the table of earlier runs, and run nothing")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--json", type=Path, help="file to write all figures to")
    parser.add_argument(
        "--set", type=setting, nargs="+", default=[], metavar="FIELD=VALUE", help="of the default config"
    )
    return parser.parse_args()


def config_of(options: argparse.Namespace) -> Config:
    return Config(**dict(options.set))


def methods(options: argparse.Namespace) -> list[str]:
    return [*(() if options.rivals_only else ("scbignn",)), *options.rivals]


def transfer(adata: anndata.AnnData, reference: str, query: str, seed: int) -> tuple[Problem, np.ndarray, int]:
    """The problem, the codes of its test cells, and how many query cells are of no label of the reference.

    The problem's cells are those of both batches, in their order; its labels are those of the reference, its batches 0
    in the reference and 1 in the query.
    """
    batch = adata.obs["batch"].astype(str).to_numpy()
    cells = np.flatnonzero((batch == reference) | (batch == query))
    asked = batch[cells] == query
    kinds = adata.obs["cell_type"].astype(str).to_numpy()[cells]
    labels = np.unique(kinds[~asked])
    codes = np.where(np.isin(kinds, labels), np.searchsorted(labels, kinds), -1)
    test = np.flatnonzero(asked & (codes >= 0))
    problem = Problem(
        adata.X[cells].tocsr().astype(np.float32),
        np.where(asked, -1, codes).astype(np.int64),
        len(labels),
        seed,
        test,
        asked.astype(np.int64),
    )
    return problem, codes[test], int(asked.sum()) - len(test)


def answers(problem: Problem, method: str, options: argparse.Namespace) -> list[Answer]:
    return ours(problem, config_of(options)) if method == "scbignn" else rival_answers(problem, method)


def ours(problem: Problem, config: Config) -> list[Answer]:
    """A model fitted on the reference, and what it says of the query in both modes."""
    adata, names = as_anndata(problem)
    query = adata[problem.batch == 1].copy()
    place = np.searchsorted(np.flatnonzero(problem.batch == 1), problem.test)
    answers = []
    with scbignn.settings.override(progress=False):
        model = scbignn.tl.fit(adata[problem.batch == 0], "shown", config=config, rng=problem.seed)
        columns = [names.index(label) for label in model.labels]
        for mode in ("inductive", "transductive"):
            scbignn.tl.predict(query, model, mode=mode, rng=problem.seed)
            for network, slot in (("p", "scbignn_proba"), ("q", "scbignn_proba_q")):
                if network == "p" or mode == "inductive":
                    probability = np.zeros((len(problem.test), problem.n_labels))
                    probability[:, columns] = query.obsm[slot].to_numpy()[place]
                    answers.append(Answer(f"scBiGNN: {network}", mode, probability, probability))
    return answers


if __name__ == "__main__":
    main()
