"""Find hidden edges of known gene regulatory networks by scbignn and by rivals, on the same splits, in one run.

    python benchmarks/regulation.py --data DIR [--sets ...] [--splits edge target] [--seeds 0 1 2]
                                    [--inits 1] [--methods ours simple ...] [--threads 1] [--json OUT]
    python benchmarks/regulation.py --data DIR --genelink
    python benchmarks/regulation.py --read RUN.json [RUN.json ...] [--summary | --ablation]

DIR holds the BEELINE networks and expression. A quarter of the pairs is hidden, dealt as `scbignn.regulation.deal` does;
everything is chosen inside the rest. RegDiffusion lives in the environment of `set_up_rivals.py`. `--genelink` scores the
degree baseline on GENELink's own split files, as they are.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from itertools import product
from pathlib import Path
from types import MappingProxyType

import anndata
import numpy as np
import pandas as pd
import scipy.sparse as sp
import torch
from _gat import graph_attention
from _runs import commit, read
from _scores import interval, paired
from _tables import digits, markdown
from rivals import regdiffusion
from sklearn.ensemble import ExtraTreesRegressor
from sklearn.neural_network import MLPClassifier
from tqdm.auto import tqdm

from scbignn.regulation import (
    Config,
    Encoder,
    Genes,
    deal,
    describe_genes,
    draw_encoded,
    encode_genes,
    expression_encoder,
    fit_degree,
    fit_transformer,
    is_symmetric,
    link_scores,
    score_links,
    table_encoder,
    train_of,
)
from scbignn.regulation._config import POOLINGS
from scbignn.regulation._links import combine

#: Expression file and network folder.
SETS = {
    "hHep partial, specific": ("hHep_partial", "hHEP_tf500_specific"),
    "mDC, specific": ("mDC_tf500_genelink", "mDC_tf500_specific"),
    "mDC union, specific": ("mDC_union", "mDC_tf1000_specific"),
    "mDC, non-specific": ("mDC_tf500_genelink", "mDC_tf500_nonspecific"),
    "mDC, STRING": ("mDC_tf500_genelink", "mDC_tf500_string"),
}
GENELINK = ("hESC_tf500", "hESC_tf1000", "mESC_tf500", "mESC_tf1000")
N_FOLDS = 4
OURS = "scbignn"
DEGREE = "degree: TF rate + target rate"
GAT = "attention network on known edges (GENELink-like)"
REGDIFFUSION = "RegDiffusion"
PAPER = (
    ("paper", "GNN from nothing (Config.paper())", "sage"),
    ("paper-gcn", "GNN from nothing, GCN", "gcn"),
    ("paper-gat", "GNN from nothing, GAT", "gat"),
)
TRANSFORMER = "scbignn, encoder='transformer', pooling='{}'"
SUMMARY = ("auprc", "auroc", "tf_auroc")
FIGURES = ("auroc", "auprc", "auprc_ratio", "early_precision", "tf_auroc", "tf_auprc")
_MAX_NEGATIVES = 20_000
#: What can be run; without a choice all but the last four.
METHODS = (
    "ours",
    "simple",
    "mlp",
    "trees",
    "gat",
    "regdiffusion",
    "paper",
    "ablation",
    "transformer",
    "paper-gcn",
    "paper-gat",
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=Path("data/beeline"))
    parser.add_argument("--sets", nargs="+", default=list(SETS), choices=list(SETS))
    parser.add_argument("--splits", nargs="+", default=["edge", "target"], choices=["edge", "target", "tf", "both"])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument(
        "--inits", type=int, default=1, help="initialisations of every split; a split counts by their mean"
    )
    parser.add_argument("--methods", nargs="+", default=list(METHODS[:-4]), choices=list(METHODS))
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", type=Path, help="file to write all figures to, after every split")
    parser.add_argument("--genelink", action="store_true", help="the degree baseline on GENELink's own split files")
    parser.add_argument("--read", type=Path, nargs="+", help="print the tables of earlier runs, and run nothing")
    instead = parser.add_mutually_exclusive_group()
    instead.add_argument("--summary", action="store_true", help="with --read: all networks side by side, instead")
    instead.add_argument("--ablation", action="store_true", help="with --read: what the parts are worth, instead")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    if options.read:
        written = ablation_tables if options.ablation else summary_tables if options.summary else tables
        print(written(read(options.read)))
        return
    if options.genelink:
        print(genelink_table(options.data / "genelink_splits"))
        return
    rows = []
    for name in options.sets:
        x, known, tfs = load(options.data, *SETS[name])
        vectors = transformer_encoders(x) if "transformer" in options.methods else {}
        for split in options.splits:
            for seed, init in product(options.seeds, range(options.inits)):
                rows += run(name, split, seed, x, known, tfs, init=init, vectors=vectors, methods=options.methods)
                if options.json:
                    write(options.json, rows)
    print(tables(rows))
    print(ablation_tables(rows))


def load(data: Path, expression: str, network: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Expression (cells, genes), edges (TFs, genes), and the gene that each TF is."""
    adata = anndata.read_h5ad(data / "expression" / f"{expression}.h5ad")
    edges = pd.read_csv(data / "networks" / network / "network.csv.gz").rename(
        columns={"Gene1": "source", "Gene2": "target"}
    )
    genes = adata.var_names
    edges = edges[edges["source"].isin(genes) & edges["target"].isin(genes) & (edges["source"] != edges["target"])]
    names = pd.Index(sorted(edges["source"].unique()))
    known = np.zeros((len(names), len(genes)), dtype=bool)
    known[names.get_indexer(edges["source"]), genes.get_indexer(edges["target"])] = True
    return adata.X.toarray().astype(np.float64), known, genes.get_indexer(names)


