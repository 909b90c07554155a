"""What `encoder` of `tl.infer_grn` may be, checked, and read where cells must be read first."""

from __future__ import annotations

import logging
import math
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
import scipy.sparse as sp
import torch

from .._check import Expression, counted, some
from ..regulation import (
    Config,
    Encoder,
    ScBert,
    draw_encoded,
    encode_genes,
    expression_encoder,
    fit_transformer,
    table_encoder,
)

logger = logging.getLogger(__name__)


def read_encoder(
    encoder: ScBert | Literal["transformer"],
    x: sp.csr_matrix,
    expression: Expression,
    genes: pd.Index,
    config: Config,
    *,
    device: torch.device,
    seed: int,
    checkpoint: Path | None,
) -> Encoder:
    """Vectors by a transformer that reads cells one at a time."""
    x = draw_encoded(x, config, np.random.default_rng(seed))
    if isinstance(encoder, ScBert):
        model, x = encoder, _natural(x, expression)
    else:
        model, history = fit_transformer(x, config, device=device, seed=seed, checkpoint=checkpoint)
        logger.info(
            "encoder: trained on %s; squared error of hidden expression %.2f, about 1 where nothing is learned",
            counted(x.shape[0], "cell"),
            history[-1]["loss"],
        )
    return table_encoder(encode_genes(model, x, genes, config, device=device), config.n_components)


def _natural(x: sp.csr_matrix, expression: Expression) -> sp.csr_matrix:
    """Log-values to base e; of an unknown base they are taken to have it."""
    if expression.kind != "log1p" or expression.base == "e":
        return x
    if expression.base == "unknown":
        logger.warning("encoder: nothing tells the base of the logarithm in adata.%s; e is assumed", expression.slot)
        return x
    return x * math.log(float(expression.base))


def name_of(encoder: object) -> str:
    """For `uns`."""
    return encoder if isinstance(encoder, str) else "scbert" if isinstance(encoder, ScBert) else "table"


def _check_overlap(encoder: ScBert, genes: pd.Index) -> None:
    """Genes that scBERT knows."""
    n_known = int((encoder.places(genes) >= 0).sum())
    if n_known < 2:
        msg = (
            f"encoder knows {n_known} of the {len(genes)} genes of adata: its genes are {some(encoder.genes)}, "
            f"adata.var_names are {some(genes)}. Use human gene symbols: adata.var_names = ..."
        )
        raise ValueError(msg)
    if n_known < len(genes):
        logger.info("encoder: %d of %d genes have no vector and get one of zeros", len(genes) - n_known, len(genes))


def checked_encoder(encoder: object, genes: pd.Index, config: Config) -> Encoder | None:
    """None for those that must read cells first."""
    if isinstance(encoder, ScBert):
        _check_overlap(encoder, genes)
        return None
    if isinstance(encoder, str) and encoder == "transformer":
        return None
    if isinstance(encoder, str) and encoder in ("auto", "expression"):
        return expression_encoder(config.n_components)
    if not isinstance(encoder, pd.DataFrame):
        msg = (
            f'encoder={encoder!r} is unknown. Use "auto", "expression", "transformer", a DataFrame with a row for each gene, '
            "or scbignn.regulation.read_scbert(...)."
        )
        raise (ValueError if isinstance(encoder, str) else TypeError)(msg)
    if not encoder.index.is_unique:
        repeated = encoder.index[encoder.index.duplicated()]
        msg = f"encoder has several rows for {some(repeated)}. Keep one of each: encoder.groupby(level=0).mean()."
        raise ValueError(msg)
    wrong = [name for name, kind in encoder.dtypes.items() if not pd.api.types.is_numeric_dtype(kind)]
    if wrong or not encoder.shape[1]:
        msg = (
            f"encoder must have columns of numbers, and has {some(wrong or encoder.columns)} beside. Drop what is none."
        )
        raise TypeError(msg)
    values = encoder.reindex(genes).to_numpy(dtype=np.float64)
    inside = genes.isin(encoder.index)
    if inside.sum() < 2:
        msg = (
            f"encoder has rows for {inside.sum()} of the {len(genes)} genes of adata: its rows are {some(encoder.index)}, "
            f"adata.var_names are {some(genes)}. Rename one side: encoder.index = ..."
        )
        raise ValueError(msg)
    if not np.isfinite(values[inside]).all():
        msg = "encoder holds NaN or infinite values. Drop those rows: encoder.dropna()."
        raise ValueError(msg)
    if not inside.all():
        logger.info("encoder: %d of %d genes have no vector and get one of zeros", (~inside).sum(), len(genes))
    return table_encoder(values, config.n_components)
