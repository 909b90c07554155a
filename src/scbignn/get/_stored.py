"""Where a run of a tool lies in `uns`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from anndata import AnnData


def stored(adata: AnnData, key: str) -> Mapping[str, Any]:
    """`adata.uns[key]` if it is a run of `tl.annotate`.

    Raises
    ------
    KeyError
        It is not.
    """
    run = adata.uns.get(key)
    if not isinstance(run, Mapping) or "gene_importance" not in run:
        msg = (
            f"adata.uns[{key!r}] holds no annotation. Run scbignn.tl.annotate(adata, labels_key=...) first, "
            "or pass the key_added of the run as key."
        )
        raise KeyError(msg)
    return run
