"""Names whose slots are free, or of an earlier run."""

from __future__ import annotations

from anndata import AnnData

from .._keys import (
    AnnotationKeys,
    AuditKeys,
    BackOffKeys,
    ClusterKeys,
    CrossValidationKeys,
    GrnKeys,
    is_annotation,
    is_audit,
    is_back_off,
    is_clustering,
    is_cross_validation,
    is_grn,
)

#: What tells an earlier run of each kind.
_EARLIER = {
    AnnotationKeys: is_annotation,
    AuditKeys: is_audit,
    BackOffKeys: is_back_off,
    ClusterKeys: is_clustering,
    CrossValidationKeys: is_cross_validation,
    GrnKeys: is_grn,
}
#: Names that no slot of a file can have.
_RESERVED = frozenset({"", ".", "..", "_index"})


def check_new_key(adata: AnnData, key_added: str, labels_key: str | None = None) -> None:
    """A name whose slots hold nothing of the user's: they are free, or of an earlier run, and not the labels."""
    check_free(adata, AnnotationKeys(key_added), labels_key)


def check_free(
    adata: AnnData,
    keys: AnnotationKeys | AuditKeys | BackOffKeys | ClusterKeys | CrossValidationKeys | GrnKeys,
    labels_key: str | None = None,
) -> None:
    """Slots that are free, or of an earlier run of the same kind, and not the labels."""
    _check_key(keys.key)
    mend = f'Use another name, such as key_added="{keys.key}_predicted".'
    if labels_key is not None and labels_key in keys.slots["obs"]:
        msg = f"key_added={keys.key!r} would overwrite the labels in adata.obs[{labels_key!r}]. {mend}"
        raise ValueError(msg)
    if _EARLIER[type(keys)](adata.uns.get(keys.key)):
        return
    for attribute, names in keys.slots.items():
        taken = [name for name in names if name in getattr(adata, attribute)]
        if taken:
            msg = f"key_added={keys.key!r} would overwrite adata.{attribute}[{taken[0]!r}]. {mend}"
            raise ValueError(msg)


def _check_key(key_added: str) -> None:
    if not isinstance(key_added, str) or key_added in _RESERVED or "/" in key_added or "\0" in key_added:
        msg = (
            f'key_added={key_added!r} must be a non-empty string without "/" that file formats do not reserve. '
            'Use for example key_added="scbignn".'
        )
        raise ValueError(msg)
