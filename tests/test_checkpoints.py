import json
import math
import os

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from small import generator

from scbignn import _checkpoints
from scbignn._checkpoints import Keeper, below, end_run, kept_until_done, prefixed, remove_checkpoints
from scbignn._training import Epoch


@pytest.fixture
def path(tmp_path):
    return tmp_path / "a" / "run.safetensors"


def keeper(path, seed=0, interval=0.0, **fingerprint):
    return Keeper(path, fingerprint, generator(seed), interval=interval)


def test_parts_and_prefixes_are_inverse():
    parts = {"a": {"x": torch.ones(1), "y/z": torch.zeros(2)}, "ab": {"x": torch.ones(3)}}
    flat = prefixed(**parts)
    assert set(flat) == {"a/x", "a/y/z", "ab/x"}
    assert below(flat, "a") == parts["a"]
    assert below(flat, "ab") == parts["ab"]
    assert below(flat, "b") == {}


def test_files_of_some_parts_are_removed_and_the_others_kept(tmp_path):
    for name in (
        "scbignn-em.safetensors",
        "scbignn-encoder-0.safetensors",
        "scbignn-encoder-0.safetensors.17.part",
        "a.txt",
    ):
        (tmp_path / name).touch()
    remove_checkpoints(tmp_path, ["encoder-0", "encoder-1"])
    assert sorted(file.name for file in tmp_path.iterdir()) == ["a.txt", "scbignn-em.safetensors"]
    remove_checkpoints(tmp_path)
    assert [file.name for file in tmp_path.iterdir()] == ["a.txt"]


def test_files_that_only_begin_alike_stay(tmp_path, monkeypatch, caplog):
    (tmp_path / "scbignn-1.safetensors").mkdir()
    for name in ("scbignn-cells.h5ad", "scbignn-notes.txt", "scbignn-em.safetensors"):
        (tmp_path / name).touch()
    remove_checkpoints(tmp_path)
    left = ["scbignn-1.safetensors", "scbignn-cells.h5ad", "scbignn-notes.txt"]
    assert sorted(file.name for file in tmp_path.iterdir()) == left
    (tmp_path / "scbignn-em.safetensors").touch()

    def refuse(*_, **__):
        raise PermissionError("not yours")

    monkeypatch.setattr("pathlib.Path.unlink", refuse)
    with caplog.at_level("WARNING", "scbignn"):
        remove_checkpoints(tmp_path)
    assert "scbignn-em.safetensors is not needed any more and cannot be removed (not yours)" in caplog.text


def test_what_is_kept_until_done_goes_at_the_end_and_stays_after_an_error(tmp_path):
    file = tmp_path / "run" / "scbignn-em.safetensors"
    file.parent.mkdir()
    file.touch()

    def fail():
        with kept_until_done():
            end_run(file.parent)
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert file.exists()
    with kept_until_done():
        with kept_until_done():
            end_run(file.parent)
        assert file.exists()
    assert not file.parent.exists()
    file.parent.mkdir()
    file.touch()
    end_run(file.parent)
    assert not file.parent.exists()


def test_a_run_goes_on_where_another_has_emptied_the_folder(path, monkeypatch):
    kept, write = keeper(path), _checkpoints.save_tensors

    def write_and_lose(tensors, target, about):
        write(tensors, target, about)
        target.unlink()

    with monkeypatch.context() as patch:
        patch.setattr(_checkpoints, "save_tensors", write_and_lose)
        kept.finish_stage({"w": torch.ones(1)}, [])
    assert not path.exists()
    kept.finish_stage({"w": torch.ones(1)}, [])
    assert keeper(path).n_finished == 2


def test_nothing_is_kept_without_a_path(tmp_path):
    kept = keeper(None)
    kept.offer([Epoch(1.0)], {"module": {"w": torch.ones(1)}})
    kept.finish_stage({"w": torch.ones(1)}, [{"epoch": 0}])
    assert kept.n_finished == 1
    assert kept.interrupted_stage() is None
    assert not list(tmp_path.iterdir())


def test_finished_stages_come_back(path):
    draws = generator(4)
    kept = Keeper(path, {"seed": 4, "list": (1, 2)}, draws)
    assert not path.exists()
    torch.rand(7, generator=draws)
    kept.finish_stage({"w": torch.arange(3.0)}, [{"epoch": 0, "val_loss": math.nan}])
    expected = torch.rand(3, generator=draws)

    others = generator(4)
    again = Keeper(path, {"seed": 4, "list": (1, 2)}, others)
    assert again.n_finished == 1
    assert again.history[0]["epoch"] == 0
    assert math.isnan(again.history[0]["val_loss"])
    assert again.interrupted_stage() is None
    torch.testing.assert_close(again.finished, {"w": torch.arange(3.0)})
    assert torch.equal(torch.rand(3, generator=others), expected)


