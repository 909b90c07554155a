"""RegDiffusion (Zhu and Slonim 2024): a network of genes from expression alone, by the package's defaults.

It reads no edge. Its matrix is that of a model that takes noise off the expression of a gene by that of the others; a
link counts by its absolute value.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

from . import _apart


class Expression(NamedTuple):
    """What it is given."""

    x: np.ndarray
    """(cells, genes), on a log scale."""
    seed: int
    threads: int


def links(x: np.ndarray, seed: int) -> np.ndarray:
    """Scores of all links, (genes, genes): of the gene of the row on that of the column."""
    return _apart.call("regdiffusion", partial(write, x=x, seed=seed))


def write(file: Path, *, x: np.ndarray, seed: int, threads: int) -> None:
    np.savez(file, x=x.astype(np.float32), seed=seed, threads=threads)


def read(file: Path) -> Expression:
    with np.load(file) as parts:
        return Expression(parts["x"], int(parts["seed"]), int(parts["threads"]))


def answer(given: Expression) -> np.ndarray:
    import torch
    from regdiffusion import RegDiffusionTrainer

    torch.set_num_threads(given.threads)
    varies = given.x.std(0) > 0  # it refuses genes that do not
    trainer = RegDiffusionTrainer(given.x[:, varies], device="cpu", seed=given.seed)
    trainer.train()
    found = np.zeros((given.x.shape[1],) * 2, dtype=np.float32)
    found[np.ix_(varies, varies)] = np.abs(trainer.get_adj())
    return found
