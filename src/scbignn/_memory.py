"""How much memory a run takes beside what is there already, said before it starts.

The arrays that each phase holds at once are counted; constants were set so that the estimate is close to, and rather above
than below, the peak that `benchmarks/memory.py` measures. All figures are bytes.
"""

from __future__ import annotations

import logging
import sys
from pathlib import Path
from typing import Literal

import psutil

from . import annotation, clustering
from ._expression import CHUNK_ROWS
from ._settings import settings
from .annotation._anchor import MOST_TRAINED
from .annotation._evidence import DECOMPOSED_CELLS, N_NEIGHBORS, N_SMOOTHED
from .annotation._linear import MINI_BATCH_CELLS, TOGETHER_CELLS
from .annotation._tokens import MAX_PAIRS, MAX_TOKENS
from .clustering._anchors import anchor_count, sets_a_batch
from .clustering._fit import POOL
from .clustering._scores import CHUNK
from .graph._knn import BLOCK_ENTRIES, BLOCK_ROWS, CANDIDATES

logger = logging.getLogger(__name__)

Phases = dict[str, float]
"""What each phase takes at its peak, by name."""

#: How much more often than other genes those of the panel are expressed.
_ENRICHMENT = 3.0
#: What solvers and networks take however small the data, and clustering without any; what is added for all that is not counted, and the share of
#: what earlier phases have freed that the allocator keeps to the end, and the most that it keeps.
_LEAST, _LEAST_CLUSTERING, _SLACK, _KEPT, _MOST_KEPT = 60e6, 20e6, 1.1, 0.6, 500e6


class Size:
    """What memory depends on: N cells, M genes, C labels.

    Parameters
    ----------
    n_cells, n_genes
        N and M.
    n_values
        Values of the matrix that are not zero.
    n_labels
        C.
    """

    def __init__(self, n_cells: int, n_genes: int, n_values: float, n_labels: int = 0) -> None:
        self.n, self.m, self.z, self.c = n_cells, n_genes, float(n_values), n_labels

    def panel(self, n_top_genes: int) -> float:
        """Values in the genes that enter the gene-level network, at most."""
        t = min(n_top_genes, self.m)
        return min(self.z, self.n * t, _ENRICHMENT * self.z * t / self.m)


def annotation_memory(
    size: Size, config: annotation.Config, *, n_labelled: int, form: Literal["sparse", "dense", "rows"] = "sparse"
) -> Phases:
    """Of `tl.annotate` without a reference, and of `tl.fit`.

    Parameters
    ----------
    size
        Of the data.
    config
        Settings.
    n_labelled
        Cells with a label.
    form
        A dense matrix is made sparse first; of one that is not in memory some rows are.
    """
    n, z = size.n, size.z
    per_cell = z / n
    chunk = 60 * per_cell * min(n, CHUNK_ROWS)
    if form == "rows":
        held, phases = 0.0, {"reading": chunk, "normalisation": chunk}
    else:
        held = 12 * z  # linear and normalised expression, which share their indices
        phases = {"reading": 20 * z + (16 * z + n * size.m if form == "dense" else 0), "normalisation": 36 * z}
    evidence = 0.0
    if config.has_components:
        n_scores = min(N_SMOOTHED, n, size.m)
        evidence = 4.0 * n * (n_scores + 2 * size.c)
        trained = min(n_labelled, MOST_TRAINED) * (per_cell + n_scores)  # a cell's genes and the mean of its neighbours
        machine = (20 + (36 if n_labelled <= MINI_BATCH_CELLS else 8)) * trained
        taught = n if n <= TOGETHER_CELLS else min(n_labelled, TOGETHER_CELLS)  # all, if most labels are but believed
        together = 16.0 * taught**2  # inner products, those of some cells, and what is added to them
        decomposed = 8.0 * per_cell * min(n, DECOMPOSED_CELLS) if n > DECOMPOSED_CELLS or form == "rows" else 0.0
        search = _search(n, N_NEIGHBORS, config.n_components + size.c)
        phases["linear methods"] = (
            held
            + evidence
            + max(16.0 * min(n, DECOMPOSED_CELLS) * n_scores + decomposed, search, machine, together, chunk)
        )
    phases |= _networks(size, config, held + evidence)
    phases["importance"] = held + evidence + 72.0 * min(config.n_top_genes, size.m) ** 2 + _matrices(config)
    return _in_order(phases)