def transformer_encoders(x: np.ndarray) -> dict[str, Encoder]:
    """Vectors of genes by a transformer that was trained on the cells, pooled in each way; it reads no edge."""
    x, config, cpu = sp.csr_matrix(x), Config(), torch.device("cpu")
    x = draw_encoded(x, config, np.random.default_rng(0))
    model, _ = fit_transformer(x, config, device=cpu, seed=0)

    def vectors(pooling: str) -> np.ndarray:
        return encode_genes(model, x, range(x.shape[1]), Config(pooling=pooling), device=cpu)

    return {pooling: table_encoder(vectors(pooling), config.n_components) for pooling in POOLINGS}


def without_expression(genes: Genes) -> Genes:
    """Genes of which nothing is known but their edges."""
    nothing = [np.zeros_like(part) for part in genes[:4]]
    return Genes(*nothing, tuple(sp.csr_matrix(part.shape) for part in genes.neighbors))


def run(
    name: str,
    split: str,
    seed: int,
    x: np.ndarray,
    known: np.ndarray,
    tfs: np.ndarray,
    *,
    init: int = 0,
    vectors: Mapping[str, Encoder] = MappingProxyType({}),
    methods: Sequence[str] = METHODS[:-4],
) -> list[dict[str, object]]:
    """A row a method; `seed` deals the pairs, `init` starts whatever is random besides."""
    symmetric = is_symmetric(known, tfs)
    fold = deal(known, tfs, split, N_FOLDS, np.random.default_rng(seed), symmetric=symmetric)
    number = 0
    shown = train_of(fold, number, tfs, split, N_FOLDS, symmetric=symmetric)
    asked = fold == number
    genes = describe_genes(x, tfs, expression_encoder(Config().n_components), rng=np.random.default_rng(seed))
    start_at = seed + 1000 * init
    common = {"symmetric": symmetric, "device": torch.device("cpu"), "engine": "torch", "seed": start_at}

    def links(config: Config, genes: Genes = genes):
        progress = tqdm(total=10**6, disable=True)
        return score_links(known, shown, tfs, genes, config, split, progress=progress, **common)

    learns = split in ("edge", "target")
    seconds: dict[str, float] = {}
    found = {DEGREE: fit_degree(known, shown).logits()}

    def timed(method: str, score: Callable[[], np.ndarray]) -> None:
        start = time.perf_counter()
        found[method] = score()
        seconds[method] = time.perf_counter() - start

    if "ours" in methods:
        start = time.perf_counter()
        ours = links(Config())
        seconds[OURS] = time.perf_counter() - start
        found |= {OURS: ours.logits, "linear, no expression": ours.network}
        if learns:
            found |= {f"member: {member}": values for member, values in ours.members.items()}
            for member in ours.members:
                others = {name: values for name, values in ours.members.items() if name != member}
                found[f"scbignn without {member}"] = combine(others, ours.tree_share)
    if learns and "ablation" in methods:
        timed("scbignn without the degree offset", lambda: links(Config(offset=False)).logits)
        timed("scbignn without expression", lambda: links(Config(), without_expression(genes)).logits)
    for pooling, encoder in vectors.items():
        of_vectors = describe_genes(x, tfs, encoder, rng=np.random.default_rng(seed))
        config = Config(pooling=pooling)
        timed(TRANSFORMER.format(pooling), lambda config=config, of=of_vectors: links(config, of).logits)
    if "simple" in methods:
        found["target rate"] = np.broadcast_to(fit_degree(known, shown, tf_penalty=1e6).gene, known.shape)
        found["Pearson, absolute"] = np.abs(genes.pearson)
    if learns and "trees" in methods:
        found["trees on TF expression (GRNBoost2-like)"] = tree_importance(name, x, tfs, init)
    if learns and "mlp" in methods:
        timed("MLP on expression alone", lambda: expression_mlp(known, shown, tfs, genes, start_at))
    if learns and "gat" in methods:
        timed(GAT, lambda: graph_attention(known, shown, x, tfs, start_at))
    if learns and "regdiffusion" in methods:
        found[REGDIFFUSION] = diffusion(name, x, tfs, init)
    for kind, method, layer in PAPER:
        if learns and kind in methods:
            timed(method, lambda layer=layer: links(Config.paper(layer=layer)).logits)
    rows = []
    for method, scores in found.items():
        figures = link_scores(known, scores, asked)
        rows.append(
            {"set": name, "split": split, "seed": seed, "init": init, "method": method}
            | {"seconds": seconds.get(method), **figures}
        )
    shown_rows = ", ".join(f"{row['method']} {row['auprc']:.3f}" for row in rows)
    print(name, split, seed, init, shown_rows, flush=True)
    return rows


