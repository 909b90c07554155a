"""Where a run of `tl.infer_grn` lies in `uns`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from anndata import AnnData

from .._keys import is_grn


def stored_grn(adata: AnnData, key: str) -> Mapping[str, Any]:
    """`adata.uns[key]` if it is a run of `tl.infer_grn`.

    Raises
    ------
    KeyError
        It is not, or it is of groups.
    """
    run = adata.uns.get(key)
    if not is_grn(run):
        msg = (
            f"adata.uns[{key!r}] holds no regulatory network. Run scbignn.tl.infer_grn(adata, network) first, "
            "or pass the key_added of the run as key."
        )
        raise KeyError(msg)
    if "groups" in run:
        keys = ", ".join(f"{own!r} ({group})" for own, group in run["groups"]["group"].items())
        msg = f"adata.uns[{key!r}] holds networks of groups. Pass the key of one: {keys}."
        raise KeyError(msg)
    return run
