import json
import os
import pickle
from pathlib import Path

import pytest
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from scbignn._files import Parts, kind_of, read_parts, write_parts

KIND = "trial"


def parts(value=1.0):
    tensors = {"a": torch.arange(6.0).reshape(2, 3) * value, "part/b": torch.tensor([1, 2], dtype=torch.int64)}
    return Parts(tensors, {"name": "T/NK, naïve, 細胞", "number": 0.1, "none": None, "rows": [{"loss": value}]})


def contents(path):
    return {file.name: file.read_bytes() for file in path.iterdir()}


@pytest.fixture
def folder(tmp_path):
    """A written model."""
    write_parts(tmp_path / "model", KIND, parts(), overwrite=False)
    return tmp_path / "model"


# --- what is written is what is read --------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["model", "new/folders/model", "mödel 細胞", "with.dots.v1"])
@pytest.mark.parametrize("kind_of_path", [str, Path])
def test_round_trip(tmp_path, name, kind_of_path):
    path, written = kind_of_path(tmp_path / name), parts()
    write_parts(path, KIND, written, overwrite=False)
    read = read_parts(path, KIND)
    assert read.about == written.about
    assert read.tensors.keys() == written.tensors.keys()
    for key, tensor in written.tensors.items():
        assert torch.equal(read.tensors[key], tensor)
        assert read.tensors[key].dtype == tensor.dtype
    assert [file.name for file in Path(path).parent.iterdir()] == [Path(path).name]


def test_a_tensor_that_is_a_view_is_written_as_it_looks(tmp_path):
    base = torch.arange(12.0).reshape(3, 4)
    write_parts(tmp_path / "model", KIND, Parts({"t": base.T, "row": base[1]}, {}), overwrite=False)
    read = read_parts(tmp_path / "model", KIND)
    assert torch.equal(read.tensors["t"], base.T)
    assert torch.equal(read.tensors["row"], base[1])


def test_the_files_are_strict_json_and_safetensors(folder):
    assert sorted(contents(folder)) == ["model.json", "model.safetensors"]

    def refuse(token):
        raise AssertionError(token)

    about = json.loads((folder / "model.json").read_text(encoding="utf-8"), parse_constant=refuse)
    assert (about["scbignn"], about["format"]) == (KIND, 1)
    assert set(load_file(folder / "model.safetensors")) == {"a", "part/b"}
    assert b"trial" in contents(folder)["model.json"]


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_what_json_does_not_know_is_not_written(tmp_path, value):
    with pytest.raises(ValueError):
        write_parts(tmp_path / "model", KIND, Parts({}, {"loss": value}), overwrite=False)
    assert list(tmp_path.iterdir()) == []


# --- overwriting ----------------------------------------------------------------------------------------------------


def test_nothing_is_overwritten_unasked(folder):
    before = contents(folder)
    with pytest.raises(FileExistsError, match=r"model exists\. Name another folder, or pass overwrite=True"):
        write_parts(folder, KIND, parts(2.0), overwrite=False)
    assert contents(folder) == before


def test_a_folder_without_a_model_is_never_said_to_be_overwritten(tmp_path):
    (tmp_path / "model").mkdir()
    for overwrite in (False, True):
        with pytest.raises(FileExistsError, match=r"model is no saved model\. Name another folder\.$"):
            write_parts(tmp_path / "model", KIND, parts(), overwrite=overwrite)


def test_a_model_is_overwritten_when_asked(folder):
    write_parts(folder, KIND, parts(2.0), overwrite=True)
    assert read_parts(folder, KIND).about["rows"] == [{"loss": 2.0}]
    assert sorted(contents(folder)) == ["model.json", "model.safetensors"]
    assert [file.name for file in folder.parent.iterdir()] == ["model"]


