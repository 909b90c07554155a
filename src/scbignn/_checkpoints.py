"""What is kept of a run, so that it goes on where it was interrupted."""

from __future__ import annotations

import json
import logging
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import safe_open
from torch import Tensor

from ._files import save_tensors

logger = logging.getLogger(__name__)


@dataclass
class Stage:
    """The state of a stage that was interrupted."""

    tensors: dict[str, Tensor] = field(default_factory=dict)
    rows: list[dict[str, Any]] = field(default_factory=list)

    def part(self, name: str) -> dict[str, Tensor]:
        """The tensors below `name/`."""
        return below(self.tensors, name)


def below(tensors: dict[str, Tensor], name: str) -> dict[str, Tensor]:
    """The tensors whose key starts with `name/`, by the rest of their key."""
    return {key.removeprefix(f"{name}/"): value for key, value in tensors.items() if key.startswith(f"{name}/")}


def prefixed(**parts: dict[str, Tensor]) -> dict[str, Tensor]:
    """Several dictionaries of tensors as one, keys `part/key`: the inverse of :func:`below`."""
    return {f"{name}/{key}": value for name, part in parts.items() for key, value in part.items()}


class Keeper:
    """Keeps a run that consists of stages in one safetensors file, so that it goes on where it was interrupted.

    After each finished stage, and within a stage at most every `interval` seconds, the file is replaced as a whole:
    a crash while writing leaves the file before it. Random generators are kept too, so a resumed run ends with the
    same numbers as one that was never interrupted.

    Parameters
    ----------
    path
        The file, or None to keep nothing.
    fingerprint
        What the run depends on. A file with another fingerprint is refused, not overwritten.
    generator
        Draws everything that is random after the start.
    interval
        Seconds between two writes within a stage.
    writes
        Whether the file is written, or only read, because another process writes it.

    Raises
    ------
    ValueError
        The file holds another run, or is no checkpoint.
    """

    def __init__(
        self,
        path: Path | None,
        fingerprint: dict[str, Any],
        generator: torch.Generator,
        *,
        interval: float = 60.0,
        writes: bool = True,
    ) -> None:
        self.n_finished = 0
        self.finished: dict[str, Tensor] = {}
        self.history: list[dict[str, Any]] = []
        self._path, self._generator, self._interval = path, generator, interval
        self._fingerprint = json.loads(json.dumps(fingerprint))
        self._interrupted: Stage | None = None
        self._written = time.monotonic()
        if path is not None and path.exists():
            self._read(path)
        if not writes:
            self._path = None

    @property
    def reached(self) -> tuple[int, int]:
        """Stages that were finished, and epochs of the one that was interrupted."""
        return self.n_finished, len(self._interrupted.rows) if self._interrupted else 0

    def interrupted_stage(self) -> Stage | None:
        """What is known of the stage that was interrupted; handed out once."""
        stage, self._interrupted = self._interrupted, None
        return stage

    def offer(self, epochs: Sequence[Any], parts: dict[str, dict[str, Tensor]]) -> None:
        """State within a stage, and its epochs so far: written if the last write is long enough ago."""
        if self._path is not None and time.monotonic() - self._written >= self._interval:
            self._write(Stage(prefixed(**parts), [vars(epoch) for epoch in epochs]))

    def finish_stage(self, tensors: dict[str, Tensor], history: list[dict[str, Any]]) -> None:
        """State after a stage: `tensors` and `history` of all stages so far."""
        self.n_finished += 1
        self.finished, self.history = {key: value.clone() for key, value in tensors.items()}, list(history)
        if self._path is not None:
            self._write(Stage())

    def _write(self, stage: Stage) -> None:
        tensors = prefixed(finished=self.finished, stage=stage.tensors)
        tensors["generator"] = self._generator.get_state()
        about = {
            "fingerprint": self._fingerprint,
            "n_finished": self.n_finished,
            "history": self.history,
            "rows": stage.rows,
        }
        self._path.parent.mkdir(parents=True, exist_ok=True)
        part = self._path.with_name(f"{self._path.name}.{os.getpid()}.part")
        save_tensors(tensors, part, {"scbignn": json.dumps(about)})
        with suppress(FileNotFoundError):  # another run in this folder has ended, and removed it
            part.replace(self._path)
        self._written = time.monotonic()

    def _read(self, path: Path) -> None:
        try:
            with safe_open(path, "pt") as file:
                about = json.loads(file.metadata()["scbignn"])
                fingerprint, rows = about["fingerprint"], about["rows"]
                self.n_finished, self.history = about["n_finished"], about["history"]
                tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 (not a dict)
                state = tensors["generator"]
        except Exception as error:
            raise ValueError(_no_checkpoint(path)) from error
        _check_fingerprint(path, fingerprint, self._fingerprint)
        self.finished = below(tensors, "finished")
        self._generator.set_state(state)
        if rows:
            self._interrupted = Stage(below(tensors, "stage"), rows)


