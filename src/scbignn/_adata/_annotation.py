"""What annotation writes."""

from __future__ import annotations

import dataclasses
import logging
from copy import deepcopy
from importlib.metadata import version
from typing import Any, Literal, NamedTuple

import numpy as np
import pandas as pd
import scipy.sparse as sp
from anndata import AnnData

from .._check import Expression, Labels, one_column
from .._genes import GeneMatch
from .._keys import UNKNOWN, AnnotationKeys, column_names
from .._labels import UNKNOWN_COLOR, label_text, palette_texts
from ..annotation import (
    Annotation,
    Edges,
    Homophily,
    Importance,
    Model,
    Prediction,
    Thresholds,
    Trust,
    calibration_record,
    trust_of,
)
from ..graph import Neighbors, connectivities
from ._slots import Slot, gene_overlap_record

logger = logging.getLogger(__name__)

#: From so many times the asked share of rejected cells on, there is a reason.
_MANY = 4


def annotation_slots(
    adata: AnnData,
    found: Annotation,
    labels: Labels,
    expression: Expression,
    params: dict[str, Any],
    *,
    false_rejection_rate: float | Literal["auto"] | None,
    key_added: str,
) -> list[Slot]:
    """Everything that `tl.annotate` writes without a reference; its docstring says what each slot holds."""
    keys, fit = AnnotationKeys(key_added), found.fit
    genes = adata.var_names.to_numpy(dtype=object)[found.genes]
    trust, novelty = trust_of(found, of_its_own=True, seed=params["seed"])
    p = fit.p if trust is None else trust.calibration.apply(fit.p)
    prediction = Prediction(p, fit.q, fit.h, novelty)
    rejection = reject(prediction, trust, false_rejection_rate)
    about = {
        "labels": np.array(labels.names, dtype=object),
        "history": pd.DataFrame(fit.history),
        **_importance_tables(genes, found.importance),
        "gene_attention": _edge_table(genes, labels.names, found.edges),
        "homophily": _homophily_tables(found.homophily, labels.names),
        "expression": dataclasses.asdict(expression),
        "mode": "transductive",
        "version": version("scbignn"),
        **_trust_tables(trust, rejection, labels.names),
    }
    colors = label_colors(adata, params["labels_key"], labels.names)
    return [
        *_cell_slots(adata, keys, prediction, labels.names, rejection),
        *_graph_slots(keys, fit.neighbors),
        Slot("varp", keys.attention, _among_all_genes(found, adata.n_vars)),
        Slot("uns", keys.key, {**_neighbors_record(keys, fit.neighbors, params), **about}),
        Slot("uns", keys.colors, _with_unknown(colors, rejection)),
    ]


def prediction_slots(
    adata: AnnData,
    found: Prediction,
    neighbors: Neighbors | None,
    model: Model,
    match: GeneMatch,
    *,
    params: dict[str, Any],
    about: dict[str, Any],
    false_rejection_rate: float | Literal["auto"] | None,
    key_added: str,
) -> list[Slot]:
    """Everything that `tl.predict` writes; its docstring says what each slot holds. `neighbors` are the learned graph."""
    keys = AnnotationKeys(key_added)
    together = about["mode"] == "transductive"
    rejection = reject(found, model.trust, false_rejection_rate, together=together)
    record = {"params": params} if neighbors is None else _neighbors_record(keys, neighbors, params)
    about = {
        "labels": np.array(model.labels, dtype=object),
        "history": pd.DataFrame(model.history),
        **_importance_tables(model.genes[model.panel].astype(object), model.importance),
        "homophily": _homophily_tables(model.homophily, model.labels),
        "gene_overlap": gene_overlap_record(model.genes, match),
        "model": deepcopy(model.about),
        "version": version("scbignn"),
        **_trust_tables(model.trust, rejection, model.labels),
        **about,
    }
    return [
        *_cell_slots(adata, keys, found, model.labels, rejection),
        *_graph_slots(keys, neighbors),
        Slot("varp", keys.attention, None),
        Slot("uns", keys.key, {**record, **about}),
        Slot("uns", keys.colors, _with_unknown(model.colors, rejection)),
    ]


def check_rejects(trust: Trust | None) -> None:
    """Labelled cells have told which cells are strange.

    Raises
    ------
    ValueError
        They have not.
    """
    if trust is None:
        msg = (
            "no label has two labelled cells, one to score and one to score it by, so nothing can be rejected. Label more "
            "cells, or leave out reject and false_rejection_rate."
        )
        raise ValueError(msg)


class Rejection(NamedTuple):
    """Which cells are like no label, and how that was told."""

    cells: np.ndarray
    """(n,) bool."""
    thresholds: Thresholds


def reject(
    found: Prediction,
    trust: Trust | None,
    false_rejection_rate: float | Literal["auto"] | None,
    *,
    together: bool = False,
) -> Rejection | None:
    """The cells to call unknown so that at most this share of known ones is; None where none is to be.

    `together` says whether their scores are of cells moved by what they have in common.

    Raises
    ------
    ValueError
        No labelled cell was cross-fitted, or the run has no components, so nothing tells which cells are strange.
    """
    if false_rejection_rate is None:
        return None
    check_rejects(trust)
    thresholds = trust.thresholds(false_rejection_rate, together=together)
    rejection = Rejection(thresholds.reject(found.novelty, found.p.argmax(1)), thresholds)
    share, asked = rejection.cells.mean(), thresholds.false_rejection_rate
    logger.info(
        "%d of %d cells are called %s, %.0f %%, where %.0f %% of cells like the labelled ones may be%s",
        rejection.cells.sum(),
        len(rejection.cells),
        UNKNOWN,
        100 * share,
        100 * asked,
        ": many are of types without a label, or of another batch" if share > _MANY * asked else "",
    )
    return rejection