def prediction_memory(size: Size, model: annotation.Model, mode: str, *, chunk_size: int) -> Phases:
    """Of `tl.predict`; `size` is that of the query in the genes of the model."""
    config, reference = model.config, model.reference
    n_reference, z_reference = len(reference.y), float(reference.x.nnz)
    dims = config.width if model.views is None else config.n_components + size.c
    n_scores = 0 if model.views is None else min(N_SMOOTHED, n_reference, size.m)
    if mode == "transductive":
        n = n_reference + size.n
        held = 28 * size.z + 8 * z_reference + 8.0 * n * (n_scores + 2 * size.c)
        both = Size(n, size.m, size.z + z_reference * size.m / max(1, len(model.panel)), size.c)
        search = _search(n, N_NEIGHBORS, dims) if n_scores else 0.0
        phases = {"prediction": held + search, **_networks(both, config, held)}
        return _in_order(phases)
    share = min(chunk_size, size.n) / size.n
    n, z = share * size.n, share * size.z
    own = 16 * z_reference + n_reference * (8.0 * dims + 4.0 * _width(config, size.c, dims))
    search = 4 * min(BLOCK_ENTRIES, n * n_reference)
    search += 8.0 * n * CANDIDATES * max(N_NEIGHBORS, config.n_neighbors) * dims
    chunk = (
        52 * z + 8.0 * n * n_scores + max(search, 4.0 * n * _width(config, size.c, dims), _activations(z / n, config))
    )
    results = 4.0 * size.n * (5 * size.c + 2 * config.width + 4)
    return _in_order({"prediction": own + chunk + results})


def clustering_memory(size: Size, config: clustering.Config, n_clusters: int | None, n_batches: int = 1) -> Phases:
    """Of `tl.cluster` and `tl.fit_clusters`; `n_clusters` is K, None where it is estimated."""
    n, g, d = size.n, min(config.n_top_genes, size.m), config.n_components
    k = n_clusters or config.max_clusters
    drawn, chunk = min(n, config.max_fit_cells), min(n, CHUNK)
    reading = 24 * size.z * chunk / n + 4.0 * chunk * g
    n_sets = config.n_anchor_sets if n_batches == 1 else n_batches * sets_a_batch(config, n_batches)
    joined = n_sets * config.n_nearest
    a_set = anchor_count(config, drawn, n, k)
    n_anchors = min(n_sets, 2 * config.n_anchor_sets) * a_set
    graph = 4.0 * n * d + 8.0 * n * joined
    others = 8.0 * drawn * joined * (1 + min(POOL, config.partitions - 1))
    phases = {
        "components": 8.0 * drawn * g + max(reading, 28.0 * g**2),
        "anchors": 4.0 * n * d + 8.0 * n * joined + 4.0 * chunk * a_set + 24.0 * drawn * d,
        "spectrum": graph + 24.0 * n_anchors**2 + 12.0 * n * k + 24.0 * drawn * max(k, d) + others,
        "results": graph + reading + 12.0 * n * (k + d) + 8.0 * n * joined,
    }
    if config.network:
        phases["network"] = graph + 8 * size.z * g / size.m + 12.0 * n * config.width + 24.0 * chunk * g
    return _in_order(phases, least=_LEAST_CLUSTERING)


def _networks(size: Size, config: annotation.Config, held: float) -> Phases:
    """Of both networks, cross-fitting and the slots, beside what is held."""
    n, c, panel = size.n, size.c, size.panel(config.n_top_genes)
    from_h = config.graph_from == "h"
    dims = config.width if from_h else config.n_components + c
    kept = held + 8 * panel + 4.0 * n * (4 * c + config.width)
    held = kept + 28 * panel
    if config.has_components:
        held += 12.0 * n * (config.n_components + 2 * c)
    edges = 100.0 * n * (config.n_neighbors + 1) * (2 if config.symmetric_graph else 1)
    learners = n if config.pool_size is None else min(n, 2 * config.pool_size)
    learning = (
        6.0 * max(learners, n / 5) * _width(config, c, config.n_components + 2 * c) + edges
    )  # a fifth to say of all
    again = 4.0 * n * (2 * c + config.width) if config.cross_fit_folds else 0.0
    thinned = 25 * panel * learners / n if config.gene_dropout else 0.0
    return {
        "gene-level network": held + thinned + _activations(panel / n, config),
        "cell-level network": held + again + max(_search(n, config.n_neighbors, dims), learning),
        "slots": kept + 80.0 * n * (config.n_neighbors + 1) + 8.0 * n * c,
    }


