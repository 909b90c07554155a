"""`get.audit`."""

from __future__ import annotations

import pandas as pd
from anndata import AnnData

from .._keys import AuditKeys, is_audit


def audit(
    adata: AnnData, *, key: str = "scbignn_audit", n_cells: int | None = None, per_label: bool = False
) -> pd.DataFrame:
    """Labelled cells, the most suspicious first, as found by :func:`scbignn.tl.audit_labels`.

    Parameters
    ----------
    adata
        Annotated data.
    key
        The `key_added` of the audit.
    n_cells
        Return only so many.
    per_label
        Return a row a label instead.

    Returns
    -------
    DataFrame
        With cell names as index and the columns `given` (object) and `suggested` (categorical), the labels, and
        `wrong` (float32), the probability that the given one is wrong. With `per_label` the index is the label, and the
        columns are `n_cells`, `expected_wrong` and `suggested_instead`, most expected wrong labels first.

    Raises
    ------
    KeyError
        `adata` holds no such audit.
    """
    keys, found = AuditKeys(key), adata.uns.get(key)
    if not is_audit(found):
        msg = (
            f"adata.uns[{key!r}] holds no audit. Run scbignn.tl.audit_labels(adata, labels_key=...) first, or pass "
            "the key_added of the audit as key."
        )
        raise KeyError(msg)
    if per_label:
        return found["per_label"].sort_values("expected_wrong", ascending=False, kind="stable")
    table = pd.DataFrame(
        {
            "given": adata.obs[found["labels_key"]].astype(object),
            "suggested": adata.obs[keys.suggested],
            "wrong": adata.obs[keys.wrong],
        }
    )
    table = table[table["wrong"].notna()].sort_values("wrong", ascending=False, kind="stable")
    return table if n_cells is None else table.head(n_cells)