def _trust_tables(trust: Trust | None, rejection: Rejection | None, names: list[str]) -> dict[str, Any]:
    tables = {} if trust is None else {"calibration": calibration_record(trust.calibration)}
    if rejection is not None:
        thresholds = rejection.thresholds
        per_label = {"threshold": thresholds.values, "n_cells": thresholds.n_cells, "pooled": thresholds.pooled}
        tables["rejection"] = {
            "false_rejection_rate": thresholds.false_rejection_rate,
            "n_rejected": int(rejection.cells.sum()),
            "thresholds": pd.DataFrame(per_label, index=names),
        }
    return tables


def _with_unknown(colors: list[str] | None, rejection: Rejection | None) -> list[str] | None:
    if colors is None:
        return None
    return [*colors] if rejection is None else [*colors, UNKNOWN_COLOR]


def _cell_slots(
    adata: AnnData, keys: AnnotationKeys, found: Prediction, names: list[str], rejection: Rejection | None
) -> list[Slot]:
    p, q, columns = found.p, found.q, column_names(names)
    label, categories = p.argmax(1), names
    if rejection is not None:
        label, categories = np.where(rejection.cells, len(names), label), [*names, UNKNOWN]
    per_cell = {
        keys.key: pd.Categorical.from_codes(label, categories=categories),
        keys.confidence: p.max(1),
        keys.entropy: np.clip(_entropy(p) / np.float32(np.log2(p.shape[1])), 0, 1),
        keys.disagreement: _jensen_shannon(p, q),
        keys.novelty: found.novelty,
    }
    return [
        *(Slot("obs", name, values) for name, values in per_cell.items()),
        Slot("obsm", keys.embedding, found.h),
        Slot("obsm", keys.probabilities, pd.DataFrame(p, index=adata.obs_names, columns=columns)),
        Slot("obsm", keys.gene_level_probabilities, pd.DataFrame(q, index=adata.obs_names, columns=columns)),
    ]


def _graph_slots(keys: AnnotationKeys, neighbors: Neighbors | None) -> list[Slot]:
    none = neighbors is None
    return [
        Slot("obsp", keys.distances, None if none else neighbors.distance_matrix()),
        Slot("obsp", keys.connectivities, None if none else connectivities(neighbors)),
    ]


def _neighbors_record(keys: AnnotationKeys, neighbors: Neighbors, params: dict[str, Any]) -> dict[str, Any]:
    """What scanpy's functions look for in a neighbors slot; scanpy counts the cell itself as a neighbour."""
    return {
        "connectivities_key": keys.connectivities,
        "distances_key": keys.distances,
        "params": {
            "n_neighbors": neighbors.indices.shape[1] + 1,
            "method": "umap",
            "metric": "euclidean",
            "use_rep": keys.embedding,
            **({} if neighbors.recall is None else {"recall": neighbors.recall}),
            **params,
        },
    }


def _importance_tables(genes: np.ndarray, importance: Importance) -> dict[str, Any]:
    """Genes in the order of the attention they receive, whatever the table."""
    order = np.argsort(-importance.received, kind="stable")
    columns = {"score": importance.received, "attribution": importance.attribution}
    table = pd.DataFrame({name: column for name, column in columns.items() if column is not None}, index=genes)
    per_label = {"score": importance.received_per_label, "attribution": importance.attribution_per_label}
    per_label = {name: scores[order] for name, scores in per_label.items() if scores is not None}
    return {"gene_importance": table.iloc[order], "gene_importance_per_label": per_label}


def _edge_table(genes: np.ndarray, labels: list[str], edges: Edges) -> pd.DataFrame:
    table = pd.DataFrame(edges._asdict())
    table["label"] = pd.Categorical.from_codes(edges.label, categories=labels)
    return table.assign(source=genes[edges.source], target=genes[edges.target])


def _homophily_tables(homophily: Homophily, names: list[str]) -> dict[str, Any]:
    per_label = {"learned": homophily.learned_per_label, "raw": homophily.raw_per_label}
    return {
        "learned": homophily.learned,
        "raw": homophily.raw,
        "per_label": pd.DataFrame(per_label, index=names),
    }


def _among_all_genes(found: Annotation, n_vars: int) -> sp.csr_matrix:
    """The attention between the genes that entered, at their places among all genes."""
    attention = found.attention.tocoo()
    places = found.genes[attention.row], found.genes[attention.col]
    return sp.csr_matrix((attention.data, places), shape=(n_vars, n_vars))


def _entropy(p: np.ndarray) -> np.ndarray:
    """Entropy of each row in bits, float32."""
    return -np.sum(p * np.log2(np.maximum(p, np.finfo(p.dtype).tiny)), axis=1)


def _jensen_shannon(p: np.ndarray, q: np.ndarray) -> np.ndarray:
    """Jensen-Shannon divergence between rows in bits, float32, within [0, 1]."""
    return np.clip(_entropy((p + q) / 2) - (_entropy(p) + _entropy(q)) / 2, 0, 1)


def label_colors(adata: AnnData, labels_key: str, names: list[str]) -> list[str] | None:
    """The colours of `names` in the palette of `labels_key`; None where there is none or one is missing."""
    column = one_column(adata.obs, labels_key, "labels_key")
    if not hasattr(column, "cat"):
        return None
    palette = palette_texts(adata.uns.get(f"{labels_key}_colors"), len(column.cat.categories))
    if palette is None:
        return None
    color = {label_text(name): color for name, color in zip(column.cat.categories, palette, strict=True)}
    return [color[name] for name in names] if color.keys() >= set(names) else None
