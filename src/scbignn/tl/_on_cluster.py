"""The inductive mode of `tl.predict` on a Dask cluster."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import h5py
import numpy as np
import scipy.sparse as sp
from anndata.abc import CSCDataset, CSRDataset
from anndata.io import sparse_dataset
from tqdm.auto import tqdm

from .._adata import ExpressionRows, in_columns
from .._check import Expression, is_usable, take_rows, undo_log1p
from ..annotation import Model, Prediction, Predictor
from ._learn import choose

#: Chunks that are under way at a time, for each thread of the cluster.
_AHEAD = 2


def check_client(client: Any) -> None:
    """A client of `dask.distributed` that waits for its results.

    Raises
    ------
    TypeError, ValueError
        It is not.
    """
    try:
        from distributed import Client
    except ImportError:
        Client = None
    if Client is None or not isinstance(client, Client):
        msg = (
            f"client is a {type(client).__name__}. Pass a dask.distributed.Client, which comes with "
            'pip install "scbignn[dask]", or leave it out.'
        )
        raise TypeError(msg)
    if client.asynchronous:
        msg = "client is asynchronous, which this function cannot wait for. Use Client(..., asynchronous=False)."
        raise ValueError(msg)


def predict_on_cluster(
    client: Any,
    rows: ExpressionRows,
    chunks: list[slice],
    model: Model,
    positions: np.ndarray,
    *,
    device: str,
    backend: str,
    refuse: Callable[[slice], None],
    progress: tqdm,
) -> list[Prediction]:
    """What the model says of each chunk of rows, in the order of the chunks.

    Every chunk is one task that Dask can compute anew from what the client and the scheduler hold: the model, and rows
    in memory, travel with the tasks; rows on disk are read by the worker; blocks of a Dask array are computed on the
    cluster. So a worker that dies loses nothing. Results are placed by the number of their chunk.

    Parameters
    ----------
    client
        Of a cluster whose workers have this package, and see the files that rows are read from.
    rows, chunks
        Expression of the query, and which rows go together.
    model, positions
        What was learned, and where its genes are among those of the query; -1 where one is missing.
    device, backend
        As in :func:`scbignn.tl.predict`, chosen anew on each worker.
    refuse
        Called with a chunk that a worker cannot use, to say why: workers do not know what cells are called.
    progress
        Moves on by one a chunk.

    Raises
    ------
    RuntimeError
        Workers died over one chunk again and again, or read other values than this process does.
    """
    import dask
    from distributed import KilledWorker, as_completed

    found: dict[int, Prediction] = {}
    # Dask would rather have large things scattered, but what was scattered is lost with the last worker that has it.
    large = dask.config.set({"distributed.admin.large-graph-warning-threshold": "1 TB"})
    with large, client.as_current():
        ready = client.submit(_Ready, model, positions, rows.expression, device, backend, pure=False)
        numbers, waiting = {}, enumerate(chunks)
        n_ahead = _AHEAD * max(1, sum(client.nthreads().values()))
        running = as_completed()

        def start(number: int, chunk: slice) -> None:
            task = client.submit(_predict, ready, _to_send(client, rows.matrix, chunk), pure=False)
            numbers[task] = number
            running.add(task)

        for number, chunk in islice(waiting, n_ahead):
            start(number, chunk)
        try:
            for task in running:
                number, part = numbers[task], task.result()
                if part is None:
                    refuse(chunks[number])
                    msg = f"Workers cannot use {_cells(chunks[number])}, but this process can. Let them read the same."
                    raise RuntimeError(msg)
                found[number] = part
                del numbers[task]
                progress.update()
                for number, chunk in islice(waiting, 1):
                    start(number, chunk)
        except KilledWorker as error:
            msg = (
                f"Workers died again and again over {_cells(chunks[numbers[task]])}, mostly a sign of too little "
                "memory. Use a smaller chunk_size, or workers with more memory."
            )
            raise RuntimeError(msg) from error
        finally:
            client.cancel(list(numbers))
    return [found[number] for number in range(len(chunks))]


class _Ready:
    """A model on a worker, which makes its predictor once; sent on, it leaves that behind."""

    def __init__(self, model: Model, positions: np.ndarray, expression: Expression, device: str, backend: str) -> None:
        self.model, self.positions, self.expression = model, positions, expression
        self.device, self.backend = device, backend

    def __reduce__(self) -> tuple[type, tuple[Any, ...]]:
        return _Ready, (self.model, self.positions, self.expression, self.device, self.backend)

    @cached_property
    def predictor(self) -> Predictor:
        device, engine = choose(self.device, self.backend)
        return Predictor(self.model, self.positions >= 0, device=device, engine=engine)


class _Stored(NamedTuple):
    """Rows of a matrix in an HDF5 file, which cannot be sent, but opened again."""

    path: str
    name: str
    rows: slice

    def read(self) -> sp.csr_matrix:
        try:
            file = h5py.File(self.path, "r")
        except OSError as error:
            msg = (
                f"a worker cannot read {self.path} ({error}). Every worker must see the file by this path, and nobody "
                'may have it open for writing: read it with backed="r".'
            )
            raise OSError(msg) from error
        with file:
            stored = file[self.name]
            return take_rows(stored if isinstance(stored, h5py.Dataset) else sparse_dataset(stored), self.rows)


class _Lazy(NamedTuple):
    """Rows of any other matrix that is not in memory, such as one in a zarr store, which can be sent as it is."""

    matrix: Any
    rows: slice

    def read(self) -> sp.csr_matrix:
        return take_rows(self.matrix, self.rows)


def _to_send(client: Any, matrix: Any, rows: slice) -> Any:
    """Rows as a task takes them."""
    if sp.issparse(matrix) or isinstance(matrix, np.ndarray):
        return matrix[rows]
    if hasattr(matrix, "compute"):
        return client.compute(matrix[rows])
    stored = matrix.group if isinstance(matrix, (CSRDataset, CSCDataset)) else matrix
    if isinstance(stored, (h5py.Group, h5py.Dataset)):
        return _Stored(str(Path(stored.file.filename).resolve()), stored.name, rows)
    return _Lazy(matrix, rows)


def _cells(chunk: slice) -> str:
    return f"cells {chunk.start} to {chunk.stop - 1}"


def _predict(ready: _Ready, rows: Any) -> Prediction | None:
    x = rows.read() if isinstance(rows, (_Stored, _Lazy)) else take_rows(rows, slice(None))
    if not is_usable(x):
        return None
    x = in_columns(undo_log1p(x, ready.expression), ready.positions)
    return ready.predictor.inductive(x) if np.diff(x.indptr).all() else None
