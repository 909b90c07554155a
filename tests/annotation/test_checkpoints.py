"""A run that is killed, whenever that is, goes on to the same bits."""

import dataclasses
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest
from small import CPU, FAST, labelled, tiny

from scbignn.annotation import _annotate, _cross_batch, _cross_fit, annotate_cells

WHERE = {"device": CPU, "engine": "torch", "seed": 0}
BATCHES = np.arange(36) % 3
CONFIGS = {
    "default": (FAST, None),
    "few labels": (dataclasses.replace(FAST, anchor_refits=1), None),
    "batches": (FAST, BATCHES),
    "paper": (tiny(cross_fit_folds=2), None),
}


def run(config, batches, folder=None):
    x, y = labelled()
    return annotate_cells(x, y, 3, config, **WHERE, batches=batches, checkpoint_dir=folder)


def assert_same(one, other):
    for name in ("p", "q", "h"):
        np.testing.assert_array_equal(getattr(one.fit, name), getattr(other.fit, name))
    np.testing.assert_array_equal(one.cross_fitted, other.cross_fitted)
    np.testing.assert_array_equal(one.attention.toarray(), other.attention.toarray())
    for name, part in one.importance._asdict().items():
        np.testing.assert_array_equal(getattr(other.importance, name), part)
    if one.evidence is not None:
        for name, part in one.evidence.arrays().items():
            np.testing.assert_array_equal(other.evidence.arrays()[name], part)
    if one.by_batch is not None:
        np.testing.assert_array_equal(one.by_batch.cell_decisions, other.by_batch.cell_decisions)


class Stop(BaseException):
    pass


@pytest.mark.parametrize("name", CONFIGS)
def test_stopped_after_each_part_in_turn(name, tmp_path, monkeypatch):
    """Every call that is costly is made once in all, however often the run is stopped."""
    config, batches = CONFIGS[name]
    whole = run(config, batches)
    calls, stops = [], []
    for module, function in (
        (_annotate, "fit_anchor"),
        (_annotate, "gather_evidence"),
        (_annotate, "fit"),
        (_cross_fit, "fit"),
        (_cross_batch, "gather_evidence"),
        (_cross_batch, "fit"),
    ):
        original = getattr(module, function)

        def counted(*given, original=original, at=f"{module.__name__}.{function}", **named):
            kept = named.get("checkpoint")
            if kept is None or not kept.exists():  # EM itself goes on from its own file
                if len(calls) >= len(stops) + 1:
                    stops.append(at)
                    raise Stop
                calls.append(at)
            return original(*given, **named)

        monkeypatch.setattr(module, function, counted)
    while True:
        try:
            found = run(config, batches, tmp_path / "run")
            break
        except Stop:
            continue
    assert_same(whole, found)
    n_folds = config.cross_fit_folds
    learned = 1 if name == "paper" else 2 + 1 + 1  # a machine for each s, the evidence, EM
    assert len(calls) == learned + n_folds * (2 if name == "batches" else 1)
    assert len(stops) == len(calls) - 1


def test_another_run_and_other_files_are_refused_at_once(tmp_path, monkeypatch):
    run(FAST, None, tmp_path)
    monkeypatch.setattr(_annotate, "choose_target_sum", lambda *_, **__: pytest.fail("it has begun"))
    with pytest.raises(ValueError, match=r"differs from this one in config.*checkpoint_dir="):
        run(dataclasses.replace(FAST, dropout=0.1), None, tmp_path)
    (tmp_path / "scbignn-fold-1.safetensors").write_bytes(b"not a checkpoint")
    with pytest.raises(ValueError, match=r"fold-1.safetensors is not a checkpoint of scbignn"):
        run(FAST, None, tmp_path)


SCRIPT = """
    import os, signal, sys
    import scbignn
    from scbignn import _checkpoints
    from scbignn.annotation import Config

    left, write = int(sys.argv[2]), _checkpoints.save_tensors

    def write_and_die(tensors, path, *rest):
        global left
        left -= 1
        if left == 0:
            path.write_bytes(b"half a file")
            os.kill(os.getpid(), signal.SIGKILL)
        write(tensors, path, *rest)

    _checkpoints.save_tensors = write_and_die
    scbignn.settings.progress = False
    adata = scbignn.datasets.simulated(n_cells=60, n_genes=40, n_types=3, rng=0)
    config = Config(n_top_genes=30, gene_width=8, width=8, n_heads=2, n_cell_layers=2, n_neighbors=5, pretrain_epochs=3,
                    pretrain_updates=1, m_step_updates=20, batch_size=16, target_sum=1e4)
    model = scbignn.tl.fit(adata, "cell_type", config=config, backend="torch", checkpoint_dir=sys.argv[1])
    model.save(sys.argv[3])
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGKILL")
def test_killed_in_the_middle_of_writing_and_resumed_the_model_is_the_same_to_the_byte(tmp_path):
    """Evidence, two stages of EM, three folds are written: each process is killed in its third writing."""
    script = tmp_path / "script.py"
    script.write_text(textwrap.dedent(SCRIPT))
    source = Path(_annotate.__file__).parents[2]

    def start(folder, kill_at, model):
        command = [sys.executable, str(script), str(tmp_path / folder), str(kill_at), str(tmp_path / model)]
        return subprocess.run(
            command, cwd=source, env={**os.environ, "PYTHONPATH": str(source)}, check=False
        ).returncode

    assert start("whole", 99, "whole model") == 0
    codes = []
    while not codes or codes[-1]:
        assert len(codes) < 9
        codes.append(start("killed", 3, "killed model"))
    assert codes == [-9, -9, 0]
    for name in ("model.json", "model.safetensors"):
        assert (tmp_path / "killed model" / name).read_bytes() == (tmp_path / "whole model" / name).read_bytes()
    assert not (tmp_path / "killed").exists()
