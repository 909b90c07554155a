"""Labels for cells that come after training: each by itself, or all of them together with the reference."""

from __future__ import annotations

from functools import cached_property, partial
from typing import Any, NamedTuple

import numpy as np
import scipy.sparse as sp
import torch
from torch import Tensor

from .._expression import normalize, scale_rows
from ..graph import Engine, Neighbors, SparseProduct, nearest_neighbors, neighbor_mean
from ._cell_gnn import Cells
from ._em import GeneLevel
from ._evidence import N_NEIGHBORS, Evidence, mean_with_self
from ._fit import fit
from ._guard import machine_probabilities
from ._model import Model
from ._neighbors import cell_graph, cell_neighbors, reference_neighbors
from ._tokens import Tokens

#: Cells of a query that tell how sure p may be of all.
_TOLD_BY = 4096


class Prediction(NamedTuple):
    """What a model says of n cells."""

    p: np.ndarray
    """(n, C) float32, cell-level probabilities, calibrated where the model can."""
    q: np.ndarray
    """(n, C) float32, gene-level probabilities."""
    h: np.ndarray
    """(n, d) float32."""
    novelty: np.ndarray | None = None
    """(n,) float32, how unlike every label a cell is; None where the model cannot tell."""


class Profiles(NamedTuple):
    """Normalised expression of n cells, in all of which the same genes are missing: observed + weight * filling.

    A gene that was not measured is no gene without counts: it takes its mean over the reference.
    """

    observed: sp.csr_matrix
    """(n, M) float32, zero at missing genes."""
    filling: np.ndarray
    """(M,) float32, zero at genes that were measured."""
    weight: np.ndarray
    """(n,) float32."""

    @property
    def shape(self) -> tuple[int, int]:
        """(n, M)."""
        return self.observed.shape

    def __matmul__(self, matrix: np.ndarray) -> np.ndarray:
        return self.observed @ matrix + self.weight[:, None] * (self.filling @ matrix)


def profiles(x: sp.csr_matrix, present: np.ndarray, model: Model) -> Profiles:
    """Normalise cells as the model's reference was.

    A cell's total is taken to be that of its measured genes, divided by their share of the counts in the reference.

    Parameters
    ----------
    x
        Expression on a linear scale, CSR, shape (n, M), the genes those of the model, no empty row.
    present
        Which of them were measured, bool, shape (M,).
    """
    share = model.gene_share[present].sum()
    observed = normalize(x, model.config.target_sum * share)
    filling = np.where(present, 0, model.gene_mean).astype(np.float32)
    weight = np.ones(x.shape[0], dtype=np.float32)
    if model.config.unit_rows:
        squares = np.asarray(observed.multiply(observed).sum(1)).ravel() + np.square(filling).sum()
        weight = (1 / np.sqrt(np.maximum(squares, 1e-24))).astype(np.float32)
        observed = scale_rows(observed, weight)
    return Profiles(observed, filling, weight)


class _Alone(NamedTuple):
    """What is known of n cells before they meet any other."""

    profiles: Profiles
    x: sp.csr_matrix
    """(n, T), the panel."""
    h: np.ndarray
    q: np.ndarray
    scores: np.ndarray | None
    gene_decisions: np.ndarray | None
    points: np.ndarray | None
    """(n, F), among which cells are neighbours, as linear methods see them."""


