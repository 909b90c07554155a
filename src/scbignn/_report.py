"""What was found in an annotated data set, as one HTML page that needs nothing beside it."""

from __future__ import annotations

import base64
import io
import logging
from collections.abc import Callable, Iterator
from html import escape
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import scanpy as sc
from anndata import AnnData
from matplotlib.axes import Axes
from sklearn.metrics import accuracy_score, f1_score

from . import get, pl, pp
from ._check import check_type, label_strings, one_column
from ._keys import UNKNOWN, AnnotationKeys, annotation_run
from .pl._style import plain

logger = logging.getLogger(__name__)

#: More cells are not laid out anew: the map that is there is taken, or none.
_MOST_ON_MAP = 100_000
_TOP_GENES = 8
_STYLE = """
:root { color-scheme: light; }
body { margin: 0 auto; max-width: 62rem; padding: 1rem; font: 16px/1.5 system-ui, sans-serif; color: #222; }
h1 { font-size: 1.6rem; margin: .5rem 0; } h2 { font-size: 1.2rem; margin: 2.2rem 0 .5rem; }
h2 { border-bottom: 1px solid #ddd; padding-bottom: .2rem; }
p { max-width: 46rem; } .note { color: #555; }
.wide { overflow-x: auto; } table { border-collapse: collapse; font-size: .9rem; }
th, td { padding: .2rem .6rem; border-bottom: 1px solid #eee; text-align: right; white-space: nowrap; }
th:first-child, td:first-child, .text td, .text th { text-align: left; } .text td { white-space: normal; }
thead th { border-bottom: 1px solid #999; }
tbody th { position: sticky; left: 0; background: #fff; }
.figures { display: flex; flex-wrap: wrap; gap: 1rem; align-items: flex-start; margin-top: .8rem; }
figure { margin: 0; } figure img { max-width: 100%; height: auto; }
.problem { color: #a33200; font-weight: 600; }
@media (max-width: 40rem) {
  tbody th { white-space: normal; min-width: 6.5rem; max-width: 9rem; }
  .text thead { display: none; } .text tr { display: block; padding: .3rem 0; border-bottom: 1px solid #eee; }
  .text th, .text td { display: block; max-width: none; padding: 0 .2rem; border: 0; }
}
"""


def report(
    adata: AnnData,
    path: str | Path,
    *,
    truth_key: str | None = None,
    batch_key: str | None = None,
    key: str = "scbignn",
    title: str = "Annotated cells",
) -> None:
    """Write what :func:`scbignn.tl.annotate` or :func:`scbignn.tl.predict` found to one HTML page, for a colleague.

    The page holds its pictures, needs no network, and runs no code: what was run on what, which labels were given and how
    sure they are, by sample too, the cells called Unknown, the map of the learned graph, the genes that labels rest on,
    agreement with the truth where there is one, and what :func:`scbignn.pp.inspect` says of the data.

    Parameters
    ----------
    adata
        Annotated data. It stays as it is.
    path
        The file to write; one that is there is replaced.
    truth_key
        Column of `adata.obs` with true labels, where they are known. Agreement is over cells that were not labelled in
        training, as far as that can be told.
    batch_key
        Column of `adata.obs` with samples, donors or batches.
    key
        The `key_added` of the run.
    title
        Headline of the page.

    Raises
    ------
    KeyError
        `adata` holds no such run, or no such column.
    TypeError
        `adata` is no AnnData.
    OSError
        The file cannot be written.
    ValueError
        There are several such columns.

    Examples
    --------
    >>> import scbignn
    >>> adata = scbignn.datasets.simulated(n_cells=120, n_genes=60)
    >>> scbignn.tl.annotate(adata, labels_key="cell_type", n_top_genes=40)
    >>> scbignn.report(adata, "report.html", truth_key="truth")
    """
    check_type(adata)
    run = annotation_run(adata.uns, key)
    columns = {
        name: None if column is None else one_column(adata.obs, column, name).astype(object)
        for name, column in (("truth_key", truth_key), ("batch_key", batch_key))
    }
    parts = [
        _what_was_run(adata, run),
        _labels(adata, key),
        *([] if columns["batch_key"] is None else [_by_batch(adata, columns["batch_key"], key)]),
        _confidence(adata, run, key),
        *_map(adata, key),
        *([] if columns["truth_key"] is None else [_agreement(adata, run, columns["truth_key"], key)]),
        _genes(adata, run, key),
        _graph(adata, key),
        _doctor(adata, run, batch_key),
    ]
    body = "\n".join(f"<h2>{escape(head)}</h2>\n{text}" for head, text in parts)
    page = (
        f'<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">\n<title>{escape(title)}</title>\n'
        f"<style>{_STYLE}</style>\n</head>\n<body>\n<h1>{escape(title)}</h1>\n{body}\n</body>\n</html>\n"
    )
    Path(path).write_text(page, encoding="utf-8")
    logger.info("report: wrote %s, %.1f MB", path, len(page.encode()) / 1e6)