def test_a_model_beside_other_files_is_not_overwritten(folder):
    (folder / "notes.txt").write_text("precious")
    before = contents(folder)
    with pytest.raises(FileExistsError, match=r"holds more than a model, such as notes\.txt\. Name another folder\.$"):
        write_parts(folder, KIND, parts(2.0), overwrite=True)
    assert contents(folder) == before


@pytest.mark.parametrize("about", ['{"format": "layers-model"}', "no JSON", "[]"])
def test_a_model_of_another_program_is_not_overwritten(tmp_path, about):
    (tmp_path / "model.json").write_text(about)
    with pytest.raises(FileExistsError, match="is no saved model"):
        write_parts(tmp_path, KIND, parts(), overwrite=True)
    assert contents(tmp_path) == {"model.json": about.encode()}


@pytest.mark.parametrize("there", [True, False])
def test_a_link_to_a_folder_stays_one(tmp_path, there):
    target, link = tmp_path / "model", tmp_path / "newest"
    if there:
        write_parts(target, KIND, parts(), overwrite=False)
    link.symlink_to(target)
    write_parts(link, KIND, parts(2.0), overwrite=True)
    assert link.is_symlink()
    assert read_parts(target, KIND).about["rows"] == [{"loss": 2.0}]


def test_a_full_disk_is_an_error_of_the_system(tmp_path, monkeypatch):
    def full(*_):
        raise SafetensorError("No space left on device")

    monkeypatch.setattr("scbignn._files.save_file", full)
    with pytest.raises(OSError, match=r"model\.safetensors cannot be written \(No space left on device\)\. Free"):
        write_parts(tmp_path / "model", KIND, parts(), overwrite=False)


def test_overwrite_of_nothing_writes(tmp_path):
    write_parts(tmp_path / "model", KIND, parts(), overwrite=True)
    assert read_parts(tmp_path / "model", KIND).about == parts().about


@pytest.mark.parametrize("what", ["file", "empty folder", "other folder"])
def test_what_is_no_model_is_never_overwritten(tmp_path, what):
    path = tmp_path / "mine"
    if what == "file":
        path.write_text("precious")
    else:
        path.mkdir()
        if what == "other folder":
            (path / "thesis.txt").write_text("precious")
    with pytest.raises(FileExistsError, match=r"mine is no saved model\. Name another folder\."):
        write_parts(path, KIND, parts(), overwrite=True)
    assert path.read_text() == "precious" if what == "file" else True
    assert what != "other folder" or contents(path) == {"thesis.txt": b"precious"}
    assert [file.name for file in tmp_path.iterdir()] == ["mine"]


def test_a_folder_within_a_file_is_refused(tmp_path):
    (tmp_path / "file").write_text("precious")
    for path in (tmp_path / "file" / "model", tmp_path / "file" / "deeper" / "model"):
        with pytest.raises(FileExistsError, match=r"would lie in a file.*Name another folder"):
            write_parts(path, KIND, parts(), overwrite=False)
    assert contents(tmp_path) == {"file": b"precious"}


@pytest.mark.parametrize("path", [None, 5, b"model", ["model"]])
def test_only_paths(path):
    with pytest.raises(TypeError, match=r"path is .*Pass the name of a folder"):
        write_parts(path, KIND, parts(), overwrite=False)
    with pytest.raises(TypeError, match=r"path is .*Pass the name of a folder"):
        read_parts(path, KIND)


