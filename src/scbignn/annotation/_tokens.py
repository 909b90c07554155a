"""Cells as variable-length sequences of expressed genes, batched by length."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np
import scipy.sparse as sp
import torch
from torch import Tensor

from .._layers import draw_kept

#: A bucket closes when padding could more than this multiply its T x T matrices, and adds more entries to them than
#: another bucket would cost ...
_MAX_WASTE, _WASTED_PAIRS = 1.25, 10_000
#: ... or when those matrices would hold more entries than this.
MAX_PAIRS = 2_000_000
#: Positions that are packed together unless one bucket has more, or one cell, where cells are not padded.
MAX_TOKENS = 16_384
#: What else takes time, in the same unit (measured on a CPU, forward and backward): a token, and a bucket.
_PAIRS_PER_TOKEN, _PAIRS_PER_BUCKET = 75, 25_000


class Bucket(NamedTuple):
    """Cells of similar length, padded to the longest. b cells, T positions."""

    rows: Tensor
    """(b,) places of these cells in the batch they were asked for."""
    genes: Tensor
    """(b, T) columns of the expressed genes; 0 where padded."""
    values: Tensor
    """(b, T) normalised expression; 0 where padded."""
    expressed: Tensor
    """(b, T) bool: False where padded."""


class Packed(NamedTuple):
    """The positions of several buckets one after another, N in all, so that what knows no cells does its work in one go."""

    genes: Tensor
    """(N,) columns of the expressed genes; 0 where padded."""
    values: Tensor
    """(N,) normalised expression; 0 where padded."""
    buckets: list[Bucket]

    def split(self, f: Tensor) -> list[Tensor]:
        """What belongs to each bucket: (N, d) -> (b, T, d) each."""
        parts = f.split([bucket.genes.numel() for bucket in self.buckets])
        return [part.view(*bucket.genes.shape, -1) for part, bucket in zip(parts, self.buckets, strict=True)]

    def sum(self, f: Tensor) -> Tensor:
        """Sums over the positions of each of the n cells, (N, d) -> (n, d)."""
        return torch.cat([part.sum(1) for part in self.split(f)])

    @property
    def expressed(self) -> Tensor:
        """(N,) bool: False where padded."""
        return torch.cat([bucket.expressed.flatten() for bucket in self.buckets])


class Ragged(NamedTuple):
    """The same without buckets and padding: the expressed genes of n cells one after another, N in all, on the CPU."""

    genes: Tensor
    """(N,) columns of the expressed genes."""
    values: Tensor
    """(N,) normalised expression."""
    starts: np.ndarray
    """(n,) int64, where each cell begins."""
    lengths: np.ndarray
    """(n,) int64, how many genes it expresses."""

    def sum(self, f: Tensor) -> Tensor:
        """Sums over the genes of each cell, (N, d) -> (n, d)."""
        cell = torch.from_numpy(np.repeat(np.arange(len(self.lengths)), self.lengths))
        return f.new_zeros(len(self.lengths), f.shape[1]).index_add(0, cell, f)

    @property
    def expressed(self) -> Tensor:
        """(N,) bool, all True."""
        return torch.ones(len(self.genes), dtype=torch.bool)


def pack(buckets: list[Bucket]) -> Packed:
    """Some buckets as one."""
    genes, values = (torch.cat([getattr(bucket, name).flatten() for bucket in buckets]) for name in ("genes", "values"))
    return Packed(genes, values, buckets)


def packs(buckets: Iterable[Bucket]) -> Iterator[list[Bucket]]:
    """Buckets together, as many as are small enough to stay in a cache."""
    some, n = [], 0
    for bucket in buckets:
        if some and n + bucket.genes.numel() > MAX_TOKENS:
            yield some
            some, n = [], 0
        some.append(bucket)
        n += bucket.genes.numel()
    if some:
        yield some


class Tokens:
    """The expressed genes of every cell: the stored entries of a CSR matrix, on a device.

    Parameters
    ----------
    x
        Normalised expression, CSR, shape (N, T), no stored zeros.
    device
        Where batches are assembled.
    """

    def __init__(self, x: sp.csr_matrix, device: torch.device) -> None:
        self.shape, self.device = x.shape, device
        #: Share of the expressed genes that is present: 1 unless thinned.
        self.share = 1.0
        self.lengths = np.diff(x.indptr)
        self._starts = torch.tensor(x.indptr[:-1], dtype=torch.int64, device=device)
        self._genes = torch.tensor(x.indices, dtype=torch.int64, device=device)
        self._values = torch.tensor(x.data, dtype=torch.float32, device=device)

    def thinned(self, share: float, generator: torch.Generator, cells: np.ndarray) -> Tokens:
        """The same cells, each expressed gene of the given ones kept with the given probability; the others have none."""
        device = self._values.device
        cells = np.unique(cells)
        starts = self._starts[torch.from_numpy(cells).to(device)]
        lengths = torch.from_numpy(self.lengths[cells]).to(device, torch.int64)
        ends = lengths.cumsum(0)
        entry = torch.arange(int(lengths.sum()), device=device) + (starts - ends + lengths).repeat_interleave(lengths)
        keep = draw_kept(entry.shape, share, generator)
        kept_before = torch.cat([keep.new_zeros(1, dtype=torch.int64), keep.cumsum(0)])
        kept, entry = kept_before[ends] - kept_before[ends - lengths], entry[keep]
        thin = copy.copy(self)
        thin.share = self.share * share
        thin.lengths = np.zeros_like(self.lengths)
        thin.lengths[cells] = kept.cpu().numpy()
        thin._starts = torch.zeros_like(self._starts)
        thin._starts[torch.from_numpy(cells).to(device)] = kept_before[ends - lengths]
        thin._genes, thin._values = self._genes[entry], self._values[entry]
        return thin

    def buckets(self, cells: np.ndarray) -> Iterator[Bucket]:
        """The cells that express a gene, sorted by length and cut into buckets; cells without one are left out."""
        rows = self.by_length(cells)
        lengths = self.lengths[cells[rows]].astype(np.int64)
        for start, stop in _cuts(lengths):
            yield self._pad(rows[start:stop], cells, int(lengths[stop - 1]))

    def ragged(self, cells: np.ndarray) -> Iterator[tuple[np.ndarray, Ragged]]:
        """The cells that express a gene, as many at once as stay in a cache, and their places among the given ones."""
        rows = np.flatnonzero(self.lengths[cells])
        ends = self.lengths[cells[rows]].cumsum(dtype=np.int64)
        starts, genes_of = self._starts.numpy(), np.arange(ends[-1] if len(ends) else 0)
        first = 0
        while first < len(rows):
            begin = ends[first - 1] if first else 0
            last = max(first + 1, np.searchsorted(ends, begin + MAX_TOKENS, side="right"))
            part = cells[rows[first:last]]
            lengths = self.lengths[part].astype(np.int64)
            own = ends[first:last] - lengths - begin
            entry = torch.from_numpy(np.repeat(starts[part] - own, lengths) + genes_of[: lengths.sum()])
            yield rows[first:last], Ragged(self._genes[entry], self._values[entry], own, lengths)
            first = last

    def by_length(self, cells: np.ndarray) -> np.ndarray:
        """Places of the given cells, from the shortest to the longest."""
        return np.argsort(self.lengths[cells], kind="stable")

    def costs_of_padded(self, cells: np.ndarray) -> np.ndarray:
        """What each of these cells, from the shortest to the longest, costs in buckets, in entries of T x T matrices."""
        lengths, costs = self.lengths[cells].astype(np.int64), np.zeros(len(cells))
        for start, stop in _cuts(lengths):
            longest = lengths[stop - 1]
            costs[start:stop] = longest * (longest + _PAIRS_PER_TOKEN) + _PAIRS_PER_BUCKET / (stop - start)
        return costs

    def _pad(self, rows: np.ndarray, batch: np.ndarray, n_positions: int) -> Bucket:
        device = self._values.device
        cells = torch.from_numpy(batch[rows]).to(device)
        lengths = torch.from_numpy(self.lengths[batch[rows]]).to(device)
        position = torch.arange(n_positions, device=device)
        expressed = position < lengths[:, None]
        entry = (self._starts[cells][:, None] + position).masked_fill(~expressed, 0)
        genes = self._genes[entry].masked_fill(~expressed, 0)
        values = self._values[entry].masked_fill(~expressed, 0)
        return Bucket(torch.from_numpy(rows).to(device), genes, values, expressed)


def _cuts(lengths: np.ndarray) -> Iterator[tuple[int, int]]:
    """Where buckets begin and end among ascending lengths; those of 0 are in none."""
    start = np.searchsorted(lengths, 0, side="right")
    while start < len(lengths):
        squares = lengths[start:] ** 2
        pairs = np.arange(1, len(squares) + 1) * squares
        similar = np.searchsorted(lengths[start:], int(lengths[start] * math.sqrt(_MAX_WASTE)), side="right")
        cheap = np.searchsorted(pairs - squares.cumsum(), _WASTED_PAIRS, side="right")
        small = np.searchsorted(pairs, MAX_PAIRS, side="right")
        stop = start + max(1, min(max(similar, cheap), small))
        yield start, stop
        start = stop
