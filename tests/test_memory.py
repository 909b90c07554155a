"""The estimate of memory, what is available, and what is done where that is too little."""

import logging
from types import SimpleNamespace

import numpy as np
import psutil
import pytest
import scipy.sparse as sp
from small import FAST

import scbignn
from scbignn import _memory, clustering, settings
from scbignn._check import count_values
from scbignn._memory import (
    Size,
    annotation_memory,
    available_memory,
    check_memory,
    clustering_memory,
    prediction_memory,
)
from scbignn.annotation import Config

PHASES = {"reading": 1e9, "cell-level network": 6.26e9, "slots": 3e9}


def peak(phases):
    return max(phases.values())


def annotation(n_cells, config=None, **changes):
    size = {"n_genes": 2000, "n_values": 160 * n_cells, "n_labels": 20} | changes
    n_labelled = size.pop("n_labelled", n_cells // 2)
    return peak(annotation_memory(Size(n_cells, **size), config or Config(), n_labelled=n_labelled))


# --- the model ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("config", [Config(), Config.paper()], ids=["default", "paper"])
def test_what_grows_takes_more_and_growth_in_cells_is_linear(config):
    base = annotation(300_000, config)
    for more in ({"n_values": 600 * 300_000}, {"n_labels": 300}):
        assert annotation(300_000, config, **more) > base
    per_cell = [(annotation(2 * n, config) - annotation(n, config)) / n for n in (500_000, 2_000_000)]
    assert per_cell[0] == pytest.approx(per_cell[1], rel=0.05)
    assert 2_000 < per_cell[0] < 60_000  # bytes


def test_each_phase_holds_at_least_the_arrays_that_it_must():
    n, z = 100_000, 16_000_000
    phases = annotation_memory(Size(n, 2000, z, 20), Config(), n_labelled=n // 2)
    assert phases["reading"] > 8 * z  # a CSR matrix of its own
    trained = (z + 200 * n) / 2  # genes and smoothed components of labelled cells, once more for the solver
    assert phases["linear methods"] > 8 * z + 4 * 200 * n + 16 * trained
    assert phases["slots"] > 8 * z + 12 * n * 10 + 2 * 4 * n * 20
    without = annotation_memory(Size(n, 2000, z, 20), Config.paper(), n_labelled=n // 2)
    assert "linear methods" not in without
    assert phases.keys() - without.keys() == {"linear methods"}


def test_dense_matrices_are_dense_while_they_are_read():
    size = Size(10_000, 2000, 1_600_000, 20)
    phases = [annotation_memory(size, Config(), n_labelled=5000, form=form) for form in ("sparse", "dense")]
    assert phases[1]["reading"] > phases[0]["reading"] + 10_000 * 2000
    assert {**phases[0], "reading": 0} == {**phases[1], "reading": 0}


def test_inductive_prediction_grows_by_what_it_gives_and_transductive_by_much_more():
    model = SimpleNamespace(
        config=Config(),
        reference=SimpleNamespace(y=np.zeros(5000), x=sp.random(5000, 256, 0.2, format="csr")),
        panel=np.arange(256),
        views=object(),
    )

    def of(n, mode, chunk_size=4096):
        return peak(prediction_memory(Size(n, 2000, 160 * n, 20), model, mode, chunk_size=chunk_size))

    inductive, transductive = ((of(2_000_000, m) - of(1_000_000, m)) / 1e6 for m in ("inductive", "transductive"))
    assert 4 * (2 * 20 + 32) < inductive < 2500  # bytes a cell
    assert transductive > 4 * inductive
    assert of(10**6, "inductive") < 4e9
    assert of(10**6, "inductive", chunk_size=100_000) > 2 * of(10**6, "inductive")


def test_clustering_grows_by_little_and_by_its_counts_with_a_network():
    def of(n, **changes):
        return peak(clustering_memory(Size(n, 2000, 160 * n), clustering.Config(**changes), None))

    plain, network = ((of(2_000_000, **c) - of(1_000_000, **c)) / 1e6 for c in ({}, {"network": True}))
    assert 4 * 20 + 8 * 25 < plain < 3000
    assert network > plain
    assert of(10**6, n_anchor_sets=10) > of(10**6)
    assert of(200, n_anchors=10_000) == of(200, n_anchors=100)  # no more than 60 are made of 200 cells


@pytest.mark.parametrize("kind", ["csr", "csc", "dense"])
def test_values_are_counted_as_stored_or_by_a_sample(kind):
    rng = np.random.default_rng(0)
    x = sp.csr_matrix(rng.random((3000, 50)) * (rng.random((3000, 50)) < 0.1))
    matrix = x.toarray() if kind == "dense" else x.asformat(kind)
    assert count_values(matrix) == pytest.approx(x.nnz, rel=0.05 if kind == "dense" else 0)


# --- what is available ----------------------------------------------------------------------------------------------


def group(root, version, name, limit, used, cache=0):
    folder = root / "sys/fs/cgroup" / ("memory" if version == 1 else "") / name
    folder.mkdir(parents=True, exist_ok=True)
    names = ("memory.limit_in_bytes", "memory.usage_in_bytes") if version == 1 else ("memory.max", "memory.current")
    for file, value in zip(names, (limit, used), strict=True):
        (folder / file).write_text(f"{value}\n")
    key = "total_inactive_file" if version == 1 else "inactive_file"
    (folder / "memory.stat").write_text(f"anon 5\n{key} {cache}\n")


@pytest.fixture
def root(tmp_path, monkeypatch):
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=10_000))
    (tmp_path / "proc/self").mkdir(parents=True)
    (tmp_path / "proc/self/cgroup").write_text("12:cpu,cpuacct:/job\n5:memory:/job\n0::/slurm/job_7/step_0\n")
    return tmp_path


def test_without_limits_it_is_what_the_machine_has(root):
    assert available_memory(root) == 10_000
    group(root, 2, "slurm/job_7/step_0", "max", 77)
    assert available_memory(root) == 10_000
    (root / "proc/self/cgroup").unlink()
    assert available_memory(root) == 10_000


def test_the_tightest_group_counts_with_its_cache_given_back(root):
    group(root, 2, "slurm/job_7/step_0", "max", 700)
    group(root, 2, "slurm/job_7", 1000, 700, cache=150)
    group(root, 2, "slurm", 5000, 800)
    assert available_memory(root) == 450
    group(root, 1, "job", 400, 100)
    assert available_memory(root) == 300
    group(root, 1, "job", 400, 900)
    assert available_memory(root) == 0
    group(root, 1, "job", 10**6, 900)
    group(root, 2, "slurm/job_7", 10**6, 700)
    assert available_memory(root) == 4200


def test_here_something_is_available():
    assert 0 < available_memory() <= psutil.virtual_memory().total


# --- what is done ---------------------------------------------------------------------------------------------------


@pytest.fixture
def little(monkeypatch):
    monkeypatch.setattr(_memory, "available_memory", lambda: 2 * 10**9)


def test_the_estimate_is_logged(monkeypatch, caplog):
    monkeypatch.setattr(_memory, "available_memory", lambda: 7 * 10**9)
    caplog.set_level(logging.DEBUG, logger="scbignn")
    check_memory("fit", PHASES, "Take less.")
    *details, line = caplog.records
    assert [record.levelno for record in details] == [logging.DEBUG] * 3
    assert line.levelno == logging.INFO
    assert line.getMessage() == (
        "fit: about 6.3 GB of memory needed beside what is there, at most for: cell-level network; 7.0 GB available"
    )


def test_too_little_is_warned_of_by_default(little, caplog):
    check_memory("fit", PHASES, "Take less.")
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    for part in ("fit needs about 6.3 GB", "cell-level network", "2.0 GB are available", "Take less."):
        assert part in record.getMessage()


def test_too_little_is_an_error_where_that_is_wanted(little, caplog):
    with settings.override(memory_check="error"), pytest.raises(MemoryError) as caught:
        check_memory("fit", PHASES, "Take less.")
    for part in ("fit needs about 6.3 GB", "2.0 GB are available. Take less.", 'settings.memory_check = "warn"'):
        assert part in str(caught.value)
    assert not caplog.records


def test_nothing_is_looked_at_where_that_is_wanted(monkeypatch, caplog):
    monkeypatch.setattr(_memory, "available_memory", lambda: pytest.fail("it was looked at"))
    caplog.set_level(logging.DEBUG, logger="scbignn")
    with settings.override(memory_check="off"):
        check_memory("fit", PHASES, "Take less.")
    assert not caplog.records


@pytest.mark.parametrize("verb", ["annotate", "fit", "predict", "cluster"])
def test_every_verb_says_it_before_work_starts(verb, adata, monkeypatch, contents):
    before = contents(adata)
    model = scbignn.tl.fit(adata, "truth", config=FAST) if verb == "predict" else None
    monkeypatch.setattr(_memory, "available_memory", lambda: 1)
    for module in (
        "_learn.annotate_cells",
        "_learn.read_expression",
        "_predict.ExpressionRows",
        "_cluster.ExpressionRows",
    ):
        monkeypatch.setattr(f"scbignn.tl.{module}", lambda *_, **__: pytest.fail("work began"))
    calls = {
        "annotate": lambda: scbignn.tl.annotate(adata, "cell_type", config=FAST),
        "fit": lambda: scbignn.tl.fit(adata, "cell_type", config=FAST),
        "predict": lambda: scbignn.tl.predict(adata, model),
        "cluster": lambda: scbignn.tl.cluster(adata),
    }
    with settings.override(memory_check="error"), pytest.raises(MemoryError, match=f"^{verb} needs about .* MB"):
        calls[verb]()
    assert contents(adata) == before
