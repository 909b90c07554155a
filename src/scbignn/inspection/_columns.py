"""Which columns of obs could hold labels or batches."""

from __future__ import annotations

import re

import pandas as pd

_NAMES = {
    "labels": r"cell[_. ]?(type|label|class|subclass|line|ontology|identity)|annot|label|cluster|leiden|louvain|"
    r"subtype|subclass|subpop|population",
    "batches": r"(^|[_. ])(batch|sample|donor|patient|individual|subject|animal|replicate|library|lane|chip|plate|run|"
    r"channel|tech|technology|assay|experiment|dataset|study|orig|stim|condition|treatment)(es|s)?($|[_. ]|id)",
}


def columns_like(obs: pd.DataFrame, role: str) -> dict[str, int]:
    """Columns whose name and values suggest a role, and how many values each has.

    Parameters
    ----------
    obs
        A row a cell.
    role
        "labels" or "batches".
    """
    found = {}
    for name in obs.columns[~obs.columns.duplicated(keep=False)]:
        if re.search(_NAMES[role], str(name), flags=re.IGNORECASE) and not pd.api.types.is_float_dtype(obs[name]):
            n_values = obs[name].nunique()
            if 2 <= n_values <= len(obs) / 2:
                found[str(name)] = n_values
    return found
