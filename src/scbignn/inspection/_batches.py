"""Batches: how large, and whether labels can be told from them."""

from __future__ import annotations

import pandas as pd
from natsort import natsorted

from .._check import counted, some
from ._report import Finding


def batch_findings(batches: pd.Series, key: str, labels: pd.Series | None) -> list[Finding]:
    """What a column of batches holds.

    Parameters
    ----------
    batches
        Batch of each cell as a string, None where it has none, (N,).
    key
        Name of the column.
    labels
        Label of each cell, None where it has none; None where there are no labels.
    """
    counts = batches.value_counts()
    n_missing = int(batches.isna().sum())
    if counts.empty:
        return [Finding("batches", "problem", f"obs[{key!r}] has no value")]
    if len(batches) >= 10 and len(counts) > len(batches) / 2:
        text = f"obs[{key!r}] has {len(counts):,} values on {len(batches):,} cells: names or measurements, not batches"
        return [Finding("batches", "problem", text)]
    if len(counts) == 1:
        text = f"one batch in obs[{key!r}], {counts.index[0]!r}"
    else:
        text = (
            f"{len(counts):,} batches in obs[{key!r}], of {counts.min():,} ({counts.index[-1]!r}) to "
            f"{counts.max():,} cells ({counts.index[0]!r})"
        )
    found = [Finding("batches", "ok", text)]
    if n_missing:
        column = f"adata.obs[{key!r}]"
        mend = f"{column} = {column}.astype(object).fillna('missing')"
        found.append(Finding("no batch", "problem", f"{counted(n_missing, 'cell')} without a batch", mend))
    lone = natsorted(counts.index[counts == 1])
    if lone and len(counts) > 1:
        found.append(Finding("small batches", "note", f"{len(lone):,} of one cell only: {some(lone)}"))
    if labels is not None and len(counts) > 1 and labels.nunique() > 1:
        n_labels = labels.groupby(batches.to_numpy()).nunique()
        single = natsorted(n_labels.index[n_labels == 1])
        if single:
            text = (
                f"{len(single):,} of {len(counts):,} batches with one label only ({some(single)}): what differs there "
                "may be the batch and not the label"
            )
            found.append(Finding("confounded", "note", text))
    return found
