"""What clustering writes."""

from __future__ import annotations

import dataclasses
from copy import deepcopy
from importlib.metadata import version
from typing import Any

import numpy as np
import pandas as pd
from anndata import AnnData

from .._check import Expression, Labels
from .._genes import GeneMatch
from .._keys import ClusterKeys
from ..clustering import Assigned, Clustering, Model
from ._slots import Slot, gene_overlap_record

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
    model: Model,
    match: GeneMatch,
    expression: Expression,
    *,
    key_added: str,
) -> list[Slot]:
    """Everything that `tl.predict_clusters` writes; its docstring says what each slot holds."""
    about = {
        "expression": dataclasses.asdict(expression),
        "params": {"config": _without_none(model.config.to_dict())},
        "gene_overlap": gene_overlap_record(model.genes, match),
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
    model: Model,
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
