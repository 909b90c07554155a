"""Labels: which there are, which are doubtful, and how they meet those of a reference."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
from natsort import natsorted

from .._check import counted, some
from .._labels import says_no_label
from ._report import Finding


def label_findings(
    strings: pd.Series, key: str, unlabeled: object, reference_labels: Sequence[str] | None = None
) -> list[Finding]:
    """What a column of labels holds.

    Parameters
    ----------
    strings
        Labels, None where a cell has none, (N,).
    key
        Name of the column.
    unlabeled
        What the user writes where a cell has no label.
    reference_labels
        Labels of the reference, where there is one.
    """
    known = strings.dropna()
    counts = known.value_counts()
    n_unknown = len(strings) - len(known)
    column = f"adata.obs[{key!r}]"
    if counts.empty:
        text = f"no cell has a label in obs[{key!r}]: all are missing or {unlabeled!r}"
        return [Finding("labels", "problem", text, "" if reference_labels is None else "labels_key=None")]
    if len(counts) == 1:
        text = (
            f"{counts.index[0]!r} on {counted(len(known), 'cell')} and no label on {n_unknown:,}: nothing to tell apart"
        )
        return [Finding("labels", "problem", text)]
    if len(known) >= 10 and len(counts) > len(known) / 2:
        text = f"obs[{key!r}] has {len(counts):,} values on {len(known):,} cells: names or measurements, not labels"
        return [Finding("labels", "problem", text)]
    text = (
        f"{len(counts):,} labels in obs[{key!r}], on {counts.min():,} ({counts.index[-1]!r}) to {counts.max():,} cells "
        f"({counts.index[0]!r}); {f'none on {n_unknown:,}' if n_unknown else 'every cell has one'}"
    )
    found = [Finding("labels", "ok", text)]
    once = natsorted(counts.index[counts == 1])
    if once:
        found.append(Finding("rare labels", "note", f"{counted(len(once), 'label')} on one cell only: {some(once)}"))
    nameless = [name for name in counts.index if says_no_label(name)]
    if nameless:
        text = f"{counted(counts[nameless].sum(), 'cell')} with a label that says there is none: {some(nameless)}"
        mend = f"{column} = {column}.astype(object).replace({nameless!r}, {unlabeled!r})"
        found.append(Finding("no label", "note", text, mend))
    renamed = _spellings([name for name in counts.index if name not in nameless])
    if renamed:
        pairs = ", ".join(f"{old!r} and {new!r}" for old, new in list(renamed.items())[:3])
        text = f"{counted(len(renamed), 'label')} like another but for capitals or blanks: {pairs}"
        mend = f"{column} = {column}.astype(object).replace({renamed!r})"
        found.append(Finding("spelling", "note", text, mend))
    if reference_labels is not None:
        found += _against(counts.drop(nameless).index, [str(name) for name in reference_labels], column)
    return found


def _plain(name: str) -> str:
    """A label without what a slip of the hand changes."""
    return " ".join(name.replace("_", " ").split()).lower()


def _spellings(names: Sequence[str]) -> dict[str, str]:
    """Each name that is another one but for capitals and blanks, and that one; `names` come in order of preference."""
    first: dict[str, str] = {}
    return {name: first[_plain(name)] for name in names if first.setdefault(_plain(name), name) != name}


def _against(ours: Sequence[str], theirs: Sequence[str], column: str) -> list[Finding]:
    """Labels on one side only."""
    added, lacking = natsorted(set(ours) - set(theirs)), natsorted(set(theirs) - set(ours))
    shared = len(set(ours) & set(theirs))
    if not added and not lacking:
        return [Finding("reference labels", "ok", f"the same {shared:,} as the reference has")]
    text = f"{counted(shared, 'label')} on both sides"
    if added:
        text += f"; {len(added):,} in adata only ({some(added)})"
    if lacking:
        text += f"; {len(lacking):,} in the reference only ({some(lacking)})"
    by_spelling = {_plain(name): name for name in theirs}
    renamed = {name: by_spelling[_plain(name)] for name in added if _plain(name) in by_spelling}
    mend = ""
    if renamed:
        text += f". {len(renamed):,} of them the same but for capitals or blanks"
        mend = f"{column} = {column}.astype(object).replace({renamed!r})"
    return [Finding("reference labels", "note" if added or not shared else "ok", text, mend)]
