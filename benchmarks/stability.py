"""How far the important genes of one run are those of another: over folds, and over seeds.

    python benchmarks/stability.py --data DIR [--over folds seeds paper] [--threads 1] [--json OUT]

Folds: five folds of `baron_mouse` lose their labels in turn (`tl.cross_validate`), with one seed. Seeds: fold 0 of a set
loses its labels, with three seeds. Paper: as folds, with `Config.paper()`, whose panel of genes knows no labels. Means over
pairs of runs, columns as in `get.importance_stability`: if lists of genes differ because the panels do that they are
drawn from, those of genes that entered both runs agree.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import anndata
import numpy as np
import pandas as pd
import torch
from _problem import folds, load
from _runs import write
from _tables import markdown

import scbignn
from scbignn.annotation import Config, annotate_cells

SETS = ("baron_mouse", "pbmc3k")
SEEDS = (0, 1, 2)
OVER = ("folds", "seeds", "paper")
CPU = torch.device("cpu")
#: Calibration changes no figure here.
DEFAULT = Config(cross_fit_folds=0)
SHOWN = ("panel", "spearman", "overlap", "overlap_of_both", "by_chance")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=Path("data"), help="folder of the h5ad files")
    parser.add_argument("--over", nargs="+", default=OVER, choices=OVER)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", type=Path, help="file to write all figures to")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    scbignn.settings.progress = False
    rows = []
    if "seeds" in options.over:
        for name in SETS:
            rows += of("seeds", name, by_seed(name, options.data))
    for over, config in (("folds", DEFAULT), ("paper", Config.paper())):
        if over in options.over:
            rows += of(over, "baron_mouse", by_fold(options.data, config))
    print(table(rows))
    if options.json:
        write(options.json, rows, [], config=DEFAULT.to_dict(), seeds=list(SEEDS), threads=options.threads)


def by_seed(name: str, folder: Path) -> dict[str, pd.DataFrame]:
    """Scores, genes x seeds, of either measure, where the labels of fold 0 are hidden."""
    counts, y, _ = load(name, folder)
    shown = np.where(folds(name) == 0, -1, y)
    scores = {"attention": {}, "attribution": {}}
    for seed in SEEDS:
        found = annotate_cells(counts, shown, int(y.max()) + 1, DEFAULT, device=CPU, engine="torch", seed=seed)
        for by, values in (("attention", found.importance.received), ("attribution", found.importance.attribution)):
            scores[by][f"seed {seed}"] = pd.Series(values, index=found.genes)
    return {by: pd.DataFrame(runs) for by, runs in scores.items()}


def by_fold(folder: Path, config: Config) -> dict[str, pd.DataFrame]:
    """Scores, genes x folds, of either measure."""
    mouse = anndata.read_h5ad(folder / "baron_mouse.h5ad")
    scbignn.tl.cross_validate(mouse, "cell_type", config=config)
    return {
        "attention": scbignn.get.cross_validation(mouse, table="gene_importance"),
        "attribution": scbignn.get.cross_validation(mouse, table="gene_attribution"),
    }


def of(over: str, name: str, scores: dict[str, pd.DataFrame]) -> list[dict[str, object]]:
    """A row a measure: means over pairs of runs, and how many of the first 50 genes of each are in how many lists."""
    rows = []
    for by, runs in scores.items():
        means = scbignn.get.importance_stability(runs).mean(numeric_only=True).to_dict()
        lists = scbignn.get.top_genes(runs, n_top=50)
        counts = pd.Series(np.concatenate(list(lists.values()))).value_counts()
        row = {"over": over, "set": name, "by": by, "runs": runs.shape[1], **means}
        row["in_all_panels"] = int(runs.notna().all(axis=1).sum())
        row["genes"], row["in_more_than_one"] = len(counts), int((counts > 1).sum())
        rows.append({**row, "in_all": int((counts == runs.shape[1]).sum())})
        print(rows[-1], flush=True)
    return rows


def table(rows: list[dict[str, object]]) -> str:
    """A line a row, shares to two digits."""
    head = ["set, over", "measure", "genes in both panels", "Spearman"]
    head += ["overlap of 50", "of genes in both", "by chance"]
    body = []
    for row in rows:
        what = {"seeds": "seeds", "folds": "folds", "paper": "folds, `Config.paper()`"}[row["over"]]
        where = f"{row['set']}, {row['runs']} {what}"
        body.append([where, row["by"], *(f"{row[column]:.2f}" for column in SHOWN)])
    return "\n".join(markdown(head, body))


if __name__ == "__main__":
    main()
