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
        Return only the first so many cells. Not used with `per_label`.
    per_label
        Return a row a label instead.

    Returns
    -------
    DataFrame
        With cell names as index and the columns `given` (object), the label as it now stands in `adata.obs`;
        `suggested` (categorical), the most probable other label; and `wrong` (float32), the probability that the label
        given at the audit is wrong. With `per_label` the index is the label, and the columns are `n_cells`, the cells
        audited; `expected_wrong`, how many of their labels are expected to be wrong; and `suggested_instead`, the label
        most suggested in their place, "" where no cell was audited; most expected wrong labels first.

    Raises
    ------
    KeyError
        `adata` holds no such audit, or the column of labels is gone.
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
    labels_key = found["labels_key"]
    if labels_key not in adata.obs:
        msg = f"adata.obs has no column {labels_key!r}, whose labels were audited. Put it back, or audit anew."
        raise KeyError(msg)
    table = pd.DataFrame(
        {
            "given": adata.obs[labels_key].astype(object),
            "suggested": adata.obs[keys.suggested],
            "wrong": adata.obs[keys.wrong],
        }
    )
    table = table[table["wrong"].notna()].sort_values("wrong", ascending=False, kind="stable")
    return table if n_cells is None else table.head(n_cells)
