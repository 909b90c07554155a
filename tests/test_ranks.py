import json
import os
import subprocess
import sys
from pathlib import Path

import anndata
import numpy as np
import pytest
import together
import torch
import torch.distributed as dist
from small import CPU, FAST

import scbignn
from scbignn import _ranks
from scbignn._ranks import ALONE, Ranks, join
from scbignn._settings import settings
from scbignn.annotation import _em


@pytest.fixture(autouse=True, scope="module")
def quiet():
    with settings.override(progress=False):
        yield


# --- who does what ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [1, 2, 3, 7])
@pytest.mark.parametrize("n", [0, 1, 5, 200])
def test_every_place_is_of_one_process_and_all_do_as_much(size, n):
    costs = np.sort(np.random.default_rng(0).integers(0, 500, n)) ** 2
    shares = [Ranks(rank, size).share(costs) for rank in range(size)]
    np.testing.assert_array_equal(np.sort(np.concatenate(shares)), np.arange(n))
    work = [costs[share].sum() for share in shares]
    if n:
        assert max(work) <= costs.sum() / size + 2 * costs.max()


@pytest.mark.parametrize("size", [1, 2, 3, 7])
@pytest.mark.parametrize("n", [0, 1, 5, 200])
def test_what_is_dealt_is_of_one_process_and_all_have_as_much_of_all_sizes(size, n):
    hands = [Ranks(rank, size).deal(n) for rank in range(size)]
    np.testing.assert_array_equal(np.sort(np.concatenate(hands)), np.arange(n))
    lengths = np.sort(np.random.default_rng(0).integers(0, 500, n))
    for costs in (np.ones(n), lengths, lengths**2):
        work = [costs[hand].sum() for hand in hands]
        assert max(work) - min(work) <= 2 * costs.max(initial=0)


def test_every_process_has_short_ones_and_long_ones():
    costs = np.arange(1.0, 401)
    shares = [Ranks(rank, 3).share(costs) for rank in range(3)]
    middle = np.searchsorted(costs.cumsum(), costs.sum() / 2)
    assert all(share.min() < middle < share.max() for share in shares)


def test_places_that_cost_nothing_are_of_somebody():
    shares = [Ranks(rank, 2).share(np.zeros(3)) for rank in range(2)]
    np.testing.assert_array_equal(np.concatenate(shares), np.arange(3))


def test_one_process_does_everything_and_changes_nothing():
    network = torch.nn.Linear(2, 2)
    part = network(torch.ones(3, 2))
    assert ALONE.assemble(part, np.arange(3), 3) is part
    part.sum().backward()
    before = network.weight.grad.clone()
    ALONE.average_gradients(network)
    assert torch.equal(network.weight.grad, before)
    assert ALONE.agree(1.0, 2.0) == (1.0, 2.0)
    ALONE.check_alike(anything=object())


# --- how a program was started ------------------------------------------------------------------------------------------


@pytest.fixture
def started(monkeypatch):
    """As if by torchrun, in so many processes on so many machines."""

    def start(n_devices, n_nodes):
        monkeypatch.setattr(dist, "is_torchelastic_launched", lambda: True)
        monkeypatch.setenv("WORLD_SIZE", str(n_devices * n_nodes))
        monkeypatch.setenv("LOCAL_WORLD_SIZE", str(n_devices))

    return start


@pytest.mark.parametrize("asked", [(), (None, None), (1,), (1, 1), (None, 1)])
def test_a_program_that_was_just_started_is_one_process(asked):
    assert join(CPU, *asked) == Ranks(0, 1, CPU)


@pytest.mark.parametrize(
    ("asked", "command"),
    [
        ((2,), "torchrun --nproc-per-node 2 script.py"),
        ((4, 2), "torchrun --nnodes 2 --node-rank NUMBER --master-addr ADDRESS --nproc-per-node 4 script.py"),
        ((None, 2), "torchrun --nnodes 2 --node-rank NUMBER --master-addr ADDRESS --nproc-per-node 1 script.py"),
    ],
)
def test_processes_that_were_not_started_are_refused_with_the_command(asked, command):
    with pytest.raises(ValueError, match="1 on each of 1 machines") as raised:
        join(CPU, *asked)
    assert str(raised.value).endswith(command)


@pytest.mark.parametrize("asked", [(3,), (2, 2), (None, 2), (1, 2), (1,)])
def test_other_numbers_than_were_started_are_refused(started, asked):
    started(2, 1)
    with pytest.raises(ValueError, match="runs as 2 on each of 1 machines"):
        join(CPU, *asked)


def test_in_a_group_a_program_can_still_train_by_itself(started):
    started(4, 2)
    assert join(CPU, 1, 1) == Ranks(0, 1, CPU)