def expression_mlp(known: np.ndarray, shown: np.ndarray, tfs: np.ndarray, genes, seed: int) -> np.ndarray:
    """A perceptron on the vectors of both genes and their correlation, without the network; early stopping inside."""
    tf, gene = np.nonzero(shown)
    y = known[tf, gene]
    rng = np.random.default_rng(seed)
    negatives = np.flatnonzero(~y)
    kept = np.r_[np.flatnonzero(y), rng.permutation(negatives)[:_MAX_NEGATIVES]]

    def pairs(tf: np.ndarray, gene: np.ndarray) -> np.ndarray:
        r = np.column_stack([genes.pearson[tf, gene], np.abs(genes.pearson[tf, gene]), genes.spearman[tf, gene]])
        about = np.column_stack([genes.statistics, genes.vectors])
        return np.column_stack([about[tfs[tf]], about[gene], 3 * r])

    model = MLPClassifier((64, 32), alpha=1e-3, early_stopping=True, n_iter_no_change=5, max_iter=40, random_state=seed)
    model.fit(pairs(tf[kept], gene[kept]), y[kept])
    everywhere = (axis.ravel() for axis in np.indices(known.shape))
    return model.predict_proba(pairs(*everywhere))[:, 1].reshape(known.shape)


_KEPT: dict[object, np.ndarray] = {}


def diffusion(name: str, x: np.ndarray, tfs: np.ndarray, init: int) -> np.ndarray:
    """The links of TFs by RegDiffusion: it reads no edge, so once an initialisation is enough for all networks."""
    expression, _ = SETS[name]
    if (expression, init) not in _KEPT:
        _KEPT[expression, init] = regdiffusion.links(x, init)
    return _KEPT[expression, init][tfs]


def tree_importance(name: str, x: np.ndarray, tfs: np.ndarray, init: int) -> np.ndarray:
    """How much trees that predict a gene from the TFs rest on each, once an initialisation: TFs are of one network."""
    if (name, init) not in _KEPT:
        scores = np.zeros((len(tfs), x.shape[1]))
        z = (x - x.mean(0)) / np.maximum(x.std(0), 1e-9)
        for gene in range(x.shape[1]):
            others = np.flatnonzero(tfs != gene)
            forest = ExtraTreesRegressor(40, max_features="sqrt", min_samples_leaf=3, random_state=init)
            scores[others, gene] = forest.fit(z[:, tfs[others]], z[:, gene]).feature_importances_
        _KEPT[name, init] = scores
    return _KEPT[name, init]