def _width(config: annotation.Config, n_labels: int, n_features: int) -> float:
    """Numbers that the cell-level network holds of a cell."""
    d, sees_genes = config.width, config.cell_input == "genes"
    d_z = (2 if sees_genes else 1) * d
    return (0 if sees_genes else n_features + n_labels) + 4 * d_z + 6 * config.n_cell_layers * d + 4 * n_labels


def _search(n: int, k: int, dims: int) -> float:
    """Of a search of k neighbours among n points."""
    found = 12.0 * n * k
    compared = 8.0 * min(n, BLOCK_ROWS) * CANDIDATES * k * dims
    return 4 * min(BLOCK_ENTRIES, float(n) ** 2) + found + compared + 12.0 * n * dims


def _activations(length: float, config: annotation.Config) -> float:
    """Of the positions that are worked on at a time, of cells with so many expressed genes."""
    return 48 * max(MAX_PAIRS / max(length, 1.0), MAX_TOKENS) * config.width * (1 + config.n_layers)


def _matrices(config: annotation.Config) -> float:
    """Of the attention matrices of a bucket, written out."""
    return MAX_PAIRS * (8 * config.n_heads + 24) if config.n_layers else 0.0


def _in_order(phases: Phases, *, least: float = _LEAST) -> Phases:
    """The phases with all that is not counted; the slots last, beside what is left of others."""
    phases = {name: least + _SLACK * taken for name, taken in phases.items()}
    if "slots" in phases:
        slots = phases.pop("slots")
        phases["slots"] = slots + min(_KEPT * max(phases.values()), _MOST_KEPT)
    return phases


def available_memory(root: Path = Path("/")) -> int:
    """Bytes that can be had without swapping, within what the process's control group may take (Linux).

    Parameters
    ----------
    root
        Where `proc` and `sys` lie.
    """
    return min(psutil.virtual_memory().available, *_left_to_groups(root))


def _left_to_groups(root: Path) -> list[int]:
    """What each control group that the process is in has left, where it is limited: version 2, and 1."""
    left = [sys.maxsize]
    try:
        lines = (root / "proc/self/cgroup").read_text(encoding="ascii").splitlines()
    except OSError:
        return left
    for line in lines:
        _, controllers, group = line.split(":", 2)
        if controllers and "memory" not in controllers.split(","):
            continue
        mount = root / ("sys/fs/cgroup/memory" if controllers else "sys/fs/cgroup")
        limit, used, cache = (
            ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
            if controllers
            else ("memory.max", "memory.current", "inactive_file")
        )
        folder = mount / group.lstrip("/")
        for place in (folder, *(parent for parent in folder.parents if parent.is_relative_to(mount))):
            try:
                most, taken = (int((place / name).read_text(encoding="ascii")) for name in (limit, used))
                stat = dict(row.split() for row in (place / "memory.stat").read_text(encoding="ascii").splitlines())
            except (OSError, ValueError):  # there is no such group here, or it has no limit, "max"
                continue
            left.append(max(0, most - taken + int(stat.get(cache, 0))))
    return left


def check_memory(verb: str, phases: Phases, mend: str) -> None:
    """Log what is needed, and do what `settings.memory_check` says where less is available.

    Parameters
    ----------
    verb
        What the log calls the run.
    phases
        What each phase needs.
    mend
        What takes less, as a sentence.

    Raises
    ------
    MemoryError
        Less is available, and the settings ask for an error.
    """
    if settings.memory_check == "off":
        return
    largest = max(phases, key=phases.__getitem__)
    needed, available = phases[largest], available_memory()
    for name, taken in phases.items():
        logger.debug("%s: about %s of memory for: %s", verb, _amount(taken), name)
    logger.info(
        "%s: about %s of memory needed beside what is there, at most for: %s; %s available",
        verb,
        _amount(needed),
        largest,
        _amount(available),
    )
    if needed <= available:
        return
    msg = (
        f"{verb} needs about {_amount(needed)} of memory beside what is there, at most for: {largest}; "
        f"{_amount(available)} are available. {mend}"
    )
    if settings.memory_check == "error":
        msg += ' Or try all the same: scbignn.settings.memory_check = "warn".'
        raise MemoryError(msg)
    logger.warning("%s", msg)


def _amount(size: float) -> str:
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{size / 1e6:.0f} MB"
