"""Blocks of data that kill the process which computes them."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import dask.array as da
import scipy.sparse as sp


def die_over(
    block: sp.csr_matrix, deadly: dict[int, Path | None], home: int, block_info: dict | None = None
) -> sp.csr_matrix:
    """The block; but away from home those with a deadly number kill, once if they can leave a mark of it, else always."""
    number = block_info[0]["chunk-location"][0] if block_info else -1
    if number in deadly and os.getpid() != home and not (deadly[number] and deadly[number].exists()):
        if deadly[number]:
            deadly[number].touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return block


def in_blocks(x: sp.csr_matrix, rows: int, deadly: dict[int, Path | None] | None = None) -> da.Array:
    """The matrix as a Dask array of so many rows a block."""
    lazy = da.from_array(x, chunks=(rows, x.shape[1]), asarray=False)
    return lazy.map_blocks(die_over, deadly, os.getpid(), dtype=x.dtype, meta=x[:0]) if deadly else lazy
