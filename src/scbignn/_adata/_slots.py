"""Slots of an AnnData, written all or none, and what more than one wing writes in them."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from anndata import AnnData

from .._check import in_memory
from .._genes import GeneMatch


class Slot(NamedTuple):
    """One value and where it goes: ``adata.<attribute>[name] = value``. None removes what an earlier run left there."""

    attribute: str
    name: str
    value: Any

    def __str__(self) -> str:
        return f"{self.attribute}[{self.name!r}]"


def write_slots(adata: AnnData, slots: list[Slot]) -> None:
    """Write all slots or none: after an error or an interrupt every slot is as it was before.

    What `anndata.experimental.read_lazy` left on disk of obs and var is read into memory.
    """
    before, tables = [], {name: getattr(adata, name) for name in ("obs", "var")}
    lazy = {name: table for name, table in tables.items() if not isinstance(table, pd.DataFrame)}
    try:
        for attribute, table in lazy.items():
            setattr(adata, attribute, in_memory(table))
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
        for attribute, table in lazy.items():
            setattr(adata, attribute, table)
        raise


def gene_overlap_record(genes: np.ndarray, match: GeneMatch) -> dict[str, Any]:
    """What is written of the genes of a model, (M,) names, that a query has and lacks."""
    missing = genes[match.positions < 0]
    return {
        "share": match.share,
        "n_genes": len(genes),
        "n_missing": len(missing),
        "missing": missing.astype(object),
    }
