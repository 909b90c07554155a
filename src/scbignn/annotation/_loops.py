"""What the loops over narrow heads share: how they are compiled, where their numbers stand, how threads divide them.

A matrix of eight coordinates and some positions stands coordinate by coordinate in one buffer: coordinate d of position j at
d * S + j from where the matrix begins. Loops over j have their coordinates written out, do one thing each, and become vector
instructions. Places are unsigned, since Numba looks for negative ones otherwise, which would prevent that.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from numba import config, njit
from torch import Tensor

#: The width of a head that the loops are written for, and the most positions they have room for.
D_HEAD, MAX_LENGTH = 8, 4096
#: Floats from one coordinate to the next: constant, so that the compiler sees that rows do not overlap, and no multiple of a
#: page, since addresses so far apart share few places in the cache.
S = MAX_LENGTH + 128
#: Where the upper four coordinates begin, and the next matrix.
HIGH, MATRIX = 4 * S, D_HEAD * S

FLOAT, at = np.float32, np.uint64
ZERO, ONE, ZEROS = FLOAT(0), FLOAT(1), (FLOAT(0),) * 4

#: Sums may be taken in any order; no number is taken for finite.
_HOW = {"cache": True, "nogil": True, "error_model": "numpy", "fastmath": {"reassoc", "nsz", "contract", "arcp"}}
compiled = njit(**_HOW)
#: The same, written into the caller: what has a loop of its own is not vectorised unless its places are constants there.
inlined = njit(**_HOW, inline="always")


def is_compilable(x: Tensor) -> bool:
    """Whether the loops can see to a tensor: float32 on the CPU, and Numba may compile."""
    return not config.DISABLE_JIT and x.device.type == "cpu" and x.dtype == torch.float32


def arrays(*tensors: Tensor) -> list[np.ndarray]:
    """The memory of tensors, as the loops take it."""
    return [tensor.detach().numpy() for tensor in tensors]


def in_threads(kernel: Callable, parts: Sequence[tuple], *arguments: object) -> None:
    """The parts, each by a thread of its own, which is given its part and then the arguments."""
    if len(parts) == 1:
        kernel(*parts[0], *arguments)
        return
    with ThreadPoolExecutor(len(parts)) as threads:
        list(threads.map(lambda part: kernel(*part, *arguments), parts))


@compiled
def four(x, j):
    """Four coordinates of one position, the first of them at j."""
    return x[at(j)], x[at(j + S)], x[at(j + 2 * S)], x[at(j + 3 * S)]


@compiled
def set_four(x, j, row):
    x[at(j)], x[at(j + S)], x[at(j + 2 * S)], x[at(j + 3 * S)] = row


@compiled
def plus(total, weight, row):
    """A row, so many times, added to a total, four coordinates."""
    return (
        total[0] + weight * row[0],
        total[1] + weight * row[1],
        total[2] + weight * row[2],
        total[3] + weight * row[3],
    )


@compiled
def dot(low, high, x, j):
    """Inner product of eight coordinates with those of one position."""
    a, b = four(x, j), four(x, j + HIGH)
    one = low[0] * a[0] + low[1] * a[1] + low[2] * a[2] + low[3] * a[3]
    return one + (high[0] * b[0] + high[1] * b[1] + high[2] * b[2] + high[3] * b[3])


@inlined
def add_two(x, matrix, weights, low0, high0, low1, high1, first, last):  # noqa: PLR0917 (called by position)
    """Two rows, weighted by x at `weights` and `weights` + S, to positions `first` to `last` of a matrix."""
    for j in range(first, last):
        weight0, weight1 = x[at(weights + j)], x[at(weights + S + j)]
        set_four(x, matrix + j, plus(plus(four(x, matrix + j), weight0, low0), weight1, low1))
    for j in range(first, last):
        weight0, weight1 = x[at(weights + j)], x[at(weights + S + j)]
        set_four(x, matrix + j + HIGH, plus(plus(four(x, matrix + j + HIGH), weight0, high0), weight1, high1))
