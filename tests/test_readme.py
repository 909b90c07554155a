from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
COMMANDS = [
    "python3 -m venv .venv && .venv/bin/pip install . && .venv/bin/scbignn demo",
    'python3 -m venv .venv && .venv/bin/pip install ".[test]" && .venv/bin/python -m pytest',
]


def test_the_readme_holds_the_two_commands_that_ci_runs():
    lines = (ROOT / "README.md").read_text(encoding="utf-8").splitlines()
    assert [line for line in lines if line.startswith("python3 -m venv .venv")] == COMMANDS


def test_ci_takes_the_commands_from_the_readme():
    script = ROOT / ".ci" / "run"
    if not script.exists():
        pytest.skip("a source archive carries no .ci")
    text = script.read_text(encoding="utf-8")
    assert "README.md" in text
    assert "^python3 -m venv" in text
    assert all(command not in text for command in COMMANDS)