class Predictor:
    """A model on a device, ready for cells in which the given genes were measured.

    Parameters
    ----------
    model
        What was learned.
    present
        Which of the model's M genes were measured, bool.
    device, engine
        Where to compute, and what aggregates over a graph.
    """

    def __init__(self, model: Model, present: np.ndarray, *, device: torch.device, engine: Engine) -> None:
        self.model, self.present, self.device, self.engine = model, present, device, engine
        self.gene_gnn, self.cell_gnn = model.new_gene_gnn(device), model.new_cell_gnn(device)
        mean = model.gene_mean[model.panel].astype(np.float64)
        #: Share of the panel's expression that was measured: what the read-out of q divides by.
        self.share = max(mean[present[model.panel]].sum() / max(mean.sum(), 1e-12), 1e-3)

    @torch.no_grad()
    def inductive(self, x: sp.csr_matrix) -> Prediction:
        """Each cell by itself: p attaches it to its nearest cells of the reference, whose states stay as they are.

        Eq. 8 on a directed graph with edges from the cell to the reference, and none back. What is said of a cell does
        not depend on the others, to rounding.

        Parameters
        ----------
        x
            Expression on a linear scale, CSR, shape (n, M), the genes those of the model, no empty row.
        """
        config, alone = self.model.config, self._alone(x)
        features = decisions = novelty = near = None
        if self.model.views is not None:
            near = self._nearest_by_points(alone)
            cell_decisions = self._cell_decisions(alone, near)
            features = self._tensor(self.model.features(alone.scores, alone.gene_decisions, cell_decisions))
            decisions = self._tensor(cell_decisions) if config.anchor else None
            novelty = self._novelty(alone, cell_decisions)
        from_h = config.graph_from == "h"
        points, others = (alone.h, self.model.reference.h) if from_h else (alone.points, self._reference_points)
        if near is None or not self._searches_once:
            near = self._nearest_of_reference(points, others, config.n_neighbors)
        near = torch.from_numpy(near.first(config.n_neighbors).indices).to(self.device)

        def mean(others: Tensor, own: Tensor) -> Tensor:
            return (others[near].sum(1) + config.self_loops * own) / (near.shape[1] + config.self_loops)

        means = [partial(mean, others) for others in self._reference_messages]
        cells = Cells(self._genes(alone.x), features=features, decisions=decisions)
        unknown = torch.zeros(x.shape[0], len(self.model.labels), device=self.device) if config.mask_labels else None
        states = self.cell_gnn.states(cells, self._tensor(alone.h), means, unknown)
        p = self.cell_gnn.logits(states, decisions).softmax(1).cpu().numpy()
        return Prediction(self._labels(p, alone), alone.q, alone.h, novelty)

    def transductive(
        self, x: sp.csr_matrix, *, seed: int, transformer: Any = None
    ) -> tuple[Prediction, Neighbors | None]:
        """All cells together: they join the graph, and p is trained anew on known labels and on what q believes.

        Parameters
        ----------
        x
            As in :meth:`inductive`.
        seed
            Seeds p, and the rounds of EM where the config has any.
        transformer
            What searches neighbours; see :func:`scbignn.graph.nearest_neighbors`.

        Returns
        -------
        Prediction, and the learned graph among the n cells; None for a single cell.
        """
        model, reference, alone = self.model, self.model.reference, self._alone(x)
        n_reference, evidence, novelty = len(reference.y), None, None
        batches = self._with_query(x.shape[0])
        if model.views is not None:
            scores = np.vstack([reference.scores, alone.scores])
            gene = np.vstack([reference.gene_decisions, alone.gene_decisions])
            points = np.vstack([self._reference_points, alone.points])
            where = {"device": self.device, "seed": seed, "transformer": transformer}
            neighbors = cell_neighbors(points, self._n_averaged, model.config, batches, **where)
            mean_scores = (mean_with_self(neighbors) @ scores)[n_reference:]
            own = model.views.cell_level(alone.profiles, mean_scores)
            cell = np.vstack([reference.cell_decisions, own])
            evidence = Evidence(gene, cell, scores, model.n_components, model.views)
        h, q = np.vstack([reference.h, alone.h]), np.vstack([reference.q, alone.q])
        mine = slice(n_reference, None)
        found = fit(
            sp.vstack([reference.x, alone.x], format="csr"),
            np.concatenate([reference.y, np.full(x.shape[0], -1)]),
            len(model.labels),
            model.config,
            device=self.device,
            engine=self.engine,
            seed=seed,
            evidence=evidence,
            transformer=transformer,
            batches=batches,
            gene_level=GeneLevel(model.new_gene_gnn(self.device), h, q),
        )
        p = found.p[mine]
        if evidence is not None:
            novelty = self._novelty(alone, own, predicted=p.argmax(1))
        points = found.h if model.config.graph_from == "h" else evidence.points
        k, neighbors = min(model.config.n_neighbors, x.shape[0] - 1), None
        if k:
            neighbors = nearest_neighbors(points[mine], k, device=self.device, seed=seed, transformer=transformer)
        p = self._labels(p, alone, first=self._temperature(p, x, seed))
        return Prediction(p, found.q[mine], found.h[mine], novelty), neighbors

    @torch.no_grad()
    def _alone(self, x: sp.csr_matrix) -> _Alone:
        seen = profiles(x, self.present, self.model)
        panel = sp.csr_matrix(seen.observed[:, self.model.panel])
        scores = gene_decisions = points = offset = None
        if self.model.views is not None:
            scores, gene_decisions = self.model.views.scores(seen), self.model.views.gene(seen)
            points = self.model.views.points(scores, gene_decisions)
            offset = self._tensor(gene_decisions) if self.model.config.anchor else None
        tokens = Tokens(panel, self.device)
        tokens.share = self.share
        h = self.gene_gnn(tokens, np.arange(x.shape[0]))
        q = self.gene_gnn.logits(h, offset).softmax(1)
        return _Alone(seen, panel, h.cpu().numpy(), q.cpu().numpy(), scores, gene_decisions, points)

    def _nearest_by_points(self, alone: _Alone) -> Neighbors:
        """As many as are averaged; or as the graph of p has, if these are more and the same."""
        k = max(self._n_averaged, self.model.config.n_neighbors if self._searches_once else 0)
        return self._nearest_of_reference(alone.points, self._reference_points, k)

    def _cell_decisions(self, alone: _Alone, near: Neighbors) -> np.ndarray:
        """Of the machine on [x, A s], where a neighbourhood is the cell and its nearest of the reference."""
        near = near.first(self._n_averaged).indices
        total = self.model.reference.scores[near].sum(1) + alone.scores
        return self.model.views.cell_level(alone.profiles, total / (near.shape[1] + 1))

    def _temperature(self, p: np.ndarray, x: sp.csr_matrix, seed: int) -> float:
        """What makes p of a query that is looked at together, (n, C), as sure on the mean as it is of each cell by itself.

        What p learns of q's beliefs makes it less sure, and it was calibrated on cells of which it had learned nothing.
        """
        if self.model.trust is None or self.model.config.labels_from == "genes":
            return 1.0
        cells = np.sort(np.random.default_rng(seed).permutation(len(p))[:_TOLD_BY])
        by_itself = self.inductive(x[cells]).p
        return self.model.trust.calibration.temperature_for(p[cells], float(by_itself.max(1).mean()))

    def _labels(self, p: np.ndarray, alone: _Alone, *, first: float = 1.0) -> np.ndarray:
        """Probabilities, calibrated where that can be: p, or what the machine on genes says where the model goes by that."""
        if self.model.config.labels_from == "genes":
            p = machine_probabilities(alone.gene_decisions)
        return p if self.model.trust is None else self.model.trust.calibration.apply(p, first=first)

    def _novelty(
        self, alone: _Alone, cell_decisions: np.ndarray, predicted: np.ndarray | None = None
    ) -> np.ndarray | None:
        """How strange the cells are; with the labels predicted of them, once they are moved by what all have in common."""
        trust, components = self.model.trust, alone.scores[:, : self.model.n_components]
        if trust is None:
            return None
        if predicted is not None:
            components = components - trust.shapes.offset(components, predicted)
        return trust.score(components, cell_decisions)

    def _nearest_of_reference(self, queries: np.ndarray, points: np.ndarray, k: int) -> Neighbors:
        return reference_neighbors(
            queries, points, k, self.model.config, self.model.reference.batches, device=self.device
        )

    def _genes(self, x: sp.csr_matrix) -> SparseProduct | None:
        """Expression as p sees it, if it does."""
        return SparseProduct(x, self.device) if self.model.config.cell_input == "genes" else None

    def _with_query(self, n_cells: int) -> np.ndarray:
        """Batch codes of the reference, in which it is one where none are known, and of the query, one more."""
        reference = self.model.reference
        batches = np.zeros(len(reference.y), dtype=np.int64) if reference.batches is None else reference.batches
        return np.concatenate([batches, np.full(n_cells, batches.max() + 1)])

    @property
    def _searches_once(self) -> bool:
        """Whether the neighbours that are averaged and those of the graph of p are the first of the same."""
        config = self.model.config
        is_balanced = config.balanced_graph and self.model.reference.batches is not None
        return config.graph_from != "h" and not is_balanced

    @property
    def _n_averaged(self) -> int:
        return min(N_NEIGHBORS, len(self.model.reference.y) - 1)

    @cached_property
    def _reference_points(self) -> np.ndarray:
        reference = self.model.reference
        return self.model.views.points(reference.scores, reference.gene_decisions)

    @cached_property
    def _reference_messages(self) -> list[Tensor]:
        """What each layer of p averages of the reference, Z W_c; (N, d) each."""
        reference, network, features = self.model.reference, self.cell_gnn, None
        if self.model.views is not None:
            parts = reference.scores, reference.gene_decisions, reference.cell_decisions
            features = self._tensor(self.model.features(*parts))
        cells = Cells(self._genes(reference.x), features=features)
        mean = neighbor_mean(cell_graph(reference.neighbors, self.model.config), self.engine, self.device)
        means = [mean] * len(network.layers)
        states = network.states(cells, self._tensor(reference.h), means, self.model.known(self.device))
        return [layer.w_c(state) for layer, state in zip(network.layers, states[:-1], strict=True)]

    def _tensor(self, array: np.ndarray) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(array, dtype=np.float32)).to(self.device)