# --- sections: a headline and its HTML ------------------------------------------------------------------------------


def _what_was_run(adata: AnnData, run: dict[str, Any]) -> tuple[str, str]:
    params, expression = run["params"], run["expression"]
    facts = {
        "cells x genes": f"{adata.n_obs:,} x {adata.n_vars:,}",
        "labels": len(run["labels"]),
        "method": f"scBiGNN, {run['mode']}, by scbignn {run['version']}, seed {params['seed']}",
        "expression": f"adata.{expression['slot']}, {expression['kind']}",
    }
    if "gene_overlap" in run:
        overlap = run["gene_overlap"]
        facts["genes of the reference found"] = f"{overlap['share']:.1%} of {overlap['n_genes']:,}"
    elif params["labels_key"] in adata.obs:
        labelled = label_strings(adata.obs[params["labels_key"]], params["unlabeled_category"]).notna().sum()
        facts["labelled beforehand"] = f"{labelled:,} cells, in obs[{params['labels_key']!r}]"
    if "rejection" in run:
        rejection = run["rejection"]
        facts["called Unknown"] = f"{rejection['n_rejected']:,} cells, at a rate of {rejection['false_rejection_rate']}"
    return "What was run", _table(pd.Series(facts, name="").to_frame(), header=False, kind="text")


def _labels(adata: AnnData, key: str) -> tuple[str, str]:
    table = get.annotation(adata, key=key)
    by_label = table.groupby("label", observed=True)["confidence"]
    found = pd.DataFrame({"cells": by_label.size(), "share": by_label.size() / len(table)})
    found["median confidence"] = by_label.median()
    found["below one half"] = table["confidence"].lt(0.5).groupby(table["label"], observed=True).mean()
    found = found.sort_values("cells", ascending=False)
    for column in ("share", "below one half"):
        found[column] = found[column].map("{:.1%}".format)
    found["median confidence"] = found["median confidence"].map("{:.2f}".format)
    found["cells"] = found["cells"].map("{:,}".format)
    return "Labels", _table(found)


def _by_batch(adata: AnnData, batches: pd.Series, key: str) -> tuple[str, str]:
    label = get.annotation(adata, key=key)["label"]
    shares = pd.crosstab(label, batches.fillna("(none)").astype(str).to_numpy(), normalize="columns")
    return "Labels by sample", _table(shares.map("{:.1%}".format))


def _confidence(adata: AnnData, run: dict[str, Any], key: str) -> tuple[str, str]:
    figures = _figure(lambda: pl.confidence(adata, groupby=key, key=key), "confidence of each label")
    words = "Confidence is the probability of the label. This run was not calibrated: do not take it at its word."
    if "calibration" in run:
        words = (
            "Confidence is the probability of the label, calibrated on labelled cells whose label was hidden. On cells of "
            "another batch than these it may be too high or too low."
        )
        figures += _figure(lambda: pl.reliability(adata, key=key), "confidence against accuracy, labelled cells")
        figures += _figure(lambda: pl.risk_coverage(adata, key=key), "errors if only confident cells are answered")
    return "How sure?", f'<p>{escape(words)}</p><div class="figures">{figures}</div>'


def _map(adata: AnnData, key: str) -> Iterator[tuple[str, str]]:
    """The learned graph laid out, or a map that is there; nothing where there is neither."""
    keys = AnnotationKeys(key)
    slots = {
        attribute: {name: getattr(adata, attribute)[name] for name in names if name in getattr(adata, attribute)}
        for attribute, names in keys.slots.items()
        if attribute != "varp"
    }
    slots["uns"][key] = dict(adata.uns[key])
    shown = AnnData(obs=pd.DataFrame(slots.pop("obs")), **slots).copy()  # UMAP sorts the graph in place
    if keys.connectivities in adata.obsp and adata.n_obs <= _MOST_ON_MAP:
        sc.tl.umap(shown, neighbors_key=key)
        words = "UMAP of the learned cell graph. Known labels took part in it, so it is no independent proof of them."
    elif "X_umap" in adata.obsm:
        shown.obsm["X_umap"] = np.asarray(adata.obsm["X_umap"])
        words = "The UMAP that the data came with."
    else:
        return
    figures = _figure(lambda: _on_map(shown, keys.key), "labels on the map")
    figures += _figure(lambda: pl.confidence(shown, basis="umap", key=key), "confidence on the map")
    yield "Map", f'<p>{escape(words)}</p><div class="figures">{figures}</div>'


def _on_map(shown: AnnData, column: str) -> Axes:
    """Cells in the colours of their labels, in random order so that none hides the others."""
    _, ax = plt.subplots(figsize=(5.2, 3.4), layout="constrained")
    places, colors = get.embedding(shown, "umap"), get.label_colors(shown, column)
    order = np.random.default_rng(0).permutation(len(places))
    of_cells = colors.to_numpy()[shown.obs[column].cat.codes.to_numpy()]
    size = np.clip(20_000 / len(places), 0.5, 20)
    ax.scatter(places["x"].iloc[order], places["y"].iloc[order], s=size, c=of_cells[order], linewidths=0)
    for name, color in colors.items():
        ax.scatter([], [], s=20, c=color, label=plain(name))
    ax.legend(frameon=False, fontsize=7, loc="center left", bbox_to_anchor=(1, 0.5))
    ax.set_axis_off()
    return ax


