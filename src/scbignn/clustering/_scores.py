"""From counts to z-scores and principal components, a few cells at a time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import scipy.linalg
import scipy.sparse as sp

from .._expression import normalize
from .._training import progress_bar
from ._config import Config
from ._genes import dispersion_genes

#: Cells that are dense at a time.
CHUNK = 4096


class Rows(Protocol):
    """Counts of cells, of which a slice gives a CSR float32 matrix without stored zeros: also a CSR matrix itself."""

    def __getitem__(self, rows: slice) -> sp.csr_matrix:
        """Some cells, all genes."""


@dataclass(frozen=True, eq=False)
class Scores:
    """What turns counts of M genes into z-scores of G of them and d components: the paper's input, then PCA."""

    panel: np.ndarray
    """(G,) int64, ascending: the genes of high dispersion."""
    gene_share: np.ndarray
    """(M,) float64, the share of all counts that each gene has."""
    target_sum: float
    """s of log(1 + s x / total), the median total."""
    center: np.ndarray
    """(G,) float32, the mean of log(1 + s x / total)."""
    scale: np.ndarray
    """(G,) float32, its standard deviation."""
    clip: float
    middle: np.ndarray
    """(G,) float32, the mean of clipped z-scores."""
    loadings: np.ndarray
    """(G, d) float32, columns of length 1; the largest entry of each is positive."""

    def logs(self, part: sp.csr_matrix, total: np.ndarray) -> sp.csr_matrix:
        """log(1 + s x / total) of counts of the panel, CSR (n, G) -> CSR float32 (n, G)."""
        per_entry = np.repeat(self.target_sum / total, np.diff(part.indptr))
        return sp.csr_matrix(
            (np.log1p(part.data * per_entry).astype(np.float32), part.indices, part.indptr), part.shape
        )

    def z_scores(self, part: sp.csr_matrix, total: np.ndarray, known: np.ndarray | None = None) -> np.ndarray:
        """Clipped z-scores of counts of the panel.

        Parameters
        ----------
        part
            CSR (n, G).
        total
            (n,), the counts of each cell in all M genes.
        known
            (G,) bool; where it is false the z-score is 0, the mean.

        Returns
        -------
        (n, G) float32.
        """
        z = self.logs(part, total).toarray()
        z -= self.center
        z /= self.scale
        np.clip(z, -self.clip, self.clip, out=z)
        if known is not None:
            z[:, ~known] = 0
        return z

    def components(self, z: np.ndarray) -> np.ndarray:
        """(n, G) -> (n, d) float32."""
        return (z - self.middle) @ self.loadings


def row_sums(x: sp.csr_matrix) -> np.ndarray:
    """float64."""
    return np.asarray(x.astype(np.float64).sum(1)).ravel()


def chunks(n_cells: int, size: int = CHUNK) -> Iterator[slice]:
    """Slices that cover all cells."""
    for start in range(0, n_cells, size):
        yield slice(start, min(start + size, n_cells))


def learn_scores(rows: Rows, shape: tuple[int, int], config: Config, rng: np.random.Generator) -> Scores:
    """Learn it in three passes over the cells: totals; moments of genes; a sample for PCA.

    Parameters
    ----------
    rows
        Counts of N cells, M genes; no cell is empty.
    shape
        (N, M).
    config
        Settings.
    rng
        Draws the sample, where there are more cells than `config.max_fit_cells`.

    Raises
    ------
    ValueError
        Fewer than two genes vary.
    """
    n, m = shape
    totals, counts = np.empty(n), np.zeros(m)
    n_chunks = -(-n // CHUNK)
    with progress_bar(n_chunks, unit="chunk", name="totals") as bar:
        for chunk in chunks(n):
            x = rows[chunk]
            totals[chunk] = row_sums(x)
            counts += np.bincount(x.indices, weights=x.data, minlength=m)
            bar.update()
    target_sum = float(np.median(totals))
    sums = np.zeros((4, m))  # of x~ and x~^2, linear and logarithmic
    with progress_bar(n_chunks, unit="chunk", name="genes") as bar:
        for chunk in chunks(n):
            logs = normalize(rows[chunk], target_sum)
            logarithmic = logs.data.astype(np.float64)
            linear = np.expm1(logarithmic)
            for row, values in zip(sums, (linear, linear**2, logarithmic, logarithmic**2), strict=True):
                row += np.bincount(logs.indices, weights=values, minlength=m)
            bar.update()
    mean, square, log_mean, log_square = sums / n
    panel = dispersion_genes(mean, np.maximum(square - mean**2, 0) * n / max(n - 1, 1), config.n_top_genes)
    spread = np.sqrt(np.maximum(log_square - log_mean**2, 0))[panel]
    panel, spread = panel[spread > 1e-6], spread[spread > 1e-6]
    if len(panel) < 2:
        msg = (
            f"{len(panel)} of {m} genes vary between cells, which leaves nothing to cluster by. Look at how adata was made "
            "or subset, or pass another matrix with layer=..."
        )
        raise ValueError(msg)
    d = min(config.n_components, len(panel), n)
    scores = Scores(
        panel=panel,
        gene_share=counts / counts.sum(),
        target_sum=target_sum,
        center=log_mean[panel].astype(np.float32),
        scale=spread.astype(np.float32),
        clip=config.clip,
        middle=np.zeros(len(panel), dtype=np.float32),
        loadings=np.zeros((len(panel), d), dtype=np.float32),
    )
    sample = list(sampled(rows, n, config.max_fit_cells, rng))
    z = np.concatenate([scores.z_scores(x[:, panel], row_sums(x)) for x in sample])
    middle, loadings = principal_axes(z, d)
    return Scores(**{**vars(scores), "middle": middle, "loadings": loadings})


def sampled(rows: Rows, n: int, size: int, rng: np.random.Generator) -> Iterator[sp.csr_matrix]:
    """Counts of `size` cells drawn without replacement, or of all where there are no more, in their order."""
    drawn = draw(n, size, rng)
    for chunk in chunks(n):
        own = drawn[(drawn >= chunk.start) & (drawn < chunk.stop)] - chunk.start
        if len(own):
            yield rows[chunk][own]


def draw(n: int, size: int, rng: np.random.Generator) -> np.ndarray:
    """`size` of n numbers, ascending; all where there are no more."""
    return np.arange(n) if n <= size else np.sort(rng.choice(n, size, replace=False))


def principal_axes(z: np.ndarray, d: int) -> tuple[np.ndarray, np.ndarray]:
    """Mean and the d axes of largest variance of z, (n, G) -> (G,), (G, d), both float32."""
    middle = z.mean(0, dtype=np.float64)
    centered = z - middle.astype(np.float32)
    covariance = (centered.T @ centered).astype(np.float64)
    g = len(covariance)
    _, axes = scipy.linalg.eigh(covariance, subset_by_index=[g - d, g - 1], driver="evx")
    axes = axes[:, ::-1]
    axes = axes * np.where(axes[np.abs(axes).argmax(0), np.arange(d)] < 0, -1, 1)
    return middle.astype(np.float32), np.ascontiguousarray(axes, dtype=np.float32)


def all_components(rows: Rows, n: int, scores: Scores) -> np.ndarray:
    """Components of all cells, (n, d) float32."""
    found = np.empty((n, scores.loadings.shape[1]), dtype=np.float32)
    with progress_bar(-(-n // CHUNK), unit="chunk", name="components") as bar:
        for chunk in chunks(n):
            x = rows[chunk]
            found[chunk] = scores.components(scores.z_scores(x[:, scores.panel], row_sums(x)))
            bar.update()
    return found
