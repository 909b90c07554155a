"""What CI installs as the oldest versions is what pyproject.toml allows."""

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


def release(version):
    return tuple(int(part) for part in version.split("."))


def test_the_oldest_versions_are_those_that_are_tried():
    constraints = ROOT / ".ci" / "lowest.txt"
    if not constraints.exists():
        pytest.skip("a source archive carries no .ci")
    pinned = dict(re.findall(r"^([\w-]+)==([\d.]+)$", constraints.read_text(encoding="utf-8"), re.MULTILINE))
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    bounds = [
        *project["dependencies"],
        *(line for name in ("dask", "datasets", "distributed", "hub") for line in extras[name]),
    ]
    lowest = {match[1]: match[2] for line in bounds if (match := re.match(r"([\w-]+)(?:\[.*\])?>=([\d.]+)", line))}
    del lowest["torch"]  # of which DGL takes no old one
    assert len(lowest) > 15
    for name, bound in lowest.items():
        assert release(pinned[name])[: len(release(bound))] == release(bound), name
