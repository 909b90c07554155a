"""scBERT (Yang et al. 2022): its published checkpoint, from a file of the user's, as an encoder of genes."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
import scipy.sparse as sp
import torch
import torch.nn.functional as F
from torch import Tensor

from .._check import counted, some
from ._performer import performer_attention
from ._pooling import CellStates

#: Of the names of the 16,906 genes that scBERT was trained on, in its order, joined by line ends.
PANEL_SHA256 = "4c09ba1912e184682fe5e7f32e2b443bdfb7883d0d0191551b38c6c2f155600f"
_N_PANEL = 16_906
_HEAD_WIDTH = 64
#: Expression bins 0 to 5, and one for genes that are hidden in training.
_N_TOKENS = 7
_HIGHEST_BIN = 5
#: Positions that pass a feed-forward layer together.
_CHUNK = 4096
_LAYER = "performer.net.layers"
#: Heads of fine-tuned models, which are not used.
_OTHER_HEADS = ("to_out.conv1.", "to_out.fc1.", "to_out.fc2.", "to_out.fc3.")


@dataclass(frozen=True, eq=False, repr=False)
class ScBert:
    """A checkpoint of scBERT and the genes it knows; made by :func:`read_scbert`, used as `encoder` of `tl.infer_grn`."""

    weights: dict[str, Tensor]
    """By the names of the checkpoint, float32."""
    genes: np.ndarray
    """(g,) names, in the order of the checkpoint."""
    panel: Literal["full", "dataset"] = "full"
    """Which genes of a cell are read: all that the model knows, those that the data lack as not expressed, which is how it
    was trained; or only those of the data, which is faster by as much as they are fewer."""

    @property
    def n_layers(self) -> int:
        """Attention layers."""
        return _depth(self.weights)

    def __repr__(self) -> str:
        return f"ScBert({self.n_layers} layers, {len(self.genes):,} genes, panel={self.panel!r})"

    def places(self, names: Sequence[str]) -> np.ndarray:
        """The place of each name among the model's genes, (n,) int64; -1 where it has none.

        Names are looked up as they are, and those it lacks in upper case, which most mouse genes share with their human
        namesakes. A place is taken once.
        """
        genes = pd.Index(self.genes)
        found = genes.get_indexer(pd.Index(names))
        upper = genes.get_indexer(pd.Index([str(name).upper() for name in names]))
        found = np.where(found < 0, np.where(np.isin(upper, found), -1, upper), found)
        again = pd.Series(found).duplicated().to_numpy() & (found >= 0)
        return np.where(again, -1, found)

    @torch.no_grad()
    def states(
        self, x: sp.csr_matrix, places: np.ndarray, device: torch.device, *, received: bool
    ) -> Iterator[CellStates]:
        """What the model makes of each cell, one at a time, so that a cell's result does not depend on others.

        Parameters
        ----------
        x
            Natural log1p of counts per 10,000, CSR, (n_cells, n).
        places
            What :meth:`places` found for the columns.
        received
            Compute attention too; else it is 1 for every gene.
        """
        w = {name: value.to(device) for name, value in self.weights.items()}
        inside = np.flatnonzero(places >= 0)
        full = self.panel == "full"
        position = np.arange(len(self.genes)) if full else places[inside]
        asked = torch.as_tensor(places[inside] if full else np.arange(len(inside)), device=device)
        # The last position of all, without a gene, closes every cell.
        about = w["pos_emb.emb.weight"][torch.as_tensor(np.append(position, len(self.genes)), device=device)]
        column = np.full(len(self.genes), -1)
        column[places[inside]] = inside
        column = column[position]
        for row in range(x.shape[0]):
            values = np.asarray(x[row].toarray(), dtype=np.float64).ravel()
            token = np.zeros(len(position) + 1, dtype=np.int64)
            token[:-1] = np.where(column >= 0, bins(values[column]), 0)
            h = w["token_emb.weight"][torch.as_tensor(token, device=device)] + about
            h, attention = _transform(h, w, self.n_layers, received=received)
            yield CellStates(h[asked], attention[asked])


def bins(values: np.ndarray) -> np.ndarray:
    """Tokens of log-values: log2(1 + counts per 10,000), cut off to whole numbers from 0 to 5."""
    return np.floor(np.minimum(values / math.log(2), _HIGHEST_BIN)).astype(np.int64)


def _transform(h: Tensor, w: dict[str, Tensor], n_layers: int, *, received: bool) -> tuple[Tensor, Tensor]:
    """All layers and the last norm, (L, d) -> (L, d), and the attention received, (L,), in units of its mean."""
    length, d = h.shape
    attention = h.new_zeros(length)
    for layer in range(n_layers):
        name = f"{_LAYER}.{layer}"
        normed = F.layer_norm(h, (d,), w[f"{name}.0.norm.weight"], w[f"{name}.0.norm.bias"])
        q, k, v = (
            (normed @ w[f"{name}.0.fn.to_{part}.weight"].T).unflatten(1, (-1, _HEAD_WIDTH)).transpose(0, 1)
            for part in "qkv"
        )
        projection = w[f"{name}.0.fn.fast_attention.projection_matrix"]
        mixed, own = performer_attention(q, k, v, projection, received=received)
        mixed = mixed.transpose(0, 1).flatten(1)
        h = h + F.linear(mixed, w[f"{name}.0.fn.to_out.weight"], w[f"{name}.0.fn.to_out.bias"])
        if own is not None:
            attention += own * (length / n_layers)
        del normed, q, k, v, mixed
        for start in range(0, length, _CHUNK):
            part = h[start : start + _CHUNK]
            normed = F.layer_norm(part, (d,), w[f"{name}.1.norm.weight"], w[f"{name}.1.norm.bias"])
            inner = F.gelu(F.linear(normed, w[f"{name}.1.fn.fn.w1.weight"], w[f"{name}.1.fn.fn.w1.bias"]))
            part += F.linear(inner, w[f"{name}.1.fn.fn.w2.weight"], w[f"{name}.1.fn.fn.w2.bias"])
    if not received:
        attention.fill_(1)
    return F.layer_norm(h, (d,), w["norm.weight"], w["norm.bias"]), attention


def read_scbert(
    path: str | Path,
    genes: str | Path | Sequence[str],
    *,
    panel: Literal["full", "dataset"] = "full",
    check_genes: bool = True,
) -> ScBert:
    """Read a checkpoint of scBERT, `panglao_pretrain.pth`, and check every tensor of it by name and shape.

    The weights are not part of this package: their licence is GPL-3.0, and its authors give them out. No code in the file
    is run.

    Parameters
    ----------
    path
        The checkpoint: 91 tensors, as they are or below `model_state_dict`. Fine-tuned models, whose head differs, do too.
    genes
        The 16,906 gene names in the order of the checkpoint, which does not hold them: a list, such as `var_names` of
        panglao_10000.h5ad, or a file: text with one a line, or JSON with a list or a mapping to places.
    panel
        Genes of a cell that are read; see :class:`ScBert`.
    check_genes
        Check the list by its hash. False is for models trained on other genes.

    Raises
    ------
    FileNotFoundError
        There is no such file.
    ValueError
        A file is of another kind, tensors are missing, unknown or of wrong shape, or the list is another one.
    """
    if panel not in ("full", "dataset"):
        msg = f'panel={panel!r} is unknown. Use panel="full" or "dataset".'
        raise ValueError(msg)
    weights = _checked_weights(_load(Path(path)), Path(path))
    names = _read_genes(genes)
    n_genes = len(weights["pos_emb.emb.weight"]) - 1
    if len(names) != n_genes:
        msg = (
            f"genes holds {counted(len(names), 'name')}, and {path} is of {n_genes:,} genes. Pass the list that the model was "
            "trained with, in its order."
        )
        raise ValueError(msg)
    if len(set(names)) < len(names):
        repeated = pd.Index(names)[pd.Index(names).duplicated()]
        msg = f"genes holds {some(repeated)} more than once. Pass the list that the model was trained with."
        raise ValueError(msg)
    if check_genes and hashlib.sha256("\n".join(names).encode()).hexdigest() != PANEL_SHA256:
        msg = (
            f"genes is not the list of scBERT's {_N_PANEL:,} genes in its order (its SHA-256 differs): it starts with "
            f"{some(names)}. Pass var_names of panglao_10000.h5ad, or check_genes=False for a model trained on others."
        )
        raise ValueError(msg)
    return ScBert(weights, np.array(names, dtype=object), panel)


def _load(path: Path) -> dict[str, Tensor]:
    """The state dictionary of a file, by names without the prefix of data-parallel training."""
    if not path.is_file():
        msg = f"there is no file {path}. Pass the path of scBERT's panglao_pretrain.pth."
        raise FileNotFoundError(msg)
    try:
        found = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        msg = f"{path} cannot be read as a torch checkpoint ({str(error).splitlines()[0]}). Pass panglao_pretrain.pth."
        raise ValueError(msg) from error
    if isinstance(found, dict) and isinstance(found.get("model_state_dict"), dict):
        found = found["model_state_dict"]
    if not isinstance(found, dict) or not found or not all(isinstance(value, Tensor) for value in found.values()):
        msg = f"{path} holds no dictionary of tensors. Pass panglao_pretrain.pth, or its model_state_dict."
        raise ValueError(msg)
    return {str(name).removeprefix("module."): value for name, value in found.items()}


def expected_shapes(n_genes: int, d: int, n_heads: int, n_layers: int, n_features: int) -> dict[str, tuple[int, ...]]:
    """The tensors of a pre-trained checkpoint by name; 91 of them with six layers."""
    inner = n_heads * _HEAD_WIDTH
    shapes: dict[str, tuple[int, ...]] = {
        "token_emb.weight": (_N_TOKENS, d),
        "pos_emb.emb.weight": (n_genes + 1, d),
        "performer.calls_since_last_redraw": (),
        "norm.weight": (d,),
        "norm.bias": (d,),
        "to_out.weight": (_N_TOKENS, d),
        "to_out.bias": (_N_TOKENS,),
    }
    for layer in range(n_layers):
        attention, forward = f"{_LAYER}.{layer}.0", f"{_LAYER}.{layer}.1"
        shapes |= {f"{part}.norm.{kind}": (d,) for part in (attention, forward) for kind in ("weight", "bias")}
        shapes |= {f"{attention}.fn.to_{part}.weight": (inner, d) for part in "qkv"}
        shapes[f"{attention}.fn.fast_attention.projection_matrix"] = (n_features, _HEAD_WIDTH)
        shapes |= {f"{attention}.fn.to_out.weight": (d, inner), f"{attention}.fn.to_out.bias": (d,)}
        shapes |= {f"{forward}.fn.fn.w1.weight": (4 * d, d), f"{forward}.fn.fn.w1.bias": (4 * d,)}
        shapes |= {f"{forward}.fn.fn.w2.weight": (d, 4 * d), f"{forward}.fn.fn.w2.bias": (d,)}
    return shapes


def _checked_weights(found: dict[str, Tensor], path: Path) -> dict[str, Tensor]:
    """What encoding needs, float32, after a check of everything."""
    first = f"{_LAYER}.0.0.fn"
    decisive = ("token_emb.weight", "pos_emb.emb.weight", f"{first}.to_q.weight")
    decisive += (f"{first}.fast_attention.projection_matrix",)
    absent = [name for name in decisive if name not in found or found[name].ndim != 2]
    if absent:
        msg = (
            f"{path} has no matrix {absent[0]!r}; it holds {some(list(found))}. Pass scBERT's panglao_pretrain.pth, or a model "
            "fine-tuned from it."
        )
        raise ValueError(msg)
    token, position, query, projection = (found[name] for name in decisive)
    shapes = expected_shapes(
        len(position) - 1, token.shape[1], len(query) // _HEAD_WIDTH, _depth(found), len(projection)
    )
    if any(name.startswith(_OTHER_HEADS) for name in found):
        shapes = {name: shape for name, shape in shapes.items() if not name.startswith("to_out.")}
        found = {name: value for name, value in found.items() if not name.startswith(_OTHER_HEADS)}
    missing = [name for name in shapes if name not in found]
    unknown = [name for name in found if name not in shapes]
    if missing or unknown:
        told = [f"lacks {some(missing)}"] if missing else []
        told += [f"has {some(unknown)}, which scBERT has not"] if unknown else []
        msg = f"{path} {' and '.join(told)}. Pass scBERT's panglao_pretrain.pth, or a model fine-tuned from it."
        raise ValueError(msg)
    for name, shape in shapes.items():
        if tuple(found[name].shape) != shape:
            msg = (
                f"{path}: {name!r} has the shape {tuple(found[name].shape)}, not {shape}. Pass scBERT's panglao_pretrain.pth, "
                "or a model fine-tuned from it."
            )
            raise ValueError(msg)
        if not torch.isfinite(found[name]).all():
            msg = f"{path}: {name!r} holds NaN or infinite values. The file is damaged: get it anew."
            raise ValueError(msg)
    unused = ("to_out.", "performer.calls")
    return {name: found[name].to(torch.float32) for name in shapes if not name.startswith(unused)}


def _depth(weights: dict[str, Tensor]) -> int:
    """How many layers there are: one more than the highest number."""
    numbers = [name.split(".")[3] for name in weights if name.startswith(f"{_LAYER}.")]
    return max((int(number) + 1 for number in numbers if number.isdigit()), default=0)


def _read_genes(genes: str | Path | Sequence[str]) -> list[str]:
    if not isinstance(genes, (str, Path)):
        return [str(name) for name in genes]
    path = Path(genes)
    if not path.is_file():
        msg = f"there is no file {path}. Pass the file, or a list, of the genes that scBERT was trained with."
        raise FileNotFoundError(msg)
    try:
        if path.suffix == ".json":
            found = json.loads(path.read_text(encoding="utf-8"))
            return [str(name) for name in (sorted(found, key=found.get) if isinstance(found, dict) else found)]
        return path.read_text(encoding="utf-8").split()
    except (OSError, ValueError, TypeError) as error:
        msg = f"{path} cannot be read as a list of genes ({error}). Pass a text file with one name a line, or a list."
        raise ValueError(msg) from error
