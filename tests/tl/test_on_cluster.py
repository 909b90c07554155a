import logging

import anndata
import numpy as np
import pytest
import scipy.sparse as sp
import zarr
from anndata import AnnData
from anndata.io import sparse_dataset
from small import FAST

import scbignn

distributed = pytest.importorskip("distributed")
mortal = pytest.importorskip("mortal")

CHUNK = 8


@pytest.fixture(scope="module")
def client():
    """Of two processes; a worker that dies is started anew."""
    with (
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, processes=True, dashboard_address=":0", silence_logs=logging.CRITICAL
        ) as cluster,
        distributed.Client(cluster, set_as_default=False) as client,
    ):
        yield client


@pytest.fixture(scope="module")
def model():
    return scbignn.tl.fit(scbignn.datasets.simulated(n_cells=75, n_genes=40, rng=0), "truth", config=FAST)


@pytest.fixture
def query():
    """Genes of the reference but one, in another order, and genes of its own; the last chunk is not full."""
    adata = scbignn.datasets.simulated(n_cells=60, n_genes=45, rng=1)
    return adata[:, np.random.default_rng(0).permutation(44)].copy()


@pytest.fixture
def predict(model):
    def predict(adata, **options):
        scbignn.tl.predict(adata, model, mode="inductive", chunk_size=CHUNK, backend="torch", **options)
        return adata

    return predict


def same(found, expected):
    columns = expected.obs.columns
    assert found.obs["scbignn"].tolist() == expected.obs["scbignn"].tolist()
    for name in columns[columns.str.startswith("scbignn_")]:
        np.testing.assert_allclose(found.obs[name], expected.obs[name], atol=1e-6)
    for name in ("X_scbignn", "scbignn_proba", "scbignn_proba_q"):
        np.testing.assert_allclose(found.obsm[name], expected.obsm[name], atol=1e-6)


def stored(kind, adata, folder):
    """The same cells, read from elsewhere."""
    parts = {"obs": adata.obs, "var": adata.var}
    if kind == "memory":
        return adata.copy()
    if kind == "array":
        return AnnData(adata.X.toarray(), **parts)
    if kind == "dask":
        return AnnData(mortal.in_blocks(adata.X, 7), **parts)  # blocks that are no chunks
    if kind == "zarr":
        adata.write_zarr(folder / "cells.zarr")
        return AnnData(sparse_dataset(zarr.open_group(folder / "cells.zarr", mode="r")["X"]), **parts)
    if kind == "backed array":
        adata = AnnData(adata.X.toarray(), **parts)
    adata.write_h5ad(folder / "cells.h5ad")
    return anndata.read_h5ad(folder / "cells.h5ad", backed="r")


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:Writing zarr v2 data:UserWarning")
@pytest.mark.parametrize("kind", ["memory", "array", "dask", "zarr", "backed", "backed array"])
def test_workers_say_what_this_process_says(client, predict, query, kind, tmp_path):
    expected = predict(query.copy())
    adata = stored(kind, query, tmp_path)
    same(predict(adata, client=client), expected)
    if adata.isbacked:
        adata.file.close()


@pytest.mark.slow
def test_logarithms_are_undone_on_the_worker(client, predict, query):
    query.X = sp.csr_matrix(np.log1p(query.X))
    same(predict(query.copy(), client=client), predict(query.copy()))


@pytest.mark.slow
@pytest.mark.parametrize("wrong", [np.nan, -1.0, None])
def test_cells_that_cannot_be_used_are_named_as_without_a_cluster(client, predict, query, wrong):
    x = np.hstack([query.X.toarray(), np.ones((60, 1), dtype=np.float32)])
    x[30, :-1] = 0  # no counts in genes of the model
    if wrong is not None:
        x[31, 0] = wrong
    adata = AnnData(x, obs=query.obs)
    adata.var_names = [*query.var_names, "a gene of its own"]
    messages = []
    for where in ({}, {"client": client}):
        with pytest.raises(ValueError) as raised:
            predict(adata, **where)
        messages.append(str(raised.value))
    assert messages[0] == messages[1]


def test_what_is_no_client_is_refused(predict, query):
    with pytest.raises(TypeError, match=r'client is a str. Pass a dask.distributed.Client, .* "scbignn\[dask\]"'):
        predict(query, client="tcp://127.0.0.1:8786")


@pytest.mark.slow
def test_all_cells_together_are_no_work_for_a_cluster(client, model, query):
    with pytest.raises(ValueError, match='Use mode="inductive" with client'):
        scbignn.tl.predict(query, model, client=client)


# Each of these costs the cluster a worker, which may be long in coming back: they are the last.


@pytest.mark.slow
def test_a_worker_that_dies_midway_loses_and_doubles_nothing(client, predict, query, tmp_path):
    expected = predict(query.copy())
    died = tmp_path / "died"
    adata = AnnData(mortal.in_blocks(query.X, CHUNK, {3: died}), obs=query.obs, var=query.var)
    same(predict(adata, client=client), expected)
    assert died.exists()


@pytest.mark.slow
def test_cells_that_kill_every_worker_are_named(client, predict, query, monkeypatch):
    monkeypatch.setattr(client.cluster.scheduler, "allowed_failures", 0)
    adata = AnnData(mortal.in_blocks(query.X, CHUNK, {2: None}), obs=query.obs, var=query.var)
    with pytest.raises(RuntimeError, match=r"died again and again over cells \d+ to \d+"):
        predict(adata, client=client)
    assert "scbignn" not in adata.obs
