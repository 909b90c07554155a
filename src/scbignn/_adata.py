"""AnnData to arrays and results to slots: the only writer of slots."""

from __future__ import annotations

import dataclasses
from importlib.metadata import version
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import scipy.sparse as sp
from anndata import AnnData

from ._check import Expression, Labels, check_expression, pick_matrix, undo_log1p
from ._keys import AnnotationKeys, column_names
from .annotation import Annotation
from .graph import connectivities


def read_expression(adata: AnnData, layer: str | None) -> tuple[sp.csr_matrix, Expression]:
    """Expression on a linear scale, and what it was found to be.

    Dense, CSR and CSC matrices of any numeric type give the same: canonical CSR float32, shape (n_obs, n_vars),
    without stored zeros, in memory of its own.
    """
    matrix, slot = pick_matrix(adata, layer)
    x = sp.csr_matrix(matrix, dtype=np.float32, copy=True)
    x.sum_duplicates()
    x.eliminate_zeros()
    expression = check_expression(x, adata, slot)
    return undo_log1p(x, expression), expression


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
            if value is None:
                mapping.pop(name, None)
            else:
                mapping[name] = value
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
    key_added: str,
) -> list[Slot]:
    """Everything that `tl.annotate` writes; its docstring says what each slot holds."""
    keys = AnnotationKeys(key_added)
    p, q, neighbors = found.fit.p, found.fit.q, found.fit.neighbors
    per_cell = {
        keys.key: pd.Categorical.from_codes(p.argmax(1), categories=labels.names),
        keys.confidence: p.max(1),
        keys.entropy: _entropy(p) / np.float32(np.log2(p.shape[1])),
        keys.disagreement: _jensen_shannon(p, q),
    }
    columns = column_names(labels.names)
    importance = pd.DataFrame({"score": found.importance}, index=adata.var_names[found.genes])
    homophily = found.homophily
    about = {
        # What scanpy's functions look for in a neighbors slot; scanpy counts the cell itself as a neighbour.
        "connectivities_key": keys.connectivities,
        "distances_key": keys.distances,
        "params": {
            "n_neighbors": neighbors.indices.shape[1] + 1,
            "method": "umap",
            "metric": "euclidean",
            "use_rep": keys.embedding,
            **params,
        },
        "labels": np.array(labels.names, dtype=object),
        "history": pd.DataFrame(found.fit.history),
        "gene_importance": importance.sort_values("score", ascending=False, kind="stable"),
        "homophily": {
            "learned": homophily.learned,
            "raw": homophily.raw,
            "per_label": pd.DataFrame(
                {"learned": homophily.learned_per_label, "raw": homophily.raw_per_label}, index=labels.names
            ),
        },
        "expression": dataclasses.asdict(expression),
        "mode": "transductive",
        "version": version("scbignn"),
    }
    colors = _copied_colors(adata, params["labels_key"], labels.names)
    return [
        *(Slot("obs", name, values) for name, values in per_cell.items()),
        Slot("obsm", keys.embedding, found.fit.h),
        Slot("obsm", keys.probabilities, pd.DataFrame(p, index=adata.obs_names, columns=columns)),
        Slot("obsm", keys.gene_level_probabilities, pd.DataFrame(q, index=adata.obs_names, columns=columns)),
        Slot("obsp", keys.distances, neighbors.distance_matrix()),
        Slot("obsp", keys.connectivities, connectivities(neighbors)),
        Slot("varp", keys.attention, _among_all_genes(found, adata.n_vars)),
        Slot("uns", keys.key, about),
        Slot("uns", keys.colors, colors),
    ]


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


def _copied_colors(adata: AnnData, labels_key: str, names: list[str]) -> list[str] | None:
    """The colours of `names` in the palette of `labels_key`; None where there is none or one is missing."""
    palette = adata.uns.get(f"{labels_key}_colors")
    column = adata.obs[labels_key]
    if palette is None or not hasattr(column, "cat") or len(palette) != len(column.cat.categories):
        return None
    color = {str(name): str(color) for name, color in zip(column.cat.categories, palette, strict=True)}
    return [color[name] for name in names] if color.keys() >= set(names) else None