# --- whole or not at all --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError])
@pytest.mark.parametrize("place", ["save_file", "_digest", "json.dumps", "Path.write_text", "first move", "last move"])
@pytest.mark.parametrize("old", [True, False])
def test_an_interrupted_write_leaves_what_was_there(tmp_path, monkeypatch, error, place, old):
    path = tmp_path / "model"
    if old:
        write_parts(path, KIND, parts(), overwrite=False)
        before = contents(path)
    left = [2 if place == "last move" and old else 1]
    whole = Path.replace

    def stop(*_, **__):
        raise error

    def stop_later(self, target):
        left[0] -= 1
        if left[0] == 0:
            raise error
        return whole(self, target)

    with monkeypatch.context() as patch:
        if place.endswith("move"):
            patch.setattr(Path, "replace", stop_later)
        elif place == "Path.write_text":
            patch.setattr(Path, "write_text", stop)
        else:
            patch.setattr(f"scbignn._files.{place}", stop)
        with pytest.raises(error):
            write_parts(path, KIND, parts(2.0), overwrite=True)
    assert [file.name for file in tmp_path.iterdir()] == (["model"] if old else [])
    if old:
        assert contents(path) == before
        assert read_parts(path, KIND).about["rows"] == [{"loss": 1.0}]


# --- damage ---------------------------------------------------------------------------------------------------------


def change_about(**changes):
    """Change model.json as an editor would, without mending its sums."""

    def apply(path):
        about = json.loads((path / "model.json").read_text(encoding="utf-8"))
        about |= changes
        (path / "model.json").write_text(json.dumps(about), encoding="utf-8")

    return apply


def drop(name):
    def apply(path):
        about = json.loads((path / "model.json").read_text(encoding="utf-8"))
        del about[name]
        (path / "model.json").write_text(json.dumps(about), encoding="utf-8")

    return apply


def write_about(text):
    return lambda path: (path / "model.json").write_bytes(text)


def change_tensors(function):
    def apply(path):
        file = path / "model.safetensors"
        file.write_bytes(function(file.read_bytes()))

    return apply


def flip(data, place):
    return data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]


class Runs:
    """Unpickling it makes a file."""

    def __reduce__(self):
        return (os.system, ("touch pickle_was_run",))


def other_tensors(path):
    save_file({"a": torch.zeros(2, 3), "part/b": torch.tensor([1, 2])}, path / "model.safetensors")


def empty(path):
    for file in path.iterdir():
        file.unlink()


NO_MODEL = r"is not a model of scbignn\. Pass the folder that model\.save\(path\) wrote"
DAMAGED = r"is incomplete or was changed after it was saved\. Save or copy it anew"
DAMAGE = {
    "empty folder": (empty, NO_MODEL),
    "no JSON": (lambda path: (path / "model.json").unlink(), NO_MODEL),
    "empty JSON": (write_about(b""), NO_MODEL),
    "half a JSON": (lambda path: write_about((path / "model.json").read_bytes()[:50])(path), NO_MODEL),
    "not JSON": (write_about(b"model: 1"), NO_MODEL),
    "not text": (write_about(bytes(range(256))), NO_MODEL),
    "a list": (write_about(b"[1, 2]"), NO_MODEL),
    "a number": (write_about(b"3"), NO_MODEL),
    "a string": (write_about(b'"scbignn"'), NO_MODEL),
    "null": (write_about(b"null"), NO_MODEL),
    "nested without end": (write_about(b"[" * 200_000), NO_MODEL),
    "JSON of another program": (write_about(b'{"format": 1, "model": "other"}'), NO_MODEL),
    "no kind": (drop("scbignn"), NO_MODEL),
    "no form": (drop("format"), NO_MODEL),
    "a pickle for JSON": (write_about(pickle.dumps(Runs())), NO_MODEL),
    "newer form": (change_about(format=2), r"was saved in form 2; this version reads up to 1\. Update: pip install"),
    "form as text": (change_about(format="1"), r"was saved in form '1'"),
    "other kind": (change_about(scbignn="clustering"), r"model of the kind 'clustering', not 'trial'\. Pass another"),
    "one value": (change_about(number=0.2), DAMAGED),
    "one character": (change_about(name="T/NK, naive, 細胞"), DAMAGED),
    "a value more": (change_about(more=1), DAMAGED),
    "a value less": (drop("number"), DAMAGED),
    "NaN": (change_about(number=float("nan")), DAMAGED),
    "other sum": (change_about(content="0" * 64), DAMAGED),
    "sum of another type": (change_about(content=None, tensors=[]), DAMAGED),
    "no sum of tensors": (drop("tensors"), DAMAGED),
    "no sum of the rest": (drop("content"), DAMAGED),
    "no tensors": (lambda path: (path / "model.safetensors").unlink(), DAMAGED),
    "empty tensors": (change_tensors(lambda data: b""), DAMAGED),
    "tensors cut off": (change_tensors(lambda data: data[:-5]), DAMAGED),
    "tensors cut short": (change_tensors(lambda data: data[:10]), DAMAGED),
    "bytes behind tensors": (change_tensors(lambda data: data + b"\0"), DAMAGED),
    "one bit of a value": (change_tensors(lambda data: flip(data, len(data) - 3)), DAMAGED),
    "one bit of the header": (change_tensors(lambda data: flip(data, 12)), DAMAGED),
    "length of the header": (change_tensors(lambda data: b"\xff" * 8 + data[8:]), DAMAGED),
    "other tensors": (other_tensors, DAMAGED),
    "a pickle for tensors": (change_tensors(lambda data: pickle.dumps(Runs())), DAMAGED),
    "a folder for tensors": (
        lambda path: ((path / "model.safetensors").unlink(), (path / "model.safetensors").mkdir()),
        DAMAGED,
    ),
}


