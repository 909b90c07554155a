"""The name of every AnnData slot, derived from one `key_added`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

#: The label of a cell that is like no label.
UNKNOWN = "Unknown"


def column_names(labels: list[str]) -> list[str]:
    """Labels as names of DataFrame columns that files can hold.

    "/" becomes "|", and "|" is appended where a name is reserved ("", ".", "..", "_index") or would clash.
    """
    names: list[str] = []
    for label in labels:
        name = f"{label}|" if label in {"", ".", "..", "_index"} else label.replace("/", "|")
        while name in names or (name != label and name in labels):
            name += "|"
        names.append(name)
    return names


def is_annotation(run: object) -> bool:
    """Whether an entry of `uns` was written by `tl.annotate` or `tl.predict`."""
    return isinstance(run, Mapping) and "gene_importance" in run and not is_cross_validation(run)


def annotation_run(uns: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    """`uns[key]` if it is a run of `tl.annotate` or `tl.predict`.

    Raises
    ------
    KeyError
        It is not.
    """
    run = uns.get(key)
    if not is_annotation(run):
        msg = (
            f"adata.uns[{key!r}] holds no annotation. Run scbignn.tl.annotate(adata, labels_key=...) first, "
            "or pass the key_added of the run as key."
        )
        raise KeyError(msg)
    return run


def is_audit(run: object) -> bool:
    """Whether an entry of `uns` was written by `tl.audit_labels`."""
    return isinstance(run, Mapping) and "noise_rate" in run


def is_cross_validation(run: object) -> bool:
    """Whether an entry of `uns` was written by `tl.cross_validate`."""
    return isinstance(run, Mapping) and "folds" in run and "rounds" in run


def is_back_off(run: object) -> bool:
    """Whether an entry of `uns` was written by `tl.back_off`."""
    return isinstance(run, Mapping) and "threshold" in run and "tree" in run


def is_clustering(run: object) -> bool:
    """Whether an entry of `uns` was written by `tl.cluster` or `tl.predict_clusters`."""
    return isinstance(run, Mapping) and "anchors" in run


def clustering_run(uns: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    """`uns[key]` if it is a run of `tl.cluster` or `tl.predict_clusters`.

    Raises
    ------
    KeyError
        It is not.
    """
    run = uns.get(key)
    if not is_clustering(run):
        msg = (
            f"adata.uns[{key!r}] holds no clustering. Run scbignn.tl.cluster(adata) first, "
            "or pass the key_added of the run as key."
        )
        raise KeyError(msg)
    return run


def is_grn(run: object) -> bool:
    """Whether an entry of `uns` was written by `tl.infer_grn`."""
    return isinstance(run, Mapping) and "verdict" in run and "metrics" in run


def group_keys(uns: Mapping[str, Any], key: str) -> list[str]:
    """The keys of the groups that a run of `tl.infer_grn` has, if it has groups."""
    run = uns.get(key)
    return list(run["groups"].index) if is_grn(run) and "groups" in run else []


@dataclass(frozen=True)
class AnnotationKeys:
    """Slots of `tl.annotate`."""

    key: str
    """obs: label; uns: everything that is not per cell or gene pair."""

    @property
    def slots(self) -> dict[str, list[str]]:
        """The names below each attribute of the AnnData."""
        return {
            "obs": [self.key, self.confidence, self.entropy, self.disagreement, self.novelty],
            "obsm": [self.embedding, self.probabilities, self.gene_level_probabilities],
            "obsp": [self.connectivities, self.distances],
            "varp": [self.attention],
            "uns": [self.key, self.colors],
        }

    @property
    def colors(self) -> str:
        """uns: a colour for each category of the label."""
        return f"{self.key}_colors"

    @property
    def confidence(self) -> str:
        """obs: probability of the label."""
        return f"{self.key}_confidence"

    @property
    def entropy(self) -> str:
        """obs: normalised entropy of the probabilities."""
        return f"{self.key}_entropy"

    @property
    def disagreement(self) -> str:
        """obs: Jensen-Shannon divergence between q and p."""
        return f"{self.key}_disagreement"

    @property
    def novelty(self) -> str:
        """obs: how unlike every label the cell is."""
        return f"{self.key}_novelty"

    @property
    def embedding(self) -> str:
        """obsm: h."""
        return f"X_{self.key}"

    @property
    def probabilities(self) -> str:
        """obsm: p, cells x labels."""
        return f"{self.key}_proba"

    @property
    def gene_level_probabilities(self) -> str:
        """obsm: q, cells x labels."""
        return f"{self.key}_proba_q"

    @property
    def connectivities(self) -> str:
        """obsp: symmetric weights of the learned graph."""
        return f"{self.key}_connectivities"

    @property
    def distances(self) -> str:
        """obsp: the learned graph itself."""
        return f"{self.key}_distances"

    @property
    def attention(self) -> str:
        """varp: mean gene-gene attention."""
        return f"{self.key}_attention"


@dataclass(frozen=True)
class AuditKeys:
    """Slots of `tl.audit_labels`."""

    key: str
    """uns: everything that is not per cell."""

    @property
    def slots(self) -> dict[str, list[str]]:
        """The names below each attribute of the AnnData."""
        return {"obs": [self.wrong, self.suggested], "uns": [self.key]}

    @property
    def wrong(self) -> str:
        """obs: probability that the label is wrong."""
        return f"{self.key}_wrong"

    @property
    def suggested(self) -> str:
        """obs: the most probable other label."""
        return f"{self.key}_suggested"


@dataclass(frozen=True)
class CrossValidationKeys:
    """Slots of `tl.cross_validate`."""

    key: str
    """obs: label by a run that did not know it; uns: everything that is not per cell."""

    @property
    def slots(self) -> dict[str, list[str]]:
        """The names below each attribute of the AnnData."""
        return {"obs": [self.key, self.confidence, self.fold], "uns": [self.key, self.colors]}

    @property
    def confidence(self) -> str:
        """obs: probability of the label."""
        return f"{self.key}_confidence"

    @property
    def fold(self) -> str:
        """obs: the fold that a cell was held out in."""
        return f"{self.key}_fold"

    @property
    def colors(self) -> str:
        """uns: a colour for each category of the label."""
        return f"{self.key}_colors"


@dataclass(frozen=True)
class BackOffKeys:
    """Slots of `tl.back_off`."""

    key: str
    """obs: label of any level; uns: tree and threshold."""

    @property
    def slots(self) -> dict[str, list[str]]:
        """The names below each attribute of the AnnData."""
        return {"obs": [self.key, self.confidence], "uns": [self.key]}

    @property
    def confidence(self) -> str:
        """obs: probability of the label."""
        return f"{self.key}_confidence"


@dataclass(frozen=True)
class ClusterKeys:
    """Slots of `tl.cluster` and `tl.predict_clusters`."""

    key: str
    """obs: cluster; uns: everything that is not per cell."""

    @property
    def slots(self) -> dict[str, list[str]]:
        """The names below each attribute of the AnnData."""
        return {
            "obs": [self.key, self.confidence],
            "obsm": [self.embedding, self.memberships, self.anchors, self.attention],
            "uns": [self.key],
        }

    @property
    def confidence(self) -> str:
        """obs: membership of the cluster."""
        return f"{self.key}_confidence"

    @property
    def embedding(self) -> str:
        """obsm: the space that was clustered."""
        return f"X_{self.key}"

    @property
    def memberships(self) -> str:
        """obsm: cells x clusters."""
        return f"{self.key}_proba"

    @property
    def anchors(self) -> str:
        """obsm: weights of cells to anchors."""
        return f"{self.key}_anchors"

    @property
    def attention(self) -> str:
        """obsm: attention of cells to a network's tokens."""
        return f"{self.key}_attention"


@dataclass(frozen=True)
class GrnKeys:
    """Slots of `tl.infer_grn`."""

    key: str
    """varp: scores of TF and target; uns: everything that is not per pair."""

    @property
    def slots(self) -> dict[str, list[str]]:
        """The names below each attribute of the AnnData."""
        return {"varp": [self.key, self.known, self.deviation, self.frequency], "uns": [self.key]}

    @property
    def known(self) -> str:
        """varp: the known edges."""
        return f"{self.key}_known"

    @property
    def deviation(self) -> str:
        """varp: standard deviation of the score over repeats."""
        return f"{self.key}_sd"

    @property
    def frequency(self) -> str:
        """varp: share of repeats that had the pair among the first."""
        return f"{self.key}_frequency"
