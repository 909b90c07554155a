"""Sums over the processes of one machine, in memory that they share.

What torch's gloo adds up goes through sockets and wakes threads, which takes a good part of a step of a small network.
Here a process writes its numbers, says so, and looks until the others have said it too.
"""

from __future__ import annotations

import mmap
import os
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch.distributed as dist
from numba import config, njit, types
from numba.extending import intrinsic

#: A folder in memory, which no two machines have in common.
_FOLDER = Path("/dev/shm")
#: Bytes of an array that are added up at a time.
_PIECE = 256 * 1024
#: Bytes that a processor takes from memory at once: what two processes write stands so far apart.
_LINE = 64
#: Seconds after which a process that waits sleeps between two looks, those that it sleeps, and those it waits at most.
_PATIENCE, _NAP, _TIMEOUT = 0.05, 0.001, 1800.0


class SharedMemory:
    """Where the processes of one machine add up arrays, which all of them have in the same order.

    Parameters
    ----------
    memory
        Zeros, as many bytes as :meth:`n_bytes` says.
    rank, size
        Of this process, counted from 0, and how many there are.
    """

    def __init__(self, memory: np.ndarray, rank: int, size: int) -> None:
        self._rank, self._n_sums = rank, 0
        head = size * _LINE
        self._said = memory[:head].view(np.int64).reshape(size, -1)
        # Two of each: while one sum is written, another process may still read the last.
        self._pieces = memory[head:].reshape(2, size, _PIECE)

    @staticmethod
    def n_bytes(size: int) -> int:
        """That so many processes need."""
        return size * (_LINE + 2 * _PIECE)

    def add_up(self, array: np.ndarray) -> None:
        """Replace an array by its sum over processes, which is the same in all, to the bit.

        Parameters
        ----------
        array
            Of any shape, contiguous.

        Raises
        ------
        TimeoutError
            A process did not come.
        ValueError
            The array is not contiguous.
        """
        if not array.flags.c_contiguous:
            msg = f"an array of shape {array.shape} is not contiguous. Pass np.ascontiguousarray(array)."
            raise ValueError(msg)
        numbers = array.reshape(-1)
        n_at_once = _PIECE // array.itemsize
        for start in range(0, len(numbers), n_at_once):
            piece = numbers[start : start + n_at_once]
            self._n_sums += 1
            parts = self._pieces[self._n_sums % 2, :, : piece.nbytes].view(array.dtype)
            parts[self._rank] = piece
            _say(self._said, self._rank, self._n_sums)
            self._wait()
            parts.sum(axis=0, out=piece)

    def _wait(self) -> None:
        begin = time.monotonic()
        while not _all_said(self._said, self._n_sums):
            waited = time.monotonic() - begin
            if waited > _TIMEOUT:
                late = np.flatnonzero(self._said[:, 0] < self._n_sums).tolist()
                msg = f"process {self._rank} waited {_TIMEOUT:.0f} s for process {late}. Start all of them anew."
                raise TimeoutError(msg)
            time.sleep(_NAP if waited > _PATIENCE else 0)


def share_memory(rank: int, size: int) -> SharedMemory | None:
    """Memory that all processes of the group share; None, in all of them, where one has no part in it."""
    path = [_zeros(SharedMemory.n_bytes(size)) if rank == 0 else None]
    dist.broadcast_object_list(path)
    memory = None if path[0] is None else _opened(path[0])
    everyone = [None] * size
    dist.all_gather_object(everyone, memory is not None)
    if rank == 0 and path[0] is not None:
        path[0].unlink()  # those who have it open keep it
    return SharedMemory(memory, rank, size) if all(everyone) else None


def _zeros(n_bytes: int) -> Path | None:
    """A new file in memory; None where there is no such folder, or no room for it."""
    if not hasattr(os, "posix_fallocate"):
        return None
    try:
        number, name = tempfile.mkstemp(prefix="scbignn-", dir=_FOLDER)
    except OSError:
        return None
    try:
        os.posix_fallocate(number, 0, n_bytes)
    except OSError:
        Path(name).unlink()
        return None
    finally:
        os.close(number)
    return Path(name)


def _opened(path: Path) -> np.ndarray | None:
    """The bytes of a file; None where this machine does not have it, or Numba is told not to compile what is below."""
    if config.DISABLE_JIT:
        return None
    try:
        with path.open("r+b") as file:
            return np.frombuffer(mmap.mmap(file.fileno(), 0), dtype=np.uint8)
    except OSError:
        return None


@intrinsic
def _fence(_typing):
    """Whatever stands before it is done, for all processors to see, before anything that stands after it."""

    def build(context: Any, builder: Any, _signature: Any, _arguments: Any) -> Any:
        builder.fence("seq_cst")
        return context.get_dummy_value()

    return types.void(), build


@njit(cache=True)
def _say(said, rank, number):
    _fence()  # what was written stands there before anybody is told
    said[rank, 0] = number


@njit(cache=True)
def _all_said(said, number):
    for rank in range(len(said)):
        if said[rank, 0] < number:
            return False
    _fence()  # what the others wrote is read after they have told
    return True
