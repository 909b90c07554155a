"""Small problems for the tests: data, settings, networks."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp
import torch
from torch import nn

from scbignn import clustering
from scbignn.annotation import Config
from scbignn.annotation._cell_gnn import CellGNN
from scbignn.annotation._gene_gnn import GeneGNN

CPU = torch.device("cpu")

#: Two epochs of the network of clustering, one of them with the clustering loss.
CLUSTERING_NETWORK = clustering.Config(
    network=True,
    width=8,
    n_heads=2,
    n_epochs=2,
    warm_up_epochs=1,
    n_tokens=4,
    clustering_weight=0.1,
    n_anchors=20,
    n_anchor_sets=2,
)

#: Every field is given, so that no test rests on a default.
_TINY = {
    "n_top_genes": 12,
    "gene_panel": "variance",
    "top_genes_from": "all",
    "genes_within_batches": True,
    "target_sum": 1e4,
    "unit_rows": False,
    "anchor": False,
    "n_components": 4,
    "anchor_refits": 0,
    "few_labels": 50,
    "labels_from": "p",
    "gene_width": 6,
    "width": 8,
    "n_layers": 1,
    "n_heads": 2,
    "read_out": "learned",
    "scale_attention": False,
    "residual": False,
    "layer_norm": False,
    "batch_norm": False,
    "dropout": 0.0,
    "gene_dropout": 0.0,
    "cell_input": "genes",
    "mask_labels": 0.0,
    "graph_from": "h",
    "n_neighbors": 3,
    "symmetric_graph": False,
    "balanced_graph": False,
    "self_loops": False,
    "n_cell_layers": 2,
    "n_rounds": 1,
    "pseudo_labels": "sample",
    "confidence_power": 0.0,
    "label_smoothing": 0.0,
    "beta": 1.0,
    "e_step_weights": "sums",
    "warm_start": True,
    "final_m_step": True,
    "decoupled_weight_decay": False,
    "gene_learning_rate": 1e-2,
    "e_step_learning_rate": 1e-2,
    "cell_learning_rate": 1e-2,
    "gene_weight_decay": 1e-5,
    "cell_weight_decay": 1e-5,
    "pretrain_epochs": 3,
    "pretrain_updates": 1,
    "e_step_epochs": 3,
    "e_step_updates": 1,
    "m_step_updates": 4,
    "patience": 100.0,
    "batch_size": 8,
    "validation_fraction": 0.2,
    "cross_fit_folds": 0,
    "cross_fit_batches": True,
    "min_count": 1,
}

#: Small networks of the default method, which learn in a second.
SIZES = {
    "n_top_genes": 30,
    "gene_width": 8,
    "width": 8,
    "n_heads": 2,
    "n_cell_layers": 2,
    "n_neighbors": 5,
    "pretrain_epochs": 3,
    "pretrain_updates": 1,
    "m_step_updates": 20,
    "batch_size": 16,
}
SMALL = Config(**SIZES)
#: Hardly trained, for what needs no learning.
FAST = Config(**SIZES | {"m_step_updates": 2, "anchor_refits": 0})


def tiny(**changes: object) -> Config:
    return Config(**{**_TINY, **changes})


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def expression(n_cells: int = 20, n_genes: int = 12, *, density: float = 0.4, seed: int = 0, empty: tuple = ()):
    """Normalised expression with varying numbers of expressed genes; the cells in `empty` express none."""
    rng = np.random.default_rng(seed)
    shown = rng.random((n_cells, n_genes)) < density * rng.uniform(0.3, 2.0, (n_cells, 1))
    shown[np.arange(n_cells), rng.integers(n_genes, size=n_cells)] = True
    x = np.where(shown, rng.uniform(0.2, 2.0, (n_cells, n_genes)), 0)
    x[list(empty)] = 0
    return sp.csr_matrix(x, dtype=np.float32)


def labelled(n_cells: int = 36, n_genes: int = 12, n_labels: int = 3, *, hidden: float = 0.4, seed: int = 0):
    """Expression in which each label raises some genes, and codes with -1 on a share of the cells."""
    rng = np.random.default_rng(seed)
    kind = np.arange(n_cells) % n_labels
    rate = np.where(np.arange(n_genes) % n_labels == kind[:, None], 3.0, 0.5)
    x = rng.poisson(rate)
    x[np.arange(n_cells), kind] += 1
    y = np.where(rng.random(n_cells) < hidden, -1, kind)
    y[:n_labels] = np.arange(n_labels)
    y[-1] = -1
    return sp.csr_matrix(np.log1p(x), dtype=np.float32), y.astype(np.int64)


def shaken(module: nn.Module, seed: int = 0, size: float = 0.4) -> nn.Module:
    """The module with random values in all of its parameters, whatever they started from."""
    draws = generator(seed)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(size * torch.randn(parameter.shape, generator=draws))
    return module


def gene_gnn(
    config: Config, n_genes: int = 12, n_labels: int = 3, *, mean_length: float = 5.0, seed: int = 0
) -> GeneGNN:
    network = GeneGNN(config, n_genes, n_labels, mean_length=mean_length, init=generator(), noise=generator(1))
    return shaken(network, seed).eval()


def cell_gnn(config: Config, n_genes: int = 12, n_labels: int = 3, *, seed: int = 0) -> CellGNN:
    return shaken(CellGNN(config, n_genes, n_labels, init=generator(), noise=generator(1)), seed).eval()


def weights(module: nn.Module) -> dict[str, np.ndarray]:
    return {name: value.detach().double().numpy().copy() for name, value in module.state_dict().items()}


def alpha(network: GeneGNN) -> np.ndarray | None:
    """The weight of each gene in the read-out, or None where that is the mean."""
    read_out = network.read_out
    return read_out.alpha.detach().double().numpy() / read_out.mean_length if hasattr(read_out, "alpha") else None


def as_stored(x: sp.csr_matrix) -> list[bytes]:
    """A sparse matrix as it lies in memory, to compare bit for bit."""
    return [x.data.tobytes(), x.indices.tobytes(), x.indptr.tobytes()]