def test_interrupted_stage_comes_back_once(path):
    kept = keeper(path)
    kept.finish_stage({"w": torch.ones(2)}, [{"epoch": 0}])
    kept.offer([Epoch(2.0, selected=True)], {"module": {"w": torch.zeros(2)}, "best": {"w": torch.ones(1)}})
    again = keeper(path, seed=1)
    assert again.n_finished == 1
    torch.testing.assert_close(again.finished, {"w": torch.ones(2)})
    stage = again.interrupted_stage()
    assert [Epoch(**row).loss for row in stage.rows] == [2.0]
    torch.testing.assert_close(stage.part("module"), {"w": torch.zeros(2)})
    torch.testing.assert_close(stage.part("best"), {"w": torch.ones(1)})
    assert again.interrupted_stage() is None


def test_a_finished_stage_forgets_the_state_within_it(path):
    kept = keeper(path)
    kept.offer([Epoch(2.0)], {"module": {"w": torch.zeros(2)}})
    kept.finish_stage({"w": torch.ones(2)}, [])
    assert keeper(path).interrupted_stage() is None


def test_state_within_a_stage_may_share_memory_with_what_is_finished(path):
    """A network that one stage finished is trained on, in place, by the next."""
    weight = torch.zeros(3)
    kept = keeper(path)
    kept.finish_stage({"w": weight}, [])
    weight += 1
    kept.offer([Epoch(1.0)], {"module": {"w": weight}, "best": {"w": weight.clone()}})
    again = keeper(path)
    torch.testing.assert_close(again.finished, {"w": torch.zeros(3)})
    torch.testing.assert_close(again.interrupted_stage().part("module"), {"w": torch.ones(3)})


def test_interval_between_two_writes_within_a_stage(path, monkeypatch):
    now = 100.0
    monkeypatch.setattr(_checkpoints.time, "monotonic", lambda: now)
    kept, written = keeper(path, interval=60.0), []
    monkeypatch.setattr(kept, "_write", lambda stage, write=kept._write: written.append(now) or write(stage))
    for now in (100.0, 130.0, 159.9, 160.0, 200.0, 219.0, 221.0):
        kept.offer([Epoch(now)], {"module": {"w": torch.ones(1)}})
    assert written == [160.0, 221.0]
    assert keeper(path).interrupted_stage().rows[0]["loss"] == 221.0


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"rng": 2}, "rng"),
        ({"config": {"width": 8}}, "config"),
        ({"rng": 2, "data": "b"}, "rng, data"),
        ({"new": None, "more": 1}, "more"),
    ],
)
def test_another_fingerprint_is_refused_and_the_file_left_alone(path, changes, named):
    known = {"rng": 1, "config": {"width": 4}, "data": "a"}
    keeper(path, **known).finish_stage({"w": torch.ones(1)}, [])
    before = path.read_bytes()
    with pytest.raises(ValueError, match=rf"differs from this one in {named}\. Name another folder"):
        keeper(path, **{**known, **changes})
    assert path.read_bytes() == before


@pytest.mark.parametrize("kind", ["empty", "text", "truncated", "flipped header", "foreign", "half a header"])
def test_a_file_that_is_no_checkpoint_is_refused_and_left_alone(path, kind):
    keeper(path).finish_stage({"w": torch.ones(100)}, [])
    content = path.read_bytes()
    if kind == "foreign":
        save_file({"w": torch.ones(1)}, path)
    elif kind == "half a header":
        save_file({"w": torch.ones(1)}, path, {"scbignn": json.dumps({"n_finished": 1})})
    else:
        path.write_bytes(
            {
                "empty": b"",
                "text": b"hello world, this is no checkpoint",
                "truncated": content[:-40],
                "flipped header": bytes([255] * 8) + content[8:],
            }[kind]
        )
    before = path.read_bytes()
    with pytest.raises(ValueError, match="is not a checkpoint of scbignn"):
        keeper(path)
    assert path.read_bytes() == before


def test_a_crash_while_writing_leaves_the_file_before(path, monkeypatch):
    kept = keeper(path)
    kept.finish_stage({"w": torch.ones(1)}, [{"epoch": 0}])
    before = path.read_bytes()

    def crash(_tensors, target, *_):
        target.write_bytes(b"half")
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(_checkpoints, "save_tensors", crash)
        with pytest.raises(KeyboardInterrupt):
            kept.finish_stage({"w": torch.zeros(1)}, [])
    assert path.read_bytes() == before
    again = keeper(path)
    assert again.n_finished == 1
    again.finish_stage({"w": torch.zeros(1)}, [])  # also over what the crash left behind
    assert [file.name for file in path.parent.iterdir()] == [path.name]
    assert keeper(path).n_finished == 2


def test_the_file_is_replaced_as_a_whole(path):
    kept = keeper(path)
    kept.finish_stage({"w": torch.ones(1)}, [])
    first = path.stat().st_ino
    held = path.with_name("held")
    os.link(path, held)
    before = held.read_bytes()
    kept.finish_stage({"w": torch.zeros(1)}, [])
    assert path.stat().st_ino != first
    assert held.read_bytes() == before


def test_the_file_is_plain_safetensors(path):
    keeper(path, seed=3).finish_stage({"w": torch.ones(1)}, [])
    with safe_open(path, "pt") as file:
        assert set(file.keys()) == {"finished/w", "generator"}