@cache
def genelink_pairs(folder: Path) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """GENELink's own files as they are: edges, and the pairs of each part, (TFs, genes) bool."""
    parts = {name: pd.read_csv(folder / f"{name}_set.csv.gz") for name in ("train", "validation", "test")}
    everything = pd.concat(parts.values())
    tfs = np.unique(everything["TF"])
    shape = len(tfs), int(everything["Target"].max()) + 1
    known, pairs = np.zeros(shape, dtype=bool), {name: np.zeros(shape, dtype=bool) for name in parts}
    for name, part in parts.items():
        place = np.searchsorted(tfs, part["TF"]), part["Target"].to_numpy()
        pairs[name][place] = True
        known[place] |= part["Label"].to_numpy() == 1
    return known, pairs


def genelink_table(folder: Path) -> str:
    head, body = ["GENELink's files", "test pairs", "edges", "AUROC", "AUPRC", "early precision"], []
    for name in GENELINK:
        known, pairs = genelink_pairs(folder / name)
        found = link_scores(known, fit_degree(known, pairs["train"]).logits(), pairs["test"])
        figures = (f"{found[figure]:.3f}" for figure in ("auroc", "auprc", "early_precision"))
        body.append([name, f"{found['n_pairs']:,}", f"{found['n_edges']:,}", *figures])
    return "\n".join(markdown(head, body))


def tables(rows: list[dict[str, object]]) -> str:
    """A table a split: pooled figures of every method in the mean over seeds, and the difference to degree."""
    lines = []
    for split in dict.fromkeys(row["split"] for row in rows):
        own = [row for row in rows if row["split"] == split]
        for name in dict.fromkeys(row["set"] for row in own):
            of_set = [row for row in own if row["set"] == name]
            seeds, inits = ({row.get(what, 0) for row in of_set} for what in ("seed", "init"))
            number = f"{len(seeds)} splits" + (f" x {len(inits)} initialisations" if len(inits) > 1 else "")
            title = f"**{name}; split by {split}** ({number})"
            head = [
                "method",
                "splits",
                "AUROC",
                "AUPRC",
                "± s.d.",
                "ratio",
                "early prec.",
                "AUROC per TF",
                "AUPRC per TF",
            ]
            head += ["AUPRC less degree", "95 % interval", "p"]
            body = []
            methods = list(dict.fromkeys(row["method"] for row in of_set if not is_variant(row["method"])))
            order = sorted(methods, key=lambda method: -np.mean(values(of_set, method, "auprc")))
            for method in order:
                mean = {figure: np.mean(values(of_set, method, figure)) for figure in FIGURES}
                auprc = values(of_set, method, "auprc")
                several = len(auprc) > 1
                n_inits = len({row.get("init", 0) for row in of_set if row["method"] == method})
                number = f"{len(auprc)} x {n_inits}" if n_inits > 1 else str(len(auprc))
                cells = [f"**{method}**" if method == OURS else method, number]
                cells += [f"{mean['auroc']:.3f}", f"{mean['auprc']:.3f}"]
                cells += [f"{np.std(auprc, ddof=1):.3f}" if several else ""]
                cells += [f"{mean['auprc_ratio']:.2f}", f"{mean['early_precision']:.3f}"]
                cells += [f"{mean['tf_auroc']:.3f}", f"{mean['tf_auprc']:.3f}"]
                both = auprc, values(of_set, DEGREE, "auprc", seeds_of(of_set, method))
                gain, p = paired(*both, 1 / (N_FOLDS - 1))
                low, high = interval(*both, 1 / (N_FOLDS - 1))
                cells += ["" if method == DEGREE else f"{gain:+.3f}"]
                cells += [f"{low:+.3f} to {high:+.3f}", f"{p:.2g}"] if several and method != DEGREE else ["", ""]
                body.append(cells)
            lines += ["", title, "", *markdown(head, body)]
    return "\n".join(lines).strip() + "\n"


