"""Where the calibration of a run lies in `uns`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from anndata import AnnData

from .._keys import annotation_run


def stored_calibration(adata: AnnData, key: str) -> Mapping[str, Any]:
    """`adata.uns[key]["calibration"]`.

    Raises
    ------
    KeyError
        `adata.uns[key]` is no run of `tl.annotate`, or one without calibration.
    """
    run = annotation_run(adata.uns, key)
    if "calibration" not in run:
        msg = (
            f"the run in adata.uns[{key!r}] holds no calibration. Run scbignn.tl.annotate(adata, labels_key=...) again "
            "with calibration, or pass the key_added of a calibrated run as key."
        )
        raise KeyError(msg)
    return run["calibration"]