@pytest.mark.parametrize("asked", [(), (4,), (4, 2), (None, 2)])
def test_fabric_gets_what_was_started(started, monkeypatch, asked):
    started(4, 2)
    monkeypatch.setattr(_ranks, "_launched", lambda *found: found)
    assert join(CPU, *asked) == ("cpu", 4, 2)


def test_a_device_of_all_processes_is_refused(started):
    started(2, 1)
    with pytest.raises(ValueError, match='shared by 2 processes. Use device="cuda"'):
        join(torch.device("cuda:0"))


def test_without_fabric_the_extra_is_named(started, monkeypatch):
    started(2, 1)
    monkeypatch.setitem(sys.modules, "lightning_fabric", None)
    with pytest.raises(ImportError, match=r"scbignn\[distributed\]"):
        join(CPU)


@pytest.mark.parametrize("wrong", [0, -1, 1.5, True, "2"])
@pytest.mark.parametrize("name", ["devices", "num_nodes"])
def test_counts_are_positive_integers(name, wrong):
    with pytest.raises(ValueError, match=f"{name}=.* must be an integer of at least 1"):
        join(CPU, **{name: wrong})


# --- two processes ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    """What two processes found that torchrun started; a run that one process had begun among it."""
    pytest.importorskip("lightning_fabric")
    folder = tmp_path_factory.mktemp("two")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_em.EM, "e_step", interrupt)
        with pytest.raises(KeyboardInterrupt):
            together.run("everything", checkpoint=folder / "interrupted")
    scbignn.datasets.simulated(n_cells=60, n_genes=40, rng=0).write_h5ad(folder / "cells.h5ad")
    here = Path(__file__).parent
    path = os.pathsep.join([str(here), *filter(None, sys.path)])
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    done = subprocess.run(
        [*command, str(here / "together.py"), str(folder)],
        env={**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    (folder / "said").write_text(done.stdout)
    return folder


def interrupt(*_args, **_options):
    raise KeyboardInterrupt


def loaded(folder, name):
    return [dict(np.load(folder / f"{name}{rank}.npz")) for rank in (0, 1)]


def same(found, expected, tolerance):
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        np.testing.assert_allclose(found[name], value, atol=tolerance, rtol=0, err_msg=name)


@pytest.mark.slow
@pytest.mark.parametrize("name", list(together.CONFIGS))
def test_two_processes_learn_what_one_learns(two, name):
    expected = together.arrays(together.run(name))
    first, second = loaded(two, name)
    assert len(first["history"]) == len(expected["history"])
    np.testing.assert_allclose(first["history"], expected["history"], atol=1e-4)
    same(first, expected, 1e-3)
    same(second, first, 0)  # bit for bit


@pytest.mark.slow
def test_two_processes_go_on_with_what_one_has_begun(two):
    resumed, never_interrupted = loaded(two, "resumed")[0], loaded(two, "everything")[0]
    same(resumed, never_interrupted, 1e-3)
    assert (two / "interrupted").exists()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["step", "step sent"])
def test_gradients_are_those_of_the_whole_batch(two, name):
    expected = together.step(ALONE)
    assert expected.keys() == {"gradient before", "gradient after"}
    for found in loaded(two, name):
        same(found, expected, 1e-6)


@pytest.mark.slow
def test_processes_agree_or_say_in_what_they_differ(two):
    told = [json.loads((two / f"told{rank}.json").read_text()) for rank in (0, 1)]
    assert told[0] == told[1]
    assert told[0]["agreed"] == [0.0, 1.5]
    assert told[0]["alike"] == ""
    assert "do not agree on: seed. Let all run the same program on the same data" in told[0]["unlike"]
    assert told[0]["by itself"] == [1, 2]


@pytest.mark.slow
@pytest.mark.skipif(not Path("/dev/shm").is_dir(), reason="there is no folder in memory")
def test_processes_of_one_machine_share_memory(two):
    assert all(json.loads((two / f"told{rank}.json").read_text())["shares memory"] for rank in (0, 1))


@pytest.mark.slow
def test_the_command_annotates_in_two_processes_and_writes_once(two):
    expected, found = (anndata.read_h5ad(two / name) for name in ("cells.h5ad", "annotated.h5ad"))
    scbignn.tl.annotate(expected, "cell_type", config=FAST, backend="torch")
    np.testing.assert_allclose(found.obsm["scbignn_proba"], expected.obsm["scbignn_proba"], atol=1e-3)
    np.testing.assert_allclose(found.obsm["X_scbignn"], expected.obsm["X_scbignn"], atol=1e-3)
    losses = (adata.uns["scbignn"]["history"]["loss"] for adata in (found, expected))
    np.testing.assert_allclose(*losses, atol=1e-4)
    said = (two / "said").read_text()
    assert said.count(f"wrote {two / 'annotated.h5ad'}") == 1
    assert all(said.count(f"process {rank} of 2") == 1 for rank in (0, 1))
