import doctest
import os
import sys
import types

import pytest

from scbignn import Settings, _settings, settings


def test_override_restores_also_after_an_error():
    before = vars(settings).copy()

    def fails():
        with settings.override(device="cpu", backend="torch"):
            assert (settings.device, settings.backend) == ("cpu", "torch")
            raise InterruptedError

    with pytest.raises(InterruptedError):
        fails()
    assert vars(settings) == before


def test_overrides_nest():
    with settings.override(backend="torch"):
        with settings.override(backend="dgl"):
            assert settings.backend == "dgl"
        assert settings.backend == "torch"


def test_a_misspelt_field_is_refused():
    with pytest.raises(
        AttributeError, match=r"no field 'devise'\. It has device, backend, .*, progress, .* data_folder\."
    ):
        settings.devise = "cpu"
    with pytest.raises(AttributeError, match="devise"), settings.override(devise="cpu"):
        pass


def test_a_misspelt_override_changes_nothing():
    before = vars(settings).copy()
    with pytest.raises(AttributeError), settings.override(backend="torch", devise="cpu"):
        pass
    assert vars(settings) == before


@pytest.mark.parametrize(
    ("field", "values"),
    [
        ("verbosity", [4, -1, True, "info", 1.5]),
        ("progress", ["yes", 1, 0, 2]),
        ("memory_check", [None, True, "warning", "ERROR"]),
    ],
)
def test_a_value_that_a_field_cannot_have_is_refused(field, values):
    before = vars(settings).copy()
    for value in values:
        with pytest.raises(ValueError, match=rf"^scbignn\.settings\.{field}={value!r} must be one of .*, .*\.$"):
            setattr(settings, field, value)
    assert vars(settings) == before


# --- progress -------------------------------------------------------------------------------------------------------


class ZMQInteractiveShell:
    """As ipykernel calls its own."""


class Hosted(ZMQInteractiveShell):
    """As some services derive theirs."""


class TerminalInteractiveShell:
    """IPython on a terminal."""


@pytest.mark.parametrize(
    ("shell", "shown"), [(None, False), (TerminalInteractiveShell, False), (ZMQInteractiveShell, True), (Hosted, True)]
)
def test_bars_are_shown_in_notebooks(monkeypatch, shell, shown):
    ipython = types.SimpleNamespace(get_ipython=lambda: None if shell is None else shell())
    monkeypatch.setitem(sys.modules, "IPython", ipython)
    for value in ("auto", None):
        assert Settings(progress=value).shows_progress == shown


def test_bars_are_shown_on_terminals_and_not_in_pipelines(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "IPython", None)
    with (tmp_path / "log").open("w") as file:
        for stream in (file, None):
            monkeypatch.setattr(sys, "stderr", stream)
            assert not Settings().shows_progress
            assert Settings(progress=True).shows_progress
    if hasattr(os, "openpty"):
        ours, theirs = os.openpty()
        with os.fdopen(theirs, "w") as terminal:
            monkeypatch.setattr(sys, "stderr", terminal)
            assert Settings().shows_progress
            assert not Settings(progress=False).shows_progress
        os.close(ours)


def test_example_in_the_docstring():
    found = doctest.testmod(_settings)
    assert found.attempted > 0
    assert found.failed == 0
