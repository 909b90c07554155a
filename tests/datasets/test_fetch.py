import hashlib
import logging
import shutil
import socket
import sys
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from files import served

from scbignn import settings
from scbignn.datasets import _fetch
from scbignn.datasets._fetch import Source, data_folder, fetch

CONTENT = np.random.default_rng(0).bytes(3_000_000)


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch):
    monkeypatch.setattr(_fetch, "_PAUSES", (0.0, 0.0, 0.0))
    monkeypatch.setattr(_fetch, "_CHUNK", 1 << 14)


@pytest.fixture
def files():
    with served(CONTENT) as found:
        yield found


@pytest.fixture
def source(files):
    return Source(files.url, "data.bin", f"md5:{hashlib.md5(CONTENT).hexdigest()}", len(CONTENT))


def test_a_file_is_downloaded_once(files, source, tmp_path):
    for _ in range(2):
        assert fetch(source, tmp_path / "new").read_bytes() == CONTENT
    assert files.asked == [None]
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["data.bin"]


def test_a_broken_connection_is_taken_up_again(files, source, tmp_path):
    files.breaks = [1_000_000, 500_000, None]
    assert fetch(source, tmp_path).read_bytes() == CONTENT
    assert len(files.asked) == 3
    starts = [int(asked.removeprefix("bytes=").removesuffix("-")) for asked in files.asked[1:]]
    assert 0 < starts[0] <= 1_000_000
    assert starts[0] < starts[1] <= 1_500_000  # nothing was downloaded twice but what was in flight
    assert [path.name for path in tmp_path.iterdir()] == ["data.bin"]


def test_the_next_call_goes_on_after_an_interruption(files, source, tmp_path, monkeypatch):
    class Interrupted(SimpleNamespace):
        def __enter__(self):
            return self

        def __exit__(self, *_):
            return False

        def update(self, n):
            self.n = getattr(self, "n", 0) + n
            if self.n > 1_000_000:
                raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(_fetch, "tqdm", lambda **_: Interrupted())
        with pytest.raises(KeyboardInterrupt):
            fetch(source, tmp_path)
    part = tmp_path / "data.bin.part"
    have = part.stat().st_size
    assert 1_000_000 < have < len(CONTENT)
    assert not (tmp_path / "data.bin").exists()
    assert fetch(source, tmp_path).read_bytes() == CONTENT
    assert files.asked == [None, f"bytes={have}-"]
    assert not part.exists()


def test_a_server_that_cannot_go_on_starts_anew(files, source, tmp_path):
    files.ranges = False
    (tmp_path / "data.bin.part").write_bytes(CONTENT[:1000])
    assert fetch(source, tmp_path).read_bytes() == CONTENT
    assert files.asked == ["bytes=1000-"]


def test_a_whole_partial_file_is_not_downloaded_again(files, source, tmp_path):
    (tmp_path / "data.bin.part").write_bytes(CONTENT)
    assert fetch(source, tmp_path).read_bytes() == CONTENT
    assert files.asked == []


def test_a_truncated_file_is_refused_and_leaves_nothing(files, source, tmp_path):
    files.content = CONTENT[:-1000]
    with pytest.raises(ValueError, match="not the file that was expected.*was removed"):
        fetch(source, tmp_path)
    assert list(tmp_path.iterdir()) == []
    files.content = CONTENT
    assert fetch(source, tmp_path).read_bytes() == CONTENT


def test_a_partial_file_longer_than_the_server_has_starts_anew(files, source, tmp_path):
    files.content = CONTENT[:1000]
    (tmp_path / "data.bin.part").write_bytes(CONTENT[:2000])
    with pytest.raises(ValueError, match="not the file that was expected"):
        fetch(source, tmp_path)
    assert files.asked == ["bytes=2000-", None]


@pytest.mark.parametrize("here", [False, True])
def test_a_wrong_hash(files, source, tmp_path, here):
    wrong = bytes(reversed(CONTENT))
    if here:  # a file with the right name and other contents is downloaded anew
        (tmp_path / "data.bin").write_bytes(wrong)
        assert fetch(source, tmp_path).read_bytes() == CONTENT
    else:
        files.content = wrong
        with pytest.raises(ValueError) as caught:
            fetch(source, tmp_path)
        message = str(caught.value)
        assert source.hash in message
        assert str(tmp_path / "data.bin") in message
        assert list(tmp_path.iterdir()) == []


def test_a_spoilt_beginning_does_not_stay(files, source, tmp_path):
    """The partial file is of another version: the hash finds it, and the next call starts anew."""
    (tmp_path / "data.bin.part").write_bytes(b"x" * 1000)
    with pytest.raises(ValueError, match="not the file"):
        fetch(source, tmp_path)
    assert fetch(source, tmp_path).read_bytes() == CONTENT


def test_no_network(source, tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        nobody = replace(source, url=f"http://127.0.0.1:{free.getsockname()[1]}/file")
    with pytest.raises(ConnectionError) as caught:
        fetch(nobody, tmp_path)
    message = str(caught.value)
    assert nobody.url in message
    assert "Without network" in message
    assert str(tmp_path / "data.bin") in message
    # as the message says
    (tmp_path / "data.bin").write_bytes(CONTENT)
    assert fetch(nobody, tmp_path) == tmp_path / "data.bin"


def test_a_connection_that_breaks_for_good_says_what_is_kept(files, source, tmp_path):
    files.breaks = [1_000_000, 0]
    with pytest.raises(ConnectionError, match=r"The \d.\d MB that came are kept"):
        fetch(source, tmp_path)
    assert (tmp_path / "data.bin.part").stat().st_size <= 1_000_000
    assert fetch(source, tmp_path).read_bytes() == CONTENT


@pytest.mark.parametrize(
    ("statuses", "works"), [([503, 500], True), ([503] * 4, False), ([404], False), ([403], False)]
)
def test_a_server_that_fails_is_asked_again_but_one_that_refuses_is_not(files, source, tmp_path, statuses, works):
    files.statuses = list(statuses)
    if works:
        assert fetch(source, tmp_path).read_bytes() == CONTENT
        assert len(files.asked) == 3
    else:
        with pytest.raises(ConnectionError, match=str(statuses[0])):
            fetch(source, tmp_path)
        assert len(files.asked) == len(statuses)


def test_a_full_disk_is_told_before_the_download(files, source, tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=1000))
    with pytest.raises(OSError, match=r"settings\.data_folder"):
        fetch(source, tmp_path)
    assert files.asked == []


def test_without_pooch(source, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pooch", None)
    with pytest.raises(ModuleNotFoundError, match=r"scbignn\[datasets\]"):
        fetch(source, tmp_path)


def test_the_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert data_folder().name == "scbignn"
    with settings.override(data_folder=tmp_path / "mine"):
        assert data_folder() == tmp_path / "mine"
        assert data_folder(tmp_path / "other") == tmp_path / "other"


def test_one_line_says_what_is_downloaded(source, tmp_path, caplog):
    with caplog.at_level(logging.INFO, logger="scbignn"):
        fetch(source, tmp_path)
    (line,) = [record.getMessage() for record in caplog.records if record.name.startswith("scbignn")]
    assert source.url in line
    assert "3.0 MB" in line


def test_a_progress_bar_counts_bytes(source, files, tmp_path, capsys):
    files.breaks = [1_000_000, None]
    with settings.override(progress=True):
        fetch(source, tmp_path)
    assert "data.bin" in capsys.readouterr().err
