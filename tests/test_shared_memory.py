import os
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from scbignn import _shared_memory
from scbignn._shared_memory import SharedMemory


def added_up(arrays, n_times=1, late=None):
    """Of one array a process, played by threads; one of them may be late each time."""
    size = len(arrays)
    memory = np.zeros(SharedMemory.n_bytes(size), dtype=np.uint8)

    def one(rank):
        shared, found = SharedMemory(memory, rank, size), []
        for turn in range(n_times):
            if late == rank:
                time.sleep(0.002)
            array = arrays[rank] + turn
            shared.add_up(array)
            found.append(array)
        return found

    with ThreadPoolExecutor(size) as threads:
        return list(threads.map(one, range(size)))


def random_arrays(size, shape, dtype=np.float32):
    rng = np.random.default_rng(0)
    return [rng.normal(size=shape).astype(dtype) for _ in range(size)]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("shape", [(0,), (1,), (3, 5), (65_536,), (150_001,)])
@pytest.mark.parametrize("size", [2, 3])
def test_all_have_the_sum_in_the_order_of_ranks(size, shape, dtype):
    arrays = random_arrays(size, shape, dtype)
    expected = sum(arrays[1:], start=arrays[0])
    for found in added_up(arrays):
        np.testing.assert_array_equal(found[0], expected)
        assert found[0].dtype == dtype


@pytest.mark.parametrize("late", [None, 0, 1])
def test_no_sum_is_mixed_with_the_one_before_or_after(late):
    arrays = random_arrays(2, (70_000,))
    for found in added_up(arrays, n_times=20, late=late):
        for turn, array in enumerate(found):
            np.testing.assert_array_equal(array, (arrays[0] + turn) + (arrays[1] + turn))


def test_what_is_no_block_of_memory_is_refused():
    shared = SharedMemory(np.zeros(SharedMemory.n_bytes(1), dtype=np.uint8), 0, 1)
    with pytest.raises(ValueError, match=r"shape \(4, 3\) is not contiguous"):
        shared.add_up(np.ones((4, 4))[:, :3])


def test_who_does_not_come_is_named(monkeypatch):
    monkeypatch.setattr(_shared_memory, "_TIMEOUT", 0.1)
    shared = SharedMemory(np.zeros(SharedMemory.n_bytes(3), dtype=np.uint8), 1, 3)
    with pytest.raises(TimeoutError, match=r"process 1 waited 0 s for process \[0, 2\]. Start all of them anew"):
        shared.add_up(np.ones(3))


# --- memory that a file stands for --------------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setattr(_shared_memory, "_FOLDER", tmp_path)
    return tmp_path


needs_files_in_memory = pytest.mark.skipif(
    not hasattr(os, "posix_fallocate"), reason="files cannot be given their room"
)


@needs_files_in_memory
def test_two_see_what_one_writes(folder):
    path = _shared_memory._zeros(100)
    one, other = _shared_memory._opened(path), _shared_memory._opened(path)
    path.unlink()
    one[3] = 7
    assert other.tolist() == [0, 0, 0, 7, *[0] * 96]


@needs_files_in_memory
@pytest.mark.parametrize("other_has_it", [True, False])
def test_all_share_or_none_and_no_file_stays(folder, monkeypatch, other_has_it):
    def gather(everyone, own):
        assert [path.stat().st_size for path in folder.iterdir()] == [SharedMemory.n_bytes(2)]
        everyone[:] = own, other_has_it

    monkeypatch.setattr(_shared_memory.dist, "broadcast_object_list", lambda path: path)
    monkeypatch.setattr(_shared_memory.dist, "all_gather_object", gather)
    assert (_shared_memory.share_memory(0, 2) is not None) == other_has_it
    assert list(folder.iterdir()) == []


def no_room(*_):
    raise OSError(28, "No space left on device")


def test_without_room_nothing_is_shared_and_no_file_stays(folder, monkeypatch):
    monkeypatch.setattr(os, "posix_fallocate", no_room, raising=False)
    assert _shared_memory._zeros(100) is None
    assert list(folder.iterdir()) == []


def test_without_a_compiler_nothing_is_shared(folder, monkeypatch):
    (folder / "memory").write_bytes(b"0" * 100)
    assert _shared_memory._opened(folder / "memory") is not None
    monkeypatch.setattr("scbignn._shared_memory.config.DISABLE_JIT", 1)
    assert _shared_memory._opened(folder / "memory") is None


def test_without_a_folder_in_memory_nothing_is_shared(folder):
    folder.rmdir()
    assert _shared_memory._zeros(100) is None
    assert _shared_memory._opened(folder / "of another machine") is None
