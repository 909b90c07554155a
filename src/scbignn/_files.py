"""A saved model: a folder with its tensors (safetensors) and one JSON file. Reading one runs no code of its own."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

#: The form that this version writes, and the newest that it reads.
_FORMAT = 1
_TENSORS, _ABOUT = "model.safetensors", "model.json"
#: All that a saved model consists of.
FILES = (_ABOUT, _TENSORS)


class Parts(NamedTuple):
    """What a model consists of."""

    tensors: dict[str, Tensor]
    about: dict[str, Any]
    """Everything else, ready for JSON."""


def write_parts(path: str | Path, kind: str, parts: Parts, *, overwrite: bool) -> None:
    """Write a model of some kind to a folder; where that fails, the folder is as it was before.

    Raises
    ------
    FileExistsError
        There is something at `path`, and it is not to be overwritten, is no saved model, or holds other files, too.
    TypeError
        `path` is none.
    """
    path = _folder(path)
    if path.is_symlink():
        path = path.resolve()  # what it points to is replaced, and it stays
    if path.exists():
        is_model = kind_of(path) != ""
        others = sorted(found.name for found in path.iterdir() if found.name not in FILES) if is_model else []
        if not is_model or others or not overwrite:
            what = "exists" if is_model else "is no saved model"
            what = f"holds more than a model, such as {others[0]}" if others else what
            mend = "Name another folder, or pass overwrite=True" if is_model and not others else "Name another folder"
            msg = f"{path} {what}. {mend}."
            raise FileExistsError(msg)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as error:
        msg = f"{path} would lie in a file, {error.filename}. Name another folder."
        raise FileExistsError(msg) from error
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=f".{path.name}-") as folder:
        new = Path(folder) / "new"
        new.mkdir()
        save_tensors(parts.tensors, new / _TENSORS)
        about = {
            "scbignn": kind,
            "format": _FORMAT,
            "tensors": _digest((new / _TENSORS).read_bytes()),
            "content": _digest(_canonical(parts.about)),
            **parts.about,
        }
        (new / _ABOUT).write_text(json.dumps(about, indent=1, allow_nan=False) + "\n", encoding="utf-8")
        (new / _TENSORS).chmod((new / _ABOUT).stat().st_mode)  # safetensors writes for the owner alone
        old = Path(folder) / "old"
        try:
            if path.exists():
                path.replace(old)
            new.replace(path)
        finally:
            if old.exists() and not path.exists():  # interrupted in between
                old.replace(path)


def save_tensors(tensors: dict[str, Tensor], path: Path, about: dict[str, str] | None = None) -> None:
    """Write tensors by name, and texts about them, to a safetensors file.

    Raises
    ------
    OSError
        It cannot be written.
    """
    try:
        save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, path, about)
    except SafetensorError as error:
        msg = f"{path} cannot be written ({error}). Free some space, or name another folder."
        raise OSError(msg) from error


def read_parts(path: str | Path, kind: str) -> Parts:
    """The inverse of :func:`write_parts`.

    Raises
    ------
    FileNotFoundError
        There is no such folder.
    ValueError
        It holds no model, one of another kind, one of a newer form, or one that is incomplete or was changed.
    TypeError
        `path` is none.
    """
    path = _folder(path)
    if not path.exists():
        msg = f"there is no {path}. Pass the folder that model.save(path) wrote."
        raise FileNotFoundError(msg)
    try:
        about = json.loads((path / _ABOUT).read_text(encoding="utf-8"))
        found, form = about.pop("scbignn"), about.pop("format")
    except (OSError, ValueError, KeyError, AttributeError, TypeError, RecursionError) as error:
        msg = f"{path} is not a model of scbignn. Pass the folder that model.save(path) wrote."
        raise ValueError(msg) from error
    if form != _FORMAT:
        msg = f"{path} was saved in form {form!r}; this version reads up to {_FORMAT}. Update: pip install -U scbignn."
        raise ValueError(msg)
    if found != kind:
        msg = f"{path} holds a model of the kind {found!r}, not {kind!r}. Pass another folder."
        raise ValueError(msg)
    damaged = f"{path} is incomplete or was changed after it was saved. Save or copy it anew."
    try:
        digests = about.pop("tensors"), about.pop("content")
        data = (path / _TENSORS).read_bytes()
        tensors = load_file(path / _TENSORS)
    except (OSError, KeyError, SafetensorError) as error:
        raise ValueError(damaged) from error
    if digests != (_digest(data), _digest(_canonical(about))):
        raise ValueError(damaged)
    return Parts(tensors, about)


def kind_of(path: str | Path) -> str:
    """The kind of a saved model; "" where there is none."""
    try:
        about = json.loads((_folder(path) / _ABOUT).read_text(encoding="utf-8"))
        return str(about["scbignn"])
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return ""


def _folder(path: str | Path) -> Path:
    if not isinstance(path, (str, os.PathLike)):
        msg = f"path is {path!r}. Pass the name of a folder."
        raise TypeError(msg)
    return Path(path)


def _canonical(about: dict[str, Any]) -> bytes:
    return json.dumps(about, sort_keys=True).encode()


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
