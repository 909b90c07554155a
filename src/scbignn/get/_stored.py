"""Where a run of a tool, and its calibration, lie in `uns`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from anndata import AnnData

from .._keys import is_annotation, is_clustering


def stored(adata: AnnData, key: str) -> Mapping[str, Any]:
    """`adata.uns[key]` if it is a run of `tl.annotate`.

    Raises
    ------
    KeyError
        It is not.
    """
    run = adata.uns.get(key)
    if not is_annotation(run):
        msg = (
            f"adata.uns[{key!r}] holds no annotation. Run scbignn.tl.annotate(adata, labels_key=...) first, "
            "or pass the key_added of the run as key."
        )
        raise KeyError(msg)
    return run


def stored_calibration(adata: AnnData, key: str) -> Mapping[str, Any]:
    """`adata.uns[key]["calibration"]`.

    Raises
    ------
    KeyError
        `adata.uns[key]` is no run of `tl.annotate`, or one without calibration.
    """
    run = stored(adata, key)
    if "calibration" not in run:
        msg = (
            f"the run in adata.uns[{key!r}] holds no calibration. Run scbignn.tl.annotate(adata, labels_key=...) again "
            "with calibration, or pass the key_added of a calibrated run as key."
        )
        raise KeyError(msg)
    return run["calibration"]


def stored_clustering(adata: AnnData, key: str) -> Mapping[str, Any]:
    """`adata.uns[key]` if it is a run of `tl.cluster` or `tl.predict_clusters`.

    Raises
    ------
    KeyError
        It is not.
    """
    run = adata.uns.get(key)
    if not is_clustering(run):
        msg = (
            f"adata.uns[{key!r}] holds no clustering. Run scbignn.tl.cluster(adata) first, "
            "or pass the key_added of the run as key."
        )
        raise KeyError(msg)
    return run
