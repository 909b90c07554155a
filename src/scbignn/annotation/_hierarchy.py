"""Back-off to a coarser label: a tree of labels, and the deepest label that is sure enough."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pandas as pd

#: Sums of float32 probabilities may miss a threshold by so much.
_ROUNDING = 1e-6


@dataclass(frozen=True)
class LabelTree:
    """Labels and the coarser label that each belongs to.

    Build one with :func:`label_tree`, or with :func:`label_tree_from_columns`.
    """

    parents: dict[str, str | None]
    """Label to coarser label; None for a label at the top. Every coarser label is a key too."""

    def path(self, label: str) -> list[str]:
        """The labels from the top down to `label`."""
        path = [label]
        while self.parents[path[-1]] is not None:
            path.append(self.parents[path[-1]])
        return path[::-1]

    def to_dict(self) -> dict[str, list[str | None]]:
        """Ready for JSON; names are values, not keys, so that they may hold a "/"."""
        return {"label": list(self.parents), "parent": list(self.parents.values())}

    @classmethod
    def from_dict(cls, stored: Mapping[str, Sequence[str | None]]) -> LabelTree:
        """The inverse of :meth:`to_dict`, checked anew."""
        return _checked(zip(stored["label"], stored["parent"], strict=True))


class BackOff(NamedTuple):
    """What N cells are labelled when they may be labelled less finely."""

    label: np.ndarray
    """(N,) object: a label of the tree, or the name for unknown cells."""
    probability: np.ndarray
    """(N,) float32, of that label; where no label was sure enough, of the most probable one at the top."""
    depth: np.ndarray
    """(N,) int64: 1 at the top of the tree; 0 where no label was sure enough."""


def label_tree(tree: Mapping[str, object]) -> LabelTree:
    """Read a tree of labels from a dict.

    Parameters
    ----------
    tree
        Either flat, a label to its coarser label: ``{"CD4 T": "T", "CD8 T": "T", "T": None}``; labels that are only
        ever values stand at the top, as None says of a key. Or nested, a label to the finer ones below it:
        ``{"T": {"CD4 T": ["naive", "memory"], "CD8 T": None}, "B": None}``.

    Raises
    ------
    TypeError
        Something else is found in it.
    ValueError
        A label has two coarser labels, or lies below itself.
    """
    if not isinstance(tree, Mapping) or not tree:
        msg = f'the tree of labels is {tree!r}. Pass a dict of finer to coarser label, such as {{"CD4 T": "T"}}.'
        raise TypeError(msg)
    flat = all(below is None or isinstance(below, str) for below in tree.values())
    return _checked(tree.items() if flat else _nested(tree, None))


def label_tree_from_columns(columns: Sequence[Sequence[object]]) -> LabelTree:
    """Read a tree of labels from two or more label columns of the same cells, the coarsest first.

    Cells without a label in a column (None or NaN) say nothing about that level: the label of the next finer column
    then belongs to that of the last coarser one. A name that two levels share, such as "B" where B cells are not
    divided further, is one label.

    Parameters
    ----------
    columns
        Each of shape (N,).

    Raises
    ------
    ValueError
        There are fewer than two columns, or they differ in length; a finer label occurs with two coarser labels; or
        a label lies below itself.
    """
    values = [np.asarray(column, dtype=object) for column in columns]
    if len(values) < 2 or len({len(column) for column in values}) != 1:
        lengths = ", ".join(str(len(column)) for column in values) or "none"
        msg = f"a tree needs two or more columns of the same cells, coarsest first; found columns of lengths {lengths}."
        raise ValueError(msg)
    above = np.full(len(values[0]), None, dtype=object)
    pairs: list[pd.DataFrame] = []
    for column in values:
        known = ~pd.isna(column)
        fine = np.array([str(label) for label in column[known]], dtype=object)
        pairs.append(pd.DataFrame({"label": fine, "parent": above[known]}))
        above[known] = fine
    counts = pd.concat(pairs).value_counts(["label", "parent"], sort=False, dropna=False).reset_index()
    parents = counts["parent"].astype(object)
    counts["parent"] = parents.where(parents.notna(), None)
    counts = counts[counts["label"] != counts["parent"]]
    # A label at the top in some cells and below another in others: the latter says where it belongs.
    placed = set(counts.loc[counts["parent"].notna(), "label"])
    counts = counts[counts["parent"].notna() | ~counts["label"].isin(placed)]
    seen: dict[str, tuple[str, int]] = {}
    for label, parent, count in counts.itertuples(index=False):
        if label in seen:
            (first, n_first), (second, n_second) = sorted([seen[label], (parent, count)], key=lambda pair: -pair[1])
            msg = (
                f"label {label!r} belongs to {first!r} in {n_first} cells and to {second!r} in {n_second}. "
                "Each label must belong to one coarser label: correct those cells, or give the label two names."
            )
            raise ValueError(msg)
        seen[label] = parent, count
    return _checked((label, parent) for label, (parent, _) in seen.items())


def back_off(
    p: np.ndarray, names: Sequence[str], tree: LabelTree, threshold: float, *, unknown: str = "Unknown"
) -> BackOff:
    """Give each cell the finest label that is probable enough.

    A label's probability is the sum over itself and all labels below it. From the top, go down to the most probable
    label of each level, and stop before the first that is less probable than `threshold`. Down rather than up: with a
    threshold above 1/2 labels that pass it lie on one path, so that this finds the deepest of them. Going up from the
    most probable leaf misses a coarse label whose probability is spread over many leaves: with A1 at 0.4 and B1 and
    B2 at 0.3 each, B is the answer at 0.5.

    Parameters
    ----------
    p
        Calibrated probabilities, shape (N, C).
    names
        Labels of the columns of `p`, at any depth of the tree. One that has finer labels below it means: this, and
        none of those.
    tree
        Names that are not in `names`, nor above any of them, are never answered.
    threshold
        Within (0, 1].
    unknown
        The label where not even one at the top is probable enough.

    Raises
    ------
    ValueError
        A name is not in the tree or `unknown` is, `p` has another number of columns, or `threshold` is not within
        (0, 1].
    """
    names = list(names)
    if not 0 < threshold <= 1:
        msg = f"threshold={threshold!r} must be within (0, 1]. Use for example threshold=0.8."
        raise ValueError(msg)
    missing = [name for name in names if name not in tree.parents]
    if missing:
        msg = (
            f"{len(missing)} labels are not in the tree ({', '.join(repr(name) for name in missing[:5])}); it has: "
            f"{', '.join(repr(name) for name in list(tree.parents)[:20])}. "
            f"Add each with its coarser label, or with None if it stands at the top: tree[{missing[0]!r}] = None."
        )
        raise ValueError(msg)
    if unknown in tree.parents:
        msg = f"the tree has a label {unknown!r}, which is to mean that no label fits. Pass another name as unknown."
        raise ValueError(msg)
    if p.ndim != 2 or p.shape[1] != len(names):
        msg = f"p has shape {p.shape} but there are {len(names)} labels. Pass one column of p for each label."
        raise ValueError(msg)
    nodes = list(dict.fromkeys(node for name in names for node in tree.path(name)))
    place = {node: number for number, node in enumerate(nodes)}
    member = np.zeros((len(names), len(nodes)))
    for row, name in enumerate(names):
        member[row, [place[node] for node in tree.path(name)]] = 1
    total = p.astype(np.float64) @ member  # (N, nodes)
    level = np.array([len(tree.path(node)) for node in nodes])
    parent = np.array([-1 if tree.parents[node] is None else place[tree.parents[node]] for node in nodes])

    at = np.full(len(p), -1)  # the top, above all labels
    probability = total[:, parent == -1].max(axis=1)
    for depth in range(1, level.max() + 1):
        candidates = np.flatnonzero(level == depth)
        below = np.where(parent[candidates] == at[:, None], total[:, candidates], -np.inf)
        best = below.argmax(1)
        value = below[np.arange(len(p)), best]
        moved = value >= threshold - _ROUNDING
        at[moved], probability[moved] = candidates[best[moved]], value[moved]
    label = np.array([*nodes, unknown], dtype=object)[at]
    return BackOff(label, probability.astype(np.float32), np.array([*level, 0])[at])


def _nested(tree: Mapping[str, object], parent: str | None) -> Iterator[tuple[str, str | None]]:
    for label, below in tree.items():
        yield label, parent
        if isinstance(below, Mapping):
            yield from _nested(below, label)
        elif isinstance(below, (list, tuple, set, frozenset)):
            yield from ((finer, label) for finer in below)
        elif below is not None:
            msg = (
                f"below {label!r} the tree holds {below!r}, of type {type(below).__name__}. "
                "In a nested tree write a dict or a list of finer labels, or None."
            )
            raise TypeError(msg)


def _checked(pairs: Iterable[tuple[str, str | None]]) -> LabelTree:
    """A tree from pairs of label and coarser label, in which every label is a key and no label lies below itself."""
    parents: dict[str, str | None] = {}
    for label, parent in pairs:
        for name in (label, parent):
            if name is not None and (not isinstance(name, str) or not name):
                msg = f"the tree holds {name!r}, which is not a label. Labels are non-empty strings."
                raise TypeError(msg)
        if label in parents and parents[label] != parent:
            msg = (
                f"label {label!r} stands below both {parents[label]!r} and {parent!r} in the tree. "
                "Leave one of them, or give the label two names."
            )
            raise ValueError(msg)
        parents[label] = parent
    for parent in [parent for parent in parents.values() if parent is not None]:
        parents.setdefault(parent, None)
    for label in parents:
        above, path = parents[label], [label]
        while above is not None and above not in path:
            path.append(above)
            above = parents[above]
        if above is not None:
            circle = " -> ".join(repr(name) for name in [*path[path.index(above) :], above])
            msg = f"the tree runs in a circle: {circle}. Remove one of these steps."
            raise ValueError(msg)
    return LabelTree(parents)