def _check_fingerprint(path: Path, found: dict[str, Any], wanted: dict[str, Any]) -> None:
    changed = [key for key, value in wanted.items() if found.get(key) != value]
    if changed:
        msg = (
            f"{path} holds a run that differs from this one in {', '.join(changed)}. "
            "Name another folder with checkpoint_dir=, or remove this file."
        )
        raise ValueError(msg)


def _no_checkpoint(path: Path) -> str:
    return f"{path} is not a checkpoint of scbignn. Name another folder with checkpoint_dir=, or remove this file."


#: How the names of the files of a run begin, and how they end.
_PREFIX, _SUFFIX = "scbignn-", ".safetensors"


class Checkpoints:
    """The folder that keeps the parts of a run, one file each; without a folder nothing is kept.

    Parameters
    ----------
    folder
        It is made when the first file is written. Files of others in it are left alone.
    fingerprint
        What the run depends on.
    writes
        Whether files are written, or only read, because another process writes them.

    Raises
    ------
    ValueError
        The folder holds another run, or a file that has the name of a checkpoint and is none.
    """

    def __init__(self, folder: Path | None, fingerprint: dict[str, Any], *, writes: bool = True) -> None:
        self.folder, self.fingerprint, self._writes = folder, json.loads(json.dumps(fingerprint)), writes
        #: What an earlier run has left.
        self.found = _files_in(folder, f"*{_SUFFIX}")
        for path in self.found:
            try:
                with safe_open(path, "pt") as file:
                    found = json.loads(file.metadata()["scbignn"])["fingerprint"]
            except Exception as error:
                raise ValueError(_no_checkpoint(path)) from error
            _check_fingerprint(path, found, self.fingerprint)

    def file(self, name: str) -> Path | None:
        """Where a part is kept; None without a folder."""
        return None if self.folder is None else self.folder / f"{_PREFIX}{name}{_SUFFIX}"

    def within(self, name: str) -> Path | None:
        """A folder in the folder, for a run that is part of this one."""
        return None if self.folder is None else self.folder / name

    def arrays(self, name: str, compute: Callable[[], dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
        """What `compute` gives, which is called only where no earlier run has kept it; contiguous in memory."""
        path = self.file(name)
        if path in self.found:  # what another process of this run writes meanwhile is not read
            kept = Keeper(path, self.fingerprint, torch.Generator()).finished
            return {key: value.numpy() for key, value in kept.items()}
        # Sums depend on the order in memory: it is the same whether arrays were kept or not.
        found = {key: np.ascontiguousarray(value) for key, value in compute().items()}
        if path is not None and self._writes:
            path.unlink(missing_ok=True)
            keeper = Keeper(path, self.fingerprint, torch.Generator())
            keeper.finish_stage({key: torch.from_numpy(value) for key, value in found.items()}, [])
        return found


def remove_checkpoints(folder: Path | None, names: Sequence[str] | None = None) -> None:
    """Remove the files that a finished run has kept, all or those of some parts, and the folder, if nothing else is in it."""
    if folder is None or not folder.is_dir():
        return
    for path in (*_files_in(folder, f"*{_SUFFIX}"), *_files_in(folder, f"*{_SUFFIX}.*part")):
        if names is None or path.name.removeprefix(_PREFIX).split(".")[0] in names:
            try:
                path.unlink(missing_ok=True)
            except OSError as error:  # the run has its result all the same
                logger.warning("%s is not needed any more and cannot be removed (%s)", path, error)
    with suppress(OSError):  # others are in it, or another process was faster
        folder.rmdir()


def _files_in(folder: Path | None, names: str) -> list[Path]:
    found = [] if folder is None else folder.glob(f"{_PREFIX}{names}")
    return sorted(path for path in found if path.is_file())


#: What is to be removed when all that follows from a run is safe, too.
_waiting: ContextVar[list[tuple[Path | None, Sequence[str] | None]] | None] = ContextVar("waiting", default=None)


def end_run(folder: Path | None, names: Sequence[str] | None = None) -> None:
    """A run has given its result: remove what it kept, as :func:`remove_checkpoints` does, at once or as the block around says."""
    waiting = _waiting.get()
    if waiting is None:
        remove_checkpoints(folder, names)
    else:
        waiting.append((folder, names))


@contextmanager
def kept_until_done() -> Iterator[None]:
    """What runs within this block have kept is removed at its end, and stays if that is not reached."""
    waiting: list[tuple[Path | None, Sequence[str] | None]] = []
    before = _waiting.set(waiting)
    try:
        yield
    finally:
        _waiting.reset(before)
    for folder, names in waiting:
        end_run(folder, names)


#: Keeps nothing.
NOTHING = Checkpoints(None, {})
