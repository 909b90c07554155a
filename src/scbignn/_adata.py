"""AnnData to arrays and results to slots: the only writer of slots."""

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
from natsort import natsorted

from ._check import (
    Expression,
    Labels,
    check_expression,
    check_values,
    form_of,
    pick_column,
    pick_matrix,
    recorded_log1p,
    sample_rows,
    some,
    take_rows,
    tell_expression,
    undo_log1p,
)
from ._expression import normalize
from ._genes import GeneMatch
from ._keys import UNKNOWN, AnnotationKeys, ClusterKeys, GrnKeys, column_names, is_grn
from .annotation import (
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
from .clustering import Assigned, Clustering
from .clustering import Model as ClusterModel
from .graph import Neighbors, connectivities
from .regulation import FIGURES, SCORERS, Network, Regulation

logger = logging.getLogger(__name__)

#: A group of fewer cells gets no network of its own.
_MIN_GROUP = 20
#: Grey, for cells that are like no label.
_UNKNOWN_COLOR = "#bbbbbb"


def read_expression(adata: AnnData, layer: str | None) -> tuple[sp.csr_matrix | ExpressionRows, Expression]:
    """Expression on a linear scale, and what it was found to be.

    In memory dense, CSR and CSC matrices of any numeric type give the same: canonical CSR float32, shape
    (n_obs, n_vars), without stored zeros, in memory of its own. What lies in a file or with Dask stays there, and is
    read a few rows at a time.
    """
    matrix, slot = pick_matrix(adata, layer, in_memory=False)
    if form_of(matrix) == "rows":
        rows = ExpressionRows(adata, layer)
        return rows, rows.expression
    x = take_rows(matrix, slice(None))
    expression = check_expression(x, adata, slot)
    return undo_log1p(x, expression), expression


def read_log_expression(adata: AnnData, layer: str | None) -> tuple[sp.csr_matrix, Expression]:
    """Expression on a log scale, and what it was found to be: for methods that need no counts.

    Counts and other linear values become log(1 + 10,000 x / total of the cell); log-transformed values stay as they are,
    also where nothing tells how they were made: their base is then `"unknown"`.
    """
    matrix, slot = pick_matrix(adata, layer)
    x = take_rows(matrix, slice(None))
    check_values(x, adata, slot)
    expression = tell_expression(x[sample_rows(x.shape[0])], slot, recorded_log1p(adata, slot))
    if expression is None:
        return x, Expression(slot, "log1p", "unknown")
    return x if expression.kind == "log1p" else normalize(x, 1e4), expression


class ExpressionRows:
    """Expression on a linear scale, read a few rows at a time from memory, from a backed file or from Dask.

    What the matrix holds is told from a sample of its rows; every row is checked when it is read.

    Parameters
    ----------
    adata
        Cells x genes.
    layer
        Layer to use instead of X.
    """

    def __init__(self, adata: AnnData, layer: str | None) -> None:
        self._adata, self.shape = adata, adata.shape
        #: As it lies in `adata`.
        self.matrix, self._slot = pick_matrix(adata, layer, in_memory=False)
        rows = sample_rows(adata.n_obs)
        #: What the matrix was found to hold.
        self.expression = check_expression(take_rows(self.matrix, rows), _Rows.of(adata, rows), self._slot)

    def __getitem__(self, rows: np.ndarray | slice) -> sp.csr_matrix:
        """CSR float32, canonical, in memory of its own."""
        x = take_rows(self.matrix, rows)
        check_values(x, _Rows.of(self._adata, rows), self._slot)
        return undo_log1p(x, self.expression)


class _Rows(NamedTuple):
    """What checks need of an AnnData, for some of its rows: a slice of a backed one would read its matrix."""

    obs_names: pd.Index
    var_names: pd.Index
    raw: Any
    uns: Any

    @classmethod
    def of(cls, adata: AnnData, rows: np.ndarray | slice) -> _Rows:
        return cls(adata.obs_names[rows], adata.var_names, adata.raw, adata.uns)


def in_columns(x: sp.csr_matrix, positions: np.ndarray) -> sp.csr_matrix:
    """The columns at `positions` of x, (n, m) -> (n, len(positions)); one of zeros where a position is -1."""
    found = np.flatnonzero(positions >= 0)
    place = sp.csr_matrix(
        (np.ones(len(found), dtype=x.dtype), (positions[found], found)), shape=(x.shape[1], len(positions))
    )
    picked = sp.csr_matrix(x @ place)
    picked.sort_indices()  # sums then round alike, in whatever order the columns came
    return picked


class Slot(NamedTuple):
    """One value and where it goes: ``adata.<attribute>[name] = value``. None removes what an earlier run left there."""

    attribute: str
    name: str
    value: Any

    def __str__(self) -> str:
        return f"{self.attribute}[{self.name!r}]"


def write_slots(adata: AnnData, slots: list[Slot]) -> None:
    """Write all slots or none: after an error or an interrupt every slot is as it was before."""
    before = []
    try:
        for attribute, name, value in slots:
            mapping = getattr(adata, attribute)
            before.append((attribute, name, name in mapping, mapping.get(name)))
            if value is not None:
                mapping[name] = value
            elif name in mapping:
                del mapping[name]
    except BaseException:
        for attribute, name, existed, value in reversed(before):
            mapping = getattr(adata, attribute)
            if existed:
                mapping[name] = value
            elif name in mapping:
                del mapping[name]
        raise


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
    missing = model.genes[match.positions < 0]
    record = {"params": params} if neighbors is None else _neighbors_record(keys, neighbors, params)
    about = {
        "labels": np.array(model.labels, dtype=object),
        "history": pd.DataFrame(model.history),
        **_importance_tables(model.genes[model.panel].astype(object), model.importance),
        "homophily": _homophily_tables(model.homophily, model.labels),
        "gene_overlap": {
            "share": match.share,
            "n_genes": len(model.genes),
            "n_missing": len(missing),
            "missing": missing.astype(object),
        },
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
    if trust is None:
        msg = (
            "no label has two labelled cells, one to score and one to score it by, so nothing can be rejected. Label more "
            "cells, or leave out reject and false_rejection_rate."
        )
        raise ValueError(msg)
    thresholds = trust.thresholds(false_rejection_rate, together=together)
    return Rejection(thresholds.reject(found.novelty, found.p.argmax(1)), thresholds)


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
    return [*colors] if rejection is None else [*colors, _UNKNOWN_COLOR]


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
        keys.entropy: _entropy(p) / np.float32(np.log2(p.shape[1])),
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
    palette = adata.uns.get(f"{labels_key}_colors")
    column = adata.obs[labels_key]
    if palette is None or not hasattr(column, "cat") or len(palette) != len(column.cat.categories):
        return None
    color = {str(name): str(color) for name, color in zip(column.cat.categories, palette, strict=True)}
    return [color[name] for name in names] if color.keys() >= set(names) else None


#: Genes that are named for each anchor and cluster.
_NEAREST_GENES = 5


def clustering_slots(
    adata: AnnData,
    found: Clustering,
    expression: Expression,
    params: dict[str, Any],
    *,
    labels: Labels | None,
    key_added: str,
) -> list[Slot]:
    """Everything that `tl.cluster` writes; its docstring says what each slot holds."""
    about = {
        "expression": dataclasses.asdict(expression),
        "params": params,
        "history": pd.DataFrame(found.history),
        "version": version("scbignn"),
    }
    if found.evidence is not None:
        about["n_clusters_evidence"] = found.evidence
    table = {"n_cells": np.bincount(found.labels, minlength=found.model.n_clusters)}
    if found.stability is not None:
        table["stability"] = found.stability
    if labels is not None:
        # All cells of a label are in one cluster.
        _, first = np.unique(labels.codes[labels.codes >= 0], return_index=True)
        names = np.full(found.model.n_clusters, "", dtype=object)
        names[found.labels[np.flatnonzero(labels.codes >= 0)[first]]] = labels.names
        table["label"] = names
    return _cluster_slots(adata, found.assigned, found.model, table, about, key_added)


def predicted_cluster_slots(
    adata: AnnData,
    found: Assigned,
    model: ClusterModel,
    match: GeneMatch,
    expression: Expression,
    *,
    key_added: str,
) -> list[Slot]:
    """Everything that `tl.predict_clusters` writes; its docstring says what each slot holds."""
    missing = model.genes[match.positions < 0]
    about = {
        "expression": dataclasses.asdict(expression),
        "params": {"config": _without_none(model.config.to_dict())},
        "gene_overlap": {
            "share": match.share,
            "n_genes": len(model.genes),
            "n_missing": len(missing),
            "missing": missing.astype(object),
        },
        "model": deepcopy(model.about),
        "version": version("scbignn"),
    }
    n_cells = np.bincount(found.memberships.argmax(1), minlength=model.n_clusters)
    return _cluster_slots(adata, found, model, {"n_cells": n_cells}, about, key_added)


def _without_none(record: dict[str, Any]) -> dict[str, Any]:
    """Files know no None: what has none is left out."""
    return {name: value for name, value in record.items() if value is not None}


def _cluster_slots(
    adata: AnnData,
    found: Assigned,
    model: ClusterModel,
    table: dict[str, np.ndarray],
    about: dict[str, Any],
    key_added: str,
) -> list[Slot]:
    keys, p = ClusterKeys(key_added), found.memberships
    names = [str(number) for number in range(model.n_clusters)]
    labels = p.argmax(1)
    size = np.maximum(table["n_cells"], 1)
    confidence = np.bincount(labels, weights=p.max(1), minlength=len(names)) / size
    scores, landmarks = model.scores, model.landmarks
    vectors = landmarks.anchors.reshape(-1, landmarks.anchors.shape[2])
    # What an anchor expresses more than the mean, as far as components tell.
    rise = vectors @ scores.loadings.T
    top = np.argsort(-rise, axis=1, kind="stable")[:, :_NEAREST_GENES]
    anchors = {
        "vectors": vectors,
        "usage": np.asarray(found.graph.sum(0, dtype=np.float64)).ravel() / adata.n_obs,
        "memberships": landmarks.shares,
        "genes": model.genes[scores.panel][top].astype(object),
        "n_sets": len(landmarks.anchors) // landmarks.n_batches,
    }
    per_cluster = pd.DataFrame({"n_cells": table.pop("n_cells"), "confidence": confidence, **table}, index=names)
    return [
        Slot("obs", keys.key, pd.Categorical.from_codes(labels, categories=names)),
        Slot("obs", keys.confidence, p.max(1)),
        Slot("obsm", keys.embedding, found.embedding),
        Slot("obsm", keys.memberships, pd.DataFrame(p, index=adata.obs_names, columns=names)),
        Slot("obsm", keys.anchors, found.graph),
        Slot("obsm", keys.attention, found.attention),
        Slot("uns", keys.key, {**about, "clusters": per_cluster, "anchors": anchors}),
    ]


class Group(NamedTuple):
    """Cells that belong together."""

    name: str
    cells: np.ndarray
    """Their places."""


def read_groups(adata: AnnData, groupby: str | None) -> list[Group]:
    """The cells of each group that is large enough, or all of them where there is no column.

    Groups are in the order of their categories, else in natural order. Cells without a group belong to none.

    Raises
    ------
    KeyError
        There is no such column.
    ValueError
        No group is large enough.
    """
    if groupby is None:
        return [Group("", np.arange(adata.n_obs))]
    column = pick_column(adata.obs, groupby, "groupby")
    if isinstance(column, pd.DataFrame):
        msg = f"adata.obs has {column.shape[1]} columns named {groupby!r}. Rename all but one."
        raise ValueError(msg)
    names = column.astype("str").to_numpy()
    there = column.notna().to_numpy()
    ordered = (
        [str(name) for name in column.cat.categories]
        if isinstance(column.dtype, pd.CategoricalDtype)
        else natsorted(set(names[there]))
    )
    found = [Group(name, np.flatnonzero(there & (names == name))) for name in ordered]
    small = [group.name for group in found if 0 < len(group.cells) < _MIN_GROUP]
    found = [group for group in found if len(group.cells) >= _MIN_GROUP]
    if not found:
        msg = (
            f"adata.obs[{groupby!r}] has no group of at least {_MIN_GROUP} cells. Name a coarser column with groupby=, or "
            "leave it out."
        )
        raise ValueError(msg)
    if small:
        logger.info("groups of fewer than %d cells are left out (%s)", _MIN_GROUP, some(small))
    return found


def grn_index_slots(key_added: str, groupby: str, keys: list[str], about: list[tuple[str, int, str]]) -> list[Slot]:
    """What `tl.infer_grn` writes under its own key where each group has a run."""
    groups = pd.DataFrame(about, columns=["group", "n_cells", "verdict"], index=keys)
    record = {"groupby": groupby, "groups": groups, "metrics": {}, "verdict": "by group, see groups"}
    return [Slot("uns", key_added, record | {"version": version("scbignn")})]


def stale_grn_slots(adata: AnnData, key_added: str, keys: list[str]) -> list[Slot]:
    """Removes what an earlier run left of groups, or of all cells, that this one does not write."""
    run = adata.uns.get(key_added)
    earlier = [key_added, *(run["groups"].index if is_grn(run) and "groups" in run else ())]
    names = [GrnKeys(key).slots.items() for key in earlier if key not in keys and is_grn(adata.uns.get(key))]
    return [Slot(attribute, name, None) for items in names for attribute, own in items for name in own]


def grn_slots(
    found: Regulation,
    network: Network,
    expression: Expression,
    params: dict[str, Any],
    *,
    n_edges: int,
    n_vars: int,
    key_added: str,
) -> list[Slot]:
    """Everything that `tl.infer_grn` writes; its docstring says what each slot holds."""
    keys = GrnKeys(key_added)
    first = np.argsort(-found.scores, axis=None, kind="stable")[:n_edges]
    first = first[found.scores.ravel()[first] > 0]

    def among_all(values: np.ndarray | None, pairs: np.ndarray) -> sp.csr_matrix | None:
        if values is None:
            return None
        tf, gene = np.unravel_index(pairs, values.shape)
        return sp.csr_matrix(
            (values.ravel()[pairs].astype(np.float32), (network.tfs[tf], gene)), shape=(n_vars, n_vars)
        )

    prefixes = dict(zip(SCORERS, ("", "baseline_", "network_", "ridge_"), strict=True))
    metrics = {prefixes[name] + figure: found.metrics[name][figure] for name in SCORERS for figure in FIGURES}
    metrics |= {name: found.metrics["model"][name] for name in ("n_edges", "n_pairs")}
    metrics |= {"auprc_gain": found.gain.mean, "auprc_gain_p": found.gain.p}
    metrics |= {"expression_gain": found.expression_gain.mean, "expression_gain_p": found.expression_gain.p}
    record = {
        "params": params,
        "metrics": metrics,
        "verdict": found.verdict,
        "curves": pd.DataFrame(found.curves),
        "roc": pd.DataFrame(found.roc),
        "history": pd.DataFrame(found.history),
        "network": network.report,
        "symmetric": found.symmetric,
        "expression": dataclasses.asdict(expression),
        "version": version("scbignn"),
    }
    return [
        Slot("varp", keys.key, among_all(found.scores, first)),
        Slot("varp", keys.known, among_all(network.known.astype(np.float32), np.flatnonzero(network.known))),
        Slot("varp", keys.deviation, among_all(found.deviation, first)),
        Slot("varp", keys.frequency, among_all(found.frequency, first)),
        Slot("uns", keys.key, record),
    ]
