"""What the regulatory network writes."""

from __future__ import annotations

import dataclasses
from importlib.metadata import version
from typing import Any

import numpy as np
import pandas as pd
import scipy.sparse as sp
from anndata import AnnData

from .._check import Expression
from .._keys import GrnKeys, group_keys, is_grn
from ..regulation import FIGURES, SCORERS, Network, Regulation
from ._slots import Slot


def grn_index_slots(key_added: str, groupby: str, keys: list[str], about: list[tuple[str, int, str]]) -> list[Slot]:
    """What `tl.infer_grn` writes under its own key where each group has a run."""
    groups = pd.DataFrame(about, columns=["group", "n_cells", "verdict"], index=keys)
    record = {"groupby": groupby, "groups": groups, "metrics": {}, "verdict": "by group, see groups"}
    return [Slot("uns", key_added, record | {"version": version("scbignn")})]


def stale_grn_slots(adata: AnnData, key_added: str, keys: list[str]) -> list[Slot]:
    """Removes what an earlier run left of groups, or of all cells, that this one does not write."""
    earlier = [key_added, *group_keys(adata.uns, key_added)]
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
