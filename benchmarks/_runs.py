"""What a run prints as it goes, and the JSON it leaves."""

from __future__ import annotations

import json
import subprocess
from importlib.metadata import version
from pathlib import Path

from _tables import FIGURES
from rivals import APART, _apart

PACKAGES = ("scbignn", "torch", "numpy", "scikit-learn", "scanpy")


def show(row: dict[str, object], *where: str) -> None:
    """One line on one method in one run; `where` names the columns that say which run it is."""
    figures = {key: row[key] for key in FIGURES if isinstance(row[key], float)}
    print(*(row[name] for name in where), row["method"], json.dumps(figures), flush=True)


def write(file: Path, rows: list[dict[str, object]], rivals: list[str], **about: object) -> None:
    """All figures, a line a row, and what they came from."""
    about |= {"commit": commit(), "versions": {name: version(name) for name in PACKAGES}}
    if set(APART) & set(rivals):
        about["versions_apart"] = _apart.versions()
    lines = ",\n".join(json.dumps(row) for row in rows)
    file.write_text(f'{{"about": {json.dumps(about)},\n"rows": [\n{lines}\n]}}\n')


def read(files: list[Path]) -> list[dict[str, object]]:
    """The rows of earlier runs, one file after another."""
    return [row for file in files for row in json.loads(file.read_text())["rows"]]


def commit() -> str:
    """The commit that is checked out here, with "-dirty" after it where files differ."""
    command = ["git", "describe", "--always", "--dirty", "--abbrev=7"]
    return subprocess.run(
        command, cwd=Path(__file__).parent, capture_output=True, text=True, check=False
    ).stdout.strip()
