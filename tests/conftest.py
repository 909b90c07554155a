"""Data and settings that the tests share."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from anndata import AnnData

import scbignn
from scbignn.annotation import Config, calibrate, calibration_record

matplotlib.use("agg")


def pytest_configure(config: pytest.Config) -> None:
    """The processes that run tests, if they start later, have one core each: their libraries are to use no more."""
    if config.getoption("numprocesses", None):
        for library in ("OMP", "OPENBLAS", "MKL", "NUMBA"):
            os.environ.setdefault(f"{library}_NUM_THREADS", "1")


@pytest.fixture(autouse=True, scope="session")
def no_progress_bars() -> Iterator[None]:
    with scbignn.settings.override(progress=False):
        yield


@pytest.fixture(scope="session", params=["paper", "default"])
def fast(request: pytest.FixtureRequest) -> Config:
    """Enough training to run every step of the published method and of ours, not enough to learn much."""
    kind = {"paper": Config.paper, "default": Config}[request.param]
    return kind(
        labels_from="p",
        n_top_genes=30,
        gene_width=8,
        width=8,
        n_heads=2,
        n_cell_layers=2,
        n_neighbors=5,
        n_rounds=1,
        pretrain_epochs=3,
        pretrain_updates=1,
        e_step_epochs=2,
        e_step_updates=1,
        m_step_updates=4,
        batch_size=16,
        validation_fraction=0.2 if request.param == "paper" else 0.0,
        cross_fit_folds=0,  # it would run all of EM again; what rests on it has tests of its own
    )


@pytest.fixture
def adata() -> AnnData:
    """Sixty cells of three types, half of them labelled in obs["cell_type"]."""
    return scbignn.datasets.simulated(n_cells=60, n_genes=40, n_types=3, rng=0)


@pytest.fixture(scope="session")
def _annotated() -> AnnData:
    """A run that has learned: easy types, and a configuration given in full so that no default matters."""
    adata = scbignn.datasets.simulated(n_cells=180, n_genes=80, n_types=3, fold_change=20.0, rng=0)
    # Four categories, "Unknown" first in the alphabet of categories: colours must go by label, not by place.
    adata.uns["cell_type_colors"] = ["#000000", "#111111", "#222222", "#333333"]
    config = Config.paper(
        n_top_genes=60,
        gene_width=16,
        width=16,
        n_heads=2,
        n_neighbors=4,
        n_rounds=1,
        pretrain_epochs=30,
        pretrain_updates=1,
        e_step_epochs=2,
        e_step_updates=1,
        m_step_updates=60,
        batch_size=16,
        gene_learning_rate=1e-2,
        cell_learning_rate=1e-2,
        validation_fraction=0.1,
        min_count=5,
    )
    scbignn.tl.annotate(adata, "cell_type", config=config)
    return adata


@pytest.fixture
def annotated(_annotated: AnnData) -> AnnData:
    """An annotated AnnData of one's own."""
    return _annotated.copy()


@pytest.fixture
def calibrated(annotated: AnnData) -> AnnData:
    """A run with the calibration of 300 cells that were half as sure as they should have been."""
    rng = np.random.default_rng(0)
    true = rng.dirichlet([0.3] * 3, size=300)
    y = (rng.random((300, 1)) > true.cumsum(1)).sum(1).clip(max=2)
    p = np.sqrt(true)
    record = calibration_record(calibrate(p / p.sum(1, keepdims=True), y))
    annotated.uns["scbignn"] = {**annotated.uns["scbignn"], "calibration": record}
    return annotated


def _frozen(value: Any) -> Any:
    """Something that is equal only for values of the same type, shape, dtype and bits."""
    if isinstance(value, Mapping):
        return {str(key): _frozen(item) for key, item in value.items()}
    if sp.issparse(value):
        return type(value).__name__, value.shape, *(_frozen(getattr(value, part)) for part in ("data", *_PARTS))
    if isinstance(value, pd.DataFrame):
        return _frozen(value.index), [(name, _frozen(value.iloc[:, n])) for n, name in enumerate(value.columns)]
    if isinstance(value, (pd.Series, pd.Index)):
        return str(value.dtype), _frozen(value.array)
    if isinstance(value, pd.Categorical):
        return _frozen(value.categories), value.codes.tobytes(), value.ordered
    if isinstance(value, np.ndarray) and value.dtype != object:
        return value.dtype.str, value.shape, value.flags.f_contiguous, value.tobytes()
    if isinstance(value, (np.ndarray, pd.api.extensions.ExtensionArray)):
        return [repr(item) for item in value]
    return type(value).__name__, repr(value)


_PARTS = ("indices", "indptr")


def _contents(adata: AnnData) -> dict[tuple[str, str], Any]:
    found = {("X", ""): _frozen(adata.X)}
    for attribute in ("layers", "obsm", "varm", "obsp", "varp", "uns", "obs", "var"):
        mapping = getattr(adata, attribute)
        found |= {(attribute, name): _frozen(mapping[name]) for name in mapping}
    found["obs_names", ""], found["var_names", ""] = _frozen(adata.obs_names), _frozen(adata.var_names)
    found["obs columns", ""] = [name for name in adata.obs if not name.startswith("scbignn")]
    found["raw", ""] = None if adata.raw is None else (_frozen(adata.raw.X), _frozen(adata.raw.var))
    return found


@pytest.fixture(scope="session")
def contents() -> Callable[[AnnData], dict[tuple[str, str], Any]]:
    """Everything an AnnData holds, by attribute and name, in a form that compares bit by bit."""
    return _contents


@pytest.fixture
def furnished(adata: AnnData) -> AnnData:
    """`adata` with something in every attribute that the user may own."""
    adata.layers["other"] = adata.X.toarray() + 0.5
    adata.obs["batch"] = pd.Categorical(np.where(np.arange(60) % 2, "a", "b"))
    adata.obs["score"] = np.where(np.arange(60) % 7, np.arange(60) / 3, np.nan)
    adata.obsm["X_pca"] = np.arange(120.0).reshape(60, 2)
    adata.varm["PCs"] = np.arange(80.0).reshape(40, 2)
    adata.obsp["connectivities"] = sp.identity(60, format="csr")
    adata.varp["coexpression"] = np.eye(40)
    adata.uns["neighbors"] = {"connectivities_key": "connectivities", "params": {"n_neighbors": 3}}
    adata.raw = adata
    return adata