def _agreement(adata: AnnData, run: dict[str, Any], truth: pd.Series, key: str) -> tuple[str, str]:
    table, params = get.annotation(adata, key=key), run["params"]
    truth = label_strings(truth, params.get("unlabeled_category", UNKNOWN))
    known, words = truth.notna().to_numpy(), "cells with a known truth"
    if "gene_overlap" not in run and params["labels_key"] in adata.obs:
        hidden = label_strings(adata.obs[params["labels_key"]], params["unlabeled_category"]).isna().to_numpy()
        known, words = known & hidden, "cells with a known truth that were not labelled beforehand"
    if not known.any():
        return "Agreement with the truth", f"<p>There are no {words}.</p>"
    given, right = table["label"].astype(str)[known], truth[known]
    answered = (given != UNKNOWN).to_numpy()
    accuracy, f1 = accuracy_score(right, given), f1_score(right, given, average="macro", zero_division=0)
    words = f"Over {known.sum():,} {words}: accuracy {accuracy:.1%}, macro-F1 {f1:.3f}."
    if not answered.all() and answered.any():
        words += f" Of the {answered.mean():.1%} that got a label, {np.mean(given[answered] == right[answered]):.1%} are right."
    cells = AnnData(obs=pd.DataFrame({key: adata.obs[key], "truth": truth})[known], uns={key: dict(run)})
    figure = _figure(
        lambda: pl.confusion(cells, "truth", key=key), "given the row's true label, shares of labels given"
    )
    return "Agreement with the truth", f'<p>{escape(words)}</p><div class="figures">{figure}</div>'


def _genes(adata: AnnData, run: dict[str, Any], key: str) -> tuple[str, str]:
    words = "Genes whose expression adds most to the decision for a label (attribution)."
    by, rows = "attribution", {}
    if by not in run["gene_importance"]:
        by, words = "attention", "Genes that the network attended to most."
    for label in run["labels"] if "gene_importance_per_label" in run and run["gene_importance_per_label"] else []:
        table = get.gene_importance(adata, key=key, by=by, label=label, n_genes=_TOP_GENES)
        lacking = "no cell has this label" if by == "attribution" else "too few cells have this label"
        rows[label] = lacking if table["score"].isna().any() else ", ".join(table["gene"])
    text = _table(pd.Series(rows, name="genes").to_frame(), kind="text") if rows else ""
    figures = "".join(
        _figure(lambda by=by: pl.gene_importance(adata, key=key, by=by), f"most important genes, by {by}")
        for by in dict.fromkeys([by, "attention"])
    )
    return "Genes", f'<p>{escape(words)}</p>{text}<div class="figures">{figures}</div>'


def _graph(adata: AnnData, key: str) -> tuple[str, str]:
    words = (
        "Homophily is the share of edges of the cell graph that stay within a label, among labelled cells; raw is the "
        "graph of principal components."
    )
    figures = _figure(lambda: pl.homophily(adata, key=key), "homophily")
    figures += _figure(lambda: pl.history(adata, key=key), "training")
    return "Graph and training", f'<p>{escape(words)}</p><div class="figures">{figures}</div>'


def _doctor(adata: AnnData, run: dict[str, Any], batch_key: str | None) -> tuple[str, str]:
    params, slot = run["params"], run["expression"]["slot"]
    layer = None if slot == "X" else slot.removeprefix("layers['").removesuffix("']")
    labels_key = params.get("labels_key")
    found = pp.inspect(
        adata,
        labels_key=labels_key if labels_key in adata.obs else None,
        batch_key=batch_key,
        layer=layer if layer in adata.layers else None,
    )
    table = found.to_frame()
    table = table[table["level"] != "ok"].drop(columns="level").set_index("what")
    words = "Nothing to mend." if table.empty else "What a look at the data finds doubtful:"
    return "The data", f"<p>{words}</p>" + ("" if table.empty else _table(table, kind="text"))


# --- HTML -----------------------------------------------------------------------------------------------------------


def _table(table: pd.DataFrame, *, header: bool = True, kind: str = "") -> str:
    text = table.rename_axis(None).rename_axis(None, axis=1).to_html(header=header, border=0, classes=kind or None)
    return f'<div class="wide">{text}</div>'


def _figure(draw: Callable[[], Axes], words: str) -> str:
    """The picture itself, and what it says for those who cannot see it."""
    figure, file = draw().figure, io.BytesIO()
    figure.savefig(file, dpi=150, format="png")
    plt.close(figure)
    data = base64.b64encode(file.getvalue()).decode("ascii")
    width = round(figure.get_figwidth() * 96)
    return f'<figure><img src="data:image/png;base64,{data}" width="{width}" alt="{escape(words)}"></figure>'