def summary_tables(rows: list[dict[str, object]]) -> str:
    """A table a split: AUPRC / AUROC of each method that has seen all sets, and means over sets."""
    lines = []
    for split in dict.fromkeys(row["split"] for row in rows):
        own = [row for row in rows if row["split"] == split]
        sets = list(dict.fromkeys(row["set"] for row in own))
        found = {}
        for method in dict.fromkeys(row["method"] for row in own):
            of_method = [row for row in own if row["method"] == method]
            if is_part(method) or {row["set"] for row in of_method} != set(sets):
                continue
            of_sets = [[row for row in of_method if row["set"] == name] for name in sets]
            figures = [[values(of_set, method, figure).mean() for figure in SUMMARY] for of_set in of_sets]
            found[method] = np.array([*figures, np.mean(figures, axis=0)])
        head = ["method", *sets, "mean AUPRC", "mean AUROC", "mean AUROC per TF"]
        body = []
        for method in sorted(found, key=lambda method: -found[method][-1, 0]):
            cells = [f"**{method}**" if method == OURS else method]
            short = [[digits(figure, 3) for figure in of_set] for of_set in found[method]]
            cells += [f"{auprc} / {auroc}" for auprc, auroc, _ in short[:-1]]
            body.append([*cells, *short[-1]])
        lines += ["", f"**Split by {split}**: AUPRC / AUROC", "", *markdown(head, body)]
    return "\n".join(lines).strip() + "\n"


def is_part(method: str) -> bool:
    """Whether it is a part of scbignn, or scbignn with or without one, and not a method by itself."""
    return method.startswith("member: ") or is_variant(method)


def is_variant(method: str) -> bool:
    """Whether it is scbignn with or without something, and not a method by itself."""
    return method.startswith((f"{OURS} ", f"{OURS},"))


def ablation_tables(rows: list[dict[str, object]]) -> str:
    """A table a split: AUPRC of every variant less that of scbignn from the same start, and its 95 % interval."""
    lines = []
    for split in dict.fromkeys(row["split"] for row in rows if is_variant(row["method"])):
        own = [row for row in rows if row["split"] == split]
        variants = list(dict.fromkeys(row["method"] for row in own if is_variant(row["method"])))
        sets = list(dict.fromkeys(row["set"] for row in own if is_variant(row["method"])))
        body = []
        for variant in variants:
            cells = [variant.removeprefix(OURS).strip(" ,")]
            for name in sets:
                ours, theirs = (auprc_of([row for row in own if row["set"] == name], one) for one in (OURS, variant))
                both = [np.array([found[start] for start in sorted(theirs)]) for found in (theirs, ours)]
                low, high = interval(*both, 1 / (N_FOLDS - 1))
                mean = f"{np.mean(both[0] - both[1]):+.3f}" if theirs else ""
                cells.append(f"{mean} ({low:+.3f} to {high:+.3f})" if len(theirs) > 1 else mean)
            body.append(cells)
        lines += ["", f"**Split by {split}**", "", *markdown(["variant", *sets], body)]
    return "\n".join(lines).strip() + "\n"


def auprc_of(rows: list[dict[str, object]], method: str) -> dict[int, float]:
    """By split, from the first initialisation."""
    return {row["seed"]: row["auprc"] for row in rows if row["method"] == method and row.get("init", 0) == 0}


def seeds_of(rows: list[dict[str, object]], method: str) -> list[int]:
    """The splits that a method was run on."""
    return sorted({row["seed"] for row in rows if row["method"] == method})


def values(rows: list[dict[str, object]], method: str, figure: str, seeds: Sequence[int] | None = None) -> np.ndarray:
    """By split, in the mean over initialisations; a row that is there twice, from two runs, counts once."""
    found = {(row["seed"], row.get("init", 0)): row[figure] for row in rows if row["method"] == method}
    seeds = seeds_of(rows, method) if seeds is None else seeds
    return np.array([np.mean([value for (own, _), value in found.items() if own == seed]) for seed in seeds])


def write(file: Path, rows: list[dict[str, object]]) -> None:
    from importlib.metadata import version

    packages = ("scbignn", "torch", "numpy", "scipy", "scikit-learn")
    about = {"commit": commit(), "versions": {name: version(name) for name in packages}, "config": Config().to_dict()}
    about["seeds"] = sorted({row["seed"] for row in rows})
    lines = ",\n".join(json.dumps(row) for row in rows)
    file.write_text(f'{{"about": {json.dumps(about)},\n"rows": [\n{lines}\n]}}\n')


if __name__ == "__main__":
    main()
