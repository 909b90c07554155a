"""Files from the network: checked against a hash, kept in a folder, and gone on with after an interruption."""

from __future__ import annotations

import logging
import shutil
import time
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from tqdm.auto import tqdm

from .._settings import settings

logger = logging.getLogger(__name__)

#: Seconds without a byte after which a connection counts as broken, and the pause before each new attempt.
_TIMEOUT, _PAUSES = 30.0, (1.0, 4.0, 15.0)
_CHUNK = 1 << 20


@dataclass(frozen=True)
class Source:
    """A file on the network."""

    url: str
    name: str
    """Of the file in the folder."""
    hash: str
    """As `"md5:..."` or `"sha256:..."`."""
    size: int
    """In bytes."""


def data_folder(folder: str | Path | None = None) -> Path:
    """The folder asked for, that of the settings, or one in the user's cache."""
    chosen = settings.data_folder if folder is None else folder
    return Path(_pooch().os_cache("scbignn") if chosen is None else chosen).expanduser()


def fetch(source: Source, folder: Path) -> Path:
    """The file in the folder, downloaded unless it is there and whole.

    What was downloaded before an interruption stays in the folder, as `<name>.part`, and the next call goes on from
    there where the server can. A connection that breaks is taken up again as long as more comes, and a server that fails is
    asked again three times.

    Raises
    ------
    ConnectionError
        The file cannot be downloaded.
    ModuleNotFoundError
        pooch is not installed.
    OSError
        The disk has no room for it.
    ValueError
        The file that came has another hash.
    """
    pooch = _pooch()
    folder.mkdir(parents=True, exist_ok=True)
    part = folder / f"{source.name}.part"
    if not (folder / source.name).exists():
        _check_room(source, part)
    try:
        found = pooch.retrieve(
            source.url, known_hash=source.hash, fname=source.name, path=folder, downloader=_Resuming(source, part)
        )
    except ValueError as error:
        msg = (
            f"what came from {source.url} is not the file that was expected (its hash is not {source.hash}), and was "
            "removed. Call again; if that does not help, the file was changed or something between here and there "
            f"alters it: download it in a browser and put it to {folder / source.name}."
        )
        raise ValueError(msg) from error
    return Path(found)


class _Resuming:
    """A downloader for pooch that goes on where an earlier one stopped.

    pooch wants a callable; it hands over a temporary file, checks its hash and moves it to its place.
    """

    def __init__(self, source: Source, part: Path) -> None:
        self.source, self.part = source, part

    def __call__(self, url: str, output_file: str, pooch: Any) -> None:
        """Download to the partial file, and move that to `output_file` once it is whole."""
        from requests.exceptions import RequestException

        logger.info("downloading %s (%.1f MB) to %s", url, self.source.size / 1e6, self.part.parent)
        pauses = list(_PAUSES)
        while True:
            before = self._have()
            try:
                self._go_on(url)
                break
            except RequestException as error:
                if self._have() > before:
                    pauses = list(_PAUSES)
                elif error.response is None or error.response.status_code < 500 or not pauses:
                    raise ConnectionError(self._message(error)) from error
                logger.info("the connection broke (%s); going on in %g s", error, pauses[0])
                time.sleep(pauses.pop(0))
        shutil.move(self.part, output_file)

    def _have(self) -> int:
        return self.part.stat().st_size if self.part.exists() else 0

    def _go_on(self, url: str) -> None:
        import requests

        have = self._have()
        if have >= self.source.size:  # nothing is missing, or it is another file: the hash will tell
            return
        headers = {"Accept-Encoding": "identity", "User-Agent": f"scbignn/{version('scbignn')}"}
        if have:
            headers["Range"] = f"bytes={have}-"
        with requests.get(url, headers=headers, stream=True, timeout=_TIMEOUT) as response:
            if have and response.status_code == 416:  # the server's file is no longer than what is here
                self.part.unlink()
                return self._go_on(url)
            response.raise_for_status()
            follows = response.headers.get("Content-Range", "").startswith(f"bytes {have}-")
            if not (response.status_code == 206 and follows):
                have = 0
            bar = tqdm(
                total=self.source.size,
                initial=have,
                unit="B",
                unit_scale=True,
                desc=self.source.name,
                disable=not settings.shows_progress,
            )
            with self.part.open("ab" if have else "wb") as file, bar:
                for chunk in response.iter_content(_CHUNK):
                    file.write(chunk)
                    bar.update(len(chunk))
        whole = have + int(response.headers.get("Content-Length", self.source.size - have))
        if self._have() < whole:
            msg = f"{self._have()} of {whole} bytes came"
            raise requests.exceptions.ConnectionError(msg)
        return None

    def _message(self, error: Exception) -> str:
        have = self._have()
        kept = f" The {have / 1e6:.1f} MB that came are kept, and the next call goes on from there." if have else ""
        return (
            f"{self.source.name} could not be downloaded from {self.source.url}: {error}.{kept} Without network, "
            f"download it elsewhere and put it to {self.part.with_suffix('')}."
        )


def _check_room(source: Source, part: Path) -> None:
    missing = source.size - (part.stat().st_size if part.exists() else 0)
    free = shutil.disk_usage(part.parent).free
    if free < missing:
        msg = (
            f"{source.name} needs {missing / 1e9:.2f} GB more, and {part.parent} has {free / 1e9:.2f} GB left. Set "
            "scbignn.settings.data_folder to a folder on a larger disk."
        )
        raise OSError(msg)


def _pooch() -> Any:
    try:
        import pooch
    except ModuleNotFoundError as error:
        msg = 'downloads need the package pooch. Install it with: pip install "scbignn[datasets]"'
        raise ModuleNotFoundError(msg) from error
    return pooch