@pytest.mark.parametrize("case", DAMAGE)
def test_damage_is_named_and_nothing_is_run(folder, tmp_path, monkeypatch, case):
    monkeypatch.chdir(tmp_path)
    damage, message = DAMAGE[case]
    damage(folder)
    with pytest.raises(ValueError, match=message) as caught:
        read_parts(folder, KIND)
    assert str(folder) in str(caught.value)
    assert not (tmp_path / "pickle_was_run").exists()


def test_a_pickle_would_have_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    pickle.loads(pickle.dumps(Runs()))
    assert (tmp_path / "pickle_was_run").exists()


def test_no_folder_and_a_file(tmp_path, folder):
    with pytest.raises(FileNotFoundError, match=r"there is no .*nowhere\. Pass the folder that model\.save\(path\)"):
        read_parts(tmp_path / "nowhere", KIND)
    for path in (folder / "model.json", folder / "model.safetensors"):
        with pytest.raises(ValueError, match=NO_MODEL):
            read_parts(path, KIND)


def test_every_byte_of_the_tensors_counts(folder):
    whole = (folder / "model.safetensors").read_bytes()
    for place in range(len(whole)):
        (folder / "model.safetensors").write_bytes(flip(whole, place))
        with pytest.raises(ValueError, match=DAMAGED):
            read_parts(folder, KIND)
    (folder / "model.safetensors").write_bytes(whole)
    assert read_parts(folder, KIND).about == parts().about


def test_kind_of_a_model(tmp_path):
    write_parts(tmp_path / "model", "some kind", Parts({}, {}), overwrite=False)
    assert kind_of(tmp_path / "model") == "some kind"
    assert kind_of(tmp_path) == ""
    assert kind_of(tmp_path / "none") == ""


@pytest.mark.skipif(os.name != "posix", reason="modes are those of POSIX")
@pytest.mark.parametrize("mask", [0o022, 0o002, 0o077])
def test_files_have_the_mode_that_the_umask_gives(tmp_path, mask):
    before = os.umask(mask)
    try:
        write_parts(tmp_path / "model", "annotation", Parts({"w": torch.ones(2)}, {}), overwrite=False)
    finally:
        os.umask(before)
    modes = {path.name: path.stat().st_mode & 0o777 for path in (tmp_path / "model").iterdir()}
    assert modes == {"model.safetensors": 0o666 & ~mask, "model.json": 0o666 & ~mask}
    assert (tmp_path / "model").stat().st_mode & 0o777 == 0o777 & ~mask
