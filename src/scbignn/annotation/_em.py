"""Variational EM between the gene-level GNN q and the cell-level GNN p (arXiv 2312.10310, Eqs. 1 and 9, Algorithm 1)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import scipy.sparse as sp
import torch
import torch.nn.functional as F
from torch import Tensor

from .._checkpoints import Keeper, below, prefixed
from .._expression import mean_and_variance
from .._ranks import ALONE, Ranks
from .._training import Epoch, Schedule, Step, progress_bar, train
from ..graph import Aggregate, Engine, Neighbors, SparseProduct, neighbor_mean
from ._anchor import label_believed
from ._cell_gnn import CellGNN, Cells
from ._config import Config
from ._draws import draw_labelled, validation_split
from ._evidence import Evidence, has_very_few
from ._gene_gnn import GeneGNN
from ._neighbors import cell_graph, cell_neighbors
from ._stages import Stage, n_pooled, stages
from ._tokens import Tokens

#: Labelled cells that set the scale of a new gene-level network.
_START_CELLS = 256
#: Cells of each label that the networks learn from as the anchor believes them to be, where labels are very few.
_BELIEVED_CELLS = 200
#: Cells in a batch of inference; buckets bound its memory.
_INFERENCE_BATCH = 2048


class _View(NamedTuple):
    """The cells that p looks at, n of them, by place: all of a run, or those drawn for one M-step."""

    train: Tensor
    """Places of training cells."""
    unlabelled: Tensor
    """Places of cells whose label p takes from q."""
    n_stood_for: tuple[int, int]
    """How many training and unlabelled cells of the run these stand for."""
    cells: Cells
    labels: Tensor
    """(n,) codes; -1 where unlabelled."""
    known: Tensor
    """(n, C) one-hot, zero where no training cell, and where its label is but believed."""
    h: Tensor
    q: Tensor
    mean: Aggregate


class Guess(NamedTuple):
    """The labels that one network gave all cells at the end of one of its steps."""

    round: int
    """0 is pre-training."""
    network: str
    """"q" or "p"."""
    labels: np.ndarray
    """(N,) int64, codes."""


@dataclass(frozen=True)
class Fit:
    """What EM learned about N cells, T genes, C labels."""

    p: np.ndarray
    """(N, C) float32, cell-level probabilities."""
    q: np.ndarray
    """(N, C) float32, gene-level probabilities."""
    h: np.ndarray
    """(N, d) float32, the embedding that the last graph was built from."""
    neighbors: Neighbors
    """The learned kNN graph of h."""
    gene_gnn: GeneGNN
    cell_gnn: CellGNN
    features_center: np.ndarray | None
    """(F,) float32, what was taken from the features of p, and what they were then divided by; None without features."""
    features_scale: np.ndarray | None
    history: list[dict[str, Any]]
    """One row an epoch: round, step, epoch, loss, val_loss, val_accuracy, selected."""
    guesses: list[Guess]
    """Of q and of p in turn, as far as one learned from the other."""


class GeneLevel(NamedTuple):
    """A gene-level network that has learned, and what it says of N cells."""

    gene_gnn: GeneGNN
    """On the device of the run."""
    h: np.ndarray
    """(N, d)."""
    q: np.ndarray
    """(N, C)."""
    neighbors: Neighbors | None = None
    """The learned graph, where it is known already."""


class EM:
    """The two networks, the cells they see, and the beliefs they hand each other."""

    def __init__(
        self,
        x: sp.csr_matrix,
        y: np.ndarray,
        n_labels: int,
        config: Config,
        *,
        device: torch.device,
        engine: Engine,
        seed: int,
        evidence: Evidence | None = None,
        transformer: Any = None,
        batches: np.ndarray | None = None,
        ranks: Ranks = ALONE,
    ) -> None:
        self.ranks = ranks
        self.config, self.device, self.engine, self.seed, self.n_labels = config, device, engine, seed, n_labels
        self.transformer, self.batches = transformer, batches
        self.generator = torch.Generator(device).manual_seed(seed)
        self.tokens = Tokens(x, device)
        rng = np.random.default_rng(seed)
        self.train_cells, self.validation_cells = validation_split(y, config.validation_fraction, rng)
        self.known = torch.zeros(len(y), n_labels, device=device)
        self.known[self.train_cells, y[self.train_cells]] = 1
        if evidence is not None and has_very_few(config, y, n_labels):
            y = label_believed(evidence.cell_decisions, y, _BELIEVED_CELLS, rng)
            self.train_cells = np.setdiff1d(np.flatnonzero(y >= 0), self.validation_cells)
        self.labels = torch.from_numpy(y).to(device)
        # Validation cells train as unlabelled ones do: their expression is seen, their labels are not.
        self.unlabelled_cells = np.setdiff1d(np.arange(len(y)), self.train_cells)
        gene_mean, gene_variance = (torch.tensor(part, device=device) for part in mean_and_variance(x))
        self.x = x
        genes = SparseProduct(x, device) if config.cell_input == "genes" else None
        self.cells = Cells(genes, gene_mean.float(), gene_variance.sqrt().float())
        self.decisions = self.points = self.known_neighbors = self.features_center = self.features_scale = None
        if evidence is not None:
            self._see(evidence)
        self.mean_total = max(float(x[self.train_cells].sum(1).mean()), 1e-6)
        self.gene_gnn, self.cell_gnn = self.new_gene_gnn(0), None
        self.q = self.p = self.h = self.neighbors = None
        self.gene_level_is_known = False
        self.history: list[dict[str, Any]] = []
        self.guesses: dict[str, Tensor] = {}

    def new_gene_gnn(self, round_: int) -> GeneGNN:
        init = self._init_generator(round_)
        network = GeneGNN(
            self.config,
            self.tokens.shape[1],
            self.n_labels,
            mean_length=max(1.0, float(self.tokens.lengths.mean())),
            mean_total=self.mean_total,
            init=init,
            noise=self.generator,
        ).to(self.device)
        order = torch.randperm(len(self.train_cells), generator=init).numpy()
        network.start(self.tokens, self.train_cells[order[:_START_CELLS]])
        return network

    def new_cell_gnn(self, round_: int, view: _View) -> CellGNN:
        init = self._init_generator(round_)
        network = CellGNN(
            self.config,
            self.tokens.shape[1],
            self.n_labels,
            n_features=0 if self.cells.features is None else self.cells.features.shape[1],
            init=init,
            noise=self.generator,
        ).to(self.device)
        network.start(view.cells, view.h, view.mean)
        return network

    def _see(self, evidence: Evidence) -> None:
        parts = evidence.components, evidence.gene_decisions, evidence.cell_decisions
        components, gene, cell = (torch.from_numpy(part).to(self.device) for part in parts)
        features = torch.cat([components, gene, cell], dim=1)
        self.features_center, self.features_scale = features.mean(0), features.std(0).clamp(min=1e-6)
        features = (features - self.features_center) / self.features_scale
        self.decisions = gene if self.config.anchor else None
        self.cells = self.cells._replace(features=features, decisions=cell if self.config.anchor else None)
        self.points, self.known_neighbors = evidence.points, evidence.neighbors

    def take(self, gene_level: GeneLevel) -> None:
        """Go on from a q that has learned elsewhere."""
        self.gene_gnn = gene_level.gene_gnn
        self.h, self.q = (torch.from_numpy(belief).to(self.device) for belief in (gene_level.h, gene_level.q))
        self.neighbors, self.gene_level_is_known = gene_level.neighbors or self._nearest_neighbors(), True

    def _init_generator(self, round_: int) -> torch.Generator:
        return torch.Generator().manual_seed(int(np.random.SeedSequence([self.seed, round_]).generate_state(1)[0]))

    # --- stages -----------------------------------------------------------------------------------------------------

    def stages(self) -> list[Stage]:
        """What :meth:`run` is to do."""
        return stages(self.config, len(self.train_cells), len(self.unlabelled_cells))

    def run(self, stages: list[Stage], *, keeper: Keeper) -> None:
        """The stages one after another, but for those that the keeper has."""
        for number, (round_, step, schedule) in enumerate(stages):
            if number < keeper.n_finished:
                continue
            stage = {"pretrain": self.pretrain, "M": self.m_step, "E": self.e_step}[step]
            name = f"{step}-step {round_}" if round_ else "pre-training"
            with progress_bar(schedule.n_epochs, name=name, shown=self.ranks.is_first) as bar:
                epochs = stage(round_, schedule, progress=bar, keeper=keeper, ranks=self.ranks)
            self.history += [{"round": round_, "step": step, "epoch": at, **vars(row)} for at, row in enumerate(epochs)]
            keeper.finish_stage(self.tensors(), self.history)

    def pretrain(self, _round: int, schedule: Schedule, **loop: Any) -> list[Epoch]:
        """Cross-entropy of q on labelled cells."""

        def run_epoch(step: Step) -> float:
            drawn = self._shuffled(self.train_cells)[: self.config.pool_size]
            total, tokens = 0.0, self._tokens_of_epoch(drawn)
            for cells in np.array_split(drawn, schedule.steps_per_epoch):
                logits = self._gene_logits(cells, tokens)
                loss = self._cross_entropy(logits, self.labels[self._tensor(cells)]).mean()
                step(loss)
                total += loss.item()
            return total / schedule.steps_per_epoch

        return train(self.gene_gnn, run_epoch, self._validator(self._gene_logits), schedule, **loop)

    def m_step(self, round_: int, schedule: Schedule, **loop: Any) -> list[Epoch]:
        """Eq. 9 for theta: p learns the labels of V_L and pseudo-labels y ~ q on V_U, on the graph of the new h."""
        if not self.gene_level_is_known:
            self._gene_beliefs()
        self.guesses[f"{round_ - 1} q"] = self.q.argmax(1)
        everyone = self._everyone()
        view = self._drawn_view(round_) or everyone
        if self.cell_gnn is None or not self.config.warm_start:
            self.cell_gnn = self.new_cell_gnn(round_, view)
        weights = self._confidence(view.q[view.unlabelled])
        n_train, n_unlabelled = view.n_stood_for
        share = len(view.unlabelled) / max(1, n_unlabelled)

        def run_epoch(step: Step) -> float:
            hidden = self._hidden_cells(view.train)
            logits = self._cell_logits(view, hidden)
            known = self._cross_entropy(logits[hidden], view.labels[hidden]).mean() * n_train
            pseudo = self._pseudo_labels(view.q[view.unlabelled])
            believed = (weights * self._cross_entropy(logits[view.unlabelled], pseudo)).sum() / max(share, 1e-12)
            loss = (known + believed) / len(self.labels)
            step(loss)
            return loss.item()

        nothing = view.train[:0]
        validate = self._validator(lambda cells: self._cell_logits(everyone, nothing)[self._tensor(cells)])
        epochs = train(self.cell_gnn, run_epoch, validate, schedule, **loop)
        self._cell_beliefs(everyone)
        self.guesses[f"{round_} p"] = self.p.argmax(1)
        return epochs

    def e_step(self, round_: int, schedule: Schedule, **loop: Any) -> list[Epoch]:
        """Eq. 9 for phi: q learns pseudo-labels y ~ p on V_U and, weighted by beta, the labels of V_L."""
        self.gene_level_is_known = False
        if not self.config.warm_start:
            self.gene_gnn = self.new_gene_gnn(round_)
        n_labelled, n_unlabelled = len(self.train_cells), len(self.unlabelled_cells)
        train_cells, unlabelled_cells = self._drawn(round_)
        share = n_unlabelled / (n_labelled + n_unlabelled) if self.config.e_step_weights == "sums" else 0.5

        def run_epoch(step: Step) -> float:
            n_cells = schedule.steps_per_epoch * self.config.batch_size
            streams = [self._stream(cells, n_cells) for cells in (train_cells, unlabelled_cells)]
            total, tokens = 0.0, self._tokens_of_epoch(np.concatenate(streams))
            batches = zip(*(np.split(stream, schedule.steps_per_epoch) for stream in streams), strict=True)
            for labelled, unlabelled in batches:
                logits = self._gene_logits(np.concatenate([labelled, unlabelled]), tokens)
                belief = self.p[self._tensor(unlabelled)]
                known = self._cross_entropy(logits[: len(labelled)], self.labels[self._tensor(labelled)]).mean()
                pseudo = self._cross_entropy(logits[len(labelled) :], self._pseudo_labels(belief))
                believed = (self._confidence(belief) * pseudo).mean()
                loss = share * believed + self.config.beta * (1 - share) * known
                step(loss)
                total += loss.item()
            return total / schedule.steps_per_epoch

        return train(self.gene_gnn, run_epoch, self._validator(self._gene_logits), schedule, **loop)

    # --- beliefs ----------------------------------------------------------------------------------------------------

    @torch.no_grad()
    def _gene_beliefs(self) -> None:
        """Set h and q of every cell, and the kNN graph of h."""
        self.gene_gnn.eval()
        everyone = np.arange(len(self.labels))
        batches = np.array_split(everyone, -(-len(everyone) // _INFERENCE_BATCH))
        self.h = torch.cat([self._gene_states(cells, self.tokens) for cells in batches])
        self.q = self.gene_gnn.logits(self.h, self.decisions).softmax(1)
        if self.neighbors is None or self.config.graph_from == "h":
            self.neighbors = self._nearest_neighbors()

    def _nearest_neighbors(self, cells: np.ndarray | None = None) -> Neighbors:
        """The learned graph of all cells, or of some."""
        k, found, from_h = self.config.n_neighbors, self.known_neighbors, self.config.graph_from == "h"
        is_balanced = self.batches is not None and self.config.balanced_graph
        if cells is None and not from_h and not is_balanced and found is not None and k <= found.indices.shape[1]:
            return found.first(k)
        points, batches = self.h.cpu().numpy() if from_h else self.points, self.batches
        if cells is not None:
            points, k, batches = points[cells], min(k, len(cells) - 1), None if batches is None else batches[cells]
        where = {"device": self.device, "seed": self.seed, "transformer": self.transformer}
        return cell_neighbors(points, k, self.config, batches, **where)

    @torch.no_grad()
    def _cell_beliefs(self, everyone: _View) -> None:
        """Set p of every cell; no cell sees its own label, so labelled ones are predicted in two halves."""
        self.cell_gnn.eval()
        train_cells = everyone.train
        self.p = self._cell_logits(everyone, train_cells[:0]).softmax(1)
        if self.config.mask_labels:
            half = torch.rand(len(train_cells), generator=self.generator, device=self.device) < 0.5
            for hidden in (train_cells[half], train_cells[~half]):
                self.p[hidden] = self._cell_logits(everyone, hidden)[hidden].softmax(1)

    def _hidden_cells(self, train_cells: Tensor) -> Tensor:
        """Training cells whose label p is to learn without seeing it; never none."""
        if not self.config.mask_labels:
            return train_cells
        shown = torch.rand(len(train_cells), generator=self.generator, device=self.device) < self.config.mask_labels
        shown[torch.randint(len(shown), (1,), generator=self.generator, device=self.device)] = False
        return train_cells[~shown]

    def _everyone(self) -> _View:
        return _View(
            self._tensor(self.train_cells),
            self._tensor(self.unlabelled_cells),
            (len(self.train_cells), len(self.unlabelled_cells)),
            self.cells,
            self.labels,
            self.known,
            self.h,
            self.q,
            self._mean_over(self.neighbors),
        )

    def _drawn_view(self, round_: int) -> _View | None:
        """The cells that this round's M-step learns from, on a graph of their own; None where it learns from all."""
        train_cells, unlabelled = self._drawn(round_)
        n_all = len(self.train_cells), len(self.unlabelled_cells)
        if (len(train_cells), len(unlabelled)) == n_all:
            return None
        numbers = np.union1d(train_cells, unlabelled)
        places = self._tensor(numbers)
        parts = (None if part is None else part[places] for part in (self.cells.features, self.cells.decisions))
        features, decisions = parts
        x = None if self.cells.x is None else SparseProduct(self.x[numbers], self.device)
        known = self.known.new_zeros(len(numbers), self.n_labels)
        at = self._tensor(np.searchsorted(numbers, train_cells))
        known[at] = self.known[self._tensor(train_cells)]
        return _View(
            at,
            self._tensor(np.searchsorted(numbers, unlabelled)),
            n_all,
            self.cells._replace(x=x, features=features, decisions=decisions),
            self.labels[places],
            known,
            self.h[places],
            self.q[places],
            self._mean_over(self._nearest_neighbors(numbers)),
        )

    def _drawn(self, round_: int) -> tuple[np.ndarray, np.ndarray]:
        """Training and unlabelled cells that a step of this round learns from, each ascending."""
        rng = np.random.default_rng([self.seed, round_])
        train_cells, unlabelled = self.train_cells, self.unlabelled_cells
        if n_pooled(self.config, len(train_cells)) < len(train_cells):
            train_cells = train_cells[draw_labelled(self.labels.cpu().numpy()[train_cells], self.config.pool_size, rng)]
        if n_pooled(self.config, len(unlabelled)) < len(unlabelled):
            unlabelled = np.sort(rng.choice(unlabelled, self.config.pool_size, replace=False))
        return train_cells, unlabelled

    def _mean_over(self, neighbors: Neighbors) -> Aggregate:
        return neighbor_mean(cell_graph(neighbors, self.config), self.engine, self.device)

    def _gene_logits(self, cells: np.ndarray, tokens: Tokens | None = None) -> Tensor:
        h = self._gene_states(cells, tokens or self.tokens)
        return self.gene_gnn.logits(h, None if self.decisions is None else self.decisions[self._tensor(cells)])

    def _gene_states(self, cells: np.ndarray, tokens: Tokens) -> Tensor:
        """h of the given cells, (b, d), of which each process computes its share up to the norm."""
        if self.ranks.size == 1:
            return self.gene_gnn(tokens, cells)
        own = tokens.by_length(cells)
        if self.gene_gnn.is_padded(tokens):
            own = own[self.ranks.share(tokens.costs_of_padded(cells[own]))]
        else:
            own = own[self.ranks.deal(len(cells))]
        part = self.gene_gnn.pooled(tokens, cells[own])
        return self.gene_gnn.norm(self.ranks.assemble(part, own, len(cells)))

    def _tokens_of_epoch(self, cells: np.ndarray) -> Tokens:
        share = 1 - self.config.gene_dropout
        return self.tokens if share == 1 else self.tokens.thinned(share, self.generator, cells)

    def _cell_logits(self, view: _View, hidden: Tensor) -> Tensor:
        """Logits of its cells, where p is shown the labels of all training cells but the hidden ones, if any."""
        known = view.known.index_fill(0, hidden, 0) if self.config.mask_labels else None
        return self.cell_gnn(view.cells, view.h, view.mean, known)

    def _cross_entropy(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Of each cell, (n,); `labels` are codes (n,) or probabilities (n, C)."""
        return F.cross_entropy(logits, labels, reduction="none", label_smoothing=self.config.label_smoothing)

    def _confidence(self, belief: Tensor) -> Tensor:
        """How much an unlabelled cell of the given probabilities (n, C) counts, (n,)."""
        return belief.amax(1) ** self.config.confidence_power

    def _pseudo_labels(self, belief: Tensor) -> Tensor:
        """What stands for the unknown labels in a loss: codes (n,), or with "soft" the belief itself (n, C)."""
        if self.config.pseudo_labels == "soft":
            return belief
        if self.config.pseudo_labels == "hard":
            return belief.argmax(1)
        return torch.multinomial(belief, 1, generator=self.generator)[:, 0]

    def _validator(self, logits: Callable[[np.ndarray], Tensor]) -> Callable[[], tuple[float, float]] | None:
        """Loss and accuracy of `logits` on the validation cells; None where there are none."""
        if not len(self.validation_cells):
            return None
        labels = self.labels[self._tensor(self.validation_cells)]

        @torch.no_grad()
        def validate() -> tuple[float, float]:
            found = logits(self.validation_cells)
            return F.cross_entropy(found, labels).item(), (found.argmax(1) == labels).float().mean().item()

        return validate

    # --- random streams of cells ------------------------------------------------------------------------------------

    def _shuffled(self, cells: np.ndarray) -> np.ndarray:
        order = torch.randperm(len(cells), generator=self.generator, device=self.device)
        return cells[order.cpu().numpy()]

    def _stream(self, cells: np.ndarray, length: int) -> np.ndarray:
        """`length` cells: one shuffle of all after another."""
        return np.concatenate([self._shuffled(cells) for _ in range(-(-length // len(cells)))])[:length]

    def _tensor(self, cells: np.ndarray) -> Tensor:
        return torch.from_numpy(cells).to(self.device)

    # --- state ------------------------------------------------------------------------------------------------------

    def tensors(self) -> dict[str, Tensor]:
        """What the stages to come depend on."""
        if self.cell_gnn is None:
            return prefixed(gene_gnn=self.gene_gnn.state_dict())
        beliefs = {"p": self.p, "q": self.q, "h": self.h}
        networks = {"gene_gnn": self.gene_gnn.state_dict(), "cell_gnn": self.cell_gnn.state_dict()}
        return prefixed(**networks, beliefs=beliefs, guesses=self.guesses)

    def restore(self, tensors: dict[str, Tensor], history: list[dict[str, Any]]) -> None:
        """The inverse of :meth:`tensors`; nothing where no stage was finished."""
        if not tensors:
            return
        self.gene_gnn.load_state_dict(below(tensors, "gene_gnn"))
        self.history, self.guesses = list(history), below(tensors, "guesses")
        if history and history[-1]["step"] == "E":
            self.gene_level_is_known = False
        beliefs = below(tensors, "beliefs")
        if beliefs:
            self.p, self.q, self.h = (beliefs[name].to(self.device) for name in "pqh")
            self.neighbors = self._nearest_neighbors()
            self.cell_gnn = self.new_cell_gnn(0, self._everyone())
            self.cell_gnn.load_state_dict(below(tensors, "cell_gnn"))

    def result(self) -> Fit:
        """p, and what it rests on, from the last M-step."""
        tensors = self.p, self.q, self.h, self.features_center, self.features_scale
        p, q, h, center, scale = (None if tensor is None else tensor.cpu().numpy() for tensor in tensors)
        return Fit(
            p=p,
            q=q,
            h=h,
            neighbors=self.neighbors,
            gene_gnn=self.gene_gnn,
            cell_gnn=self.cell_gnn,
            features_center=center,
            features_scale=scale,
            history=self.history,
            guesses=sorted(
                (_guess(name, labels) for name, labels in self.guesses.items()), key=lambda guess: guess[:2]
            ),
        )


def _guess(name: str, labels: Tensor) -> Guess:
    round_, network = name.split()
    return Guess(int(round_), network, labels.cpu().numpy())
