"""What is said where the application has set up no logging, and where it has."""

import io
import logging
import os
import sys
from contextlib import contextmanager

import pytest
from tqdm import tqdm

from scbignn import _log, settings

LINES = {"error": "ERROR: error", "warning": "WARNING: warning", "info": "info", "debug": "DEBUG: debug"}


@contextmanager
def nothing_set_up():
    """The root logger of an application that has set up nothing; pytest's own handlers are put aside."""
    root = logging.getLogger()
    before, root.handlers = root.handlers, []
    try:
        with settings.override(verbosity=None):
            yield root
    finally:
        root.handlers = before


def say():
    for level in LINES:
        getattr(logging.getLogger("scbignn.tl._annotate"), level)("%s", level)


@pytest.mark.parametrize(
    ("verbosity", "levels"),
    [
        (None, ["error", "warning"]),
        (0, ["error"]),
        (1, ["error", "warning"]),
        (2, ["error", "warning", "info"]),
        (3, ["error", "warning", "info", "debug"]),
    ],
)
def test_verbosity_says_what_goes_to_standard_error(verbosity, levels, capsys):
    with nothing_set_up():
        with settings.override(verbosity=verbosity):
            say()
        assert capsys.readouterr() == ("", "".join(f"{LINES[level]}\n" for level in levels))


@pytest.mark.parametrize("name", ["", "scbignn", "scbignn.tl", "scbignn.tl._annotate"])
def test_an_application_with_a_handler_of_its_own_gets_the_lines_instead(name, capsys, monkeypatch):
    with nothing_set_up():
        taken = io.StringIO()
        logger = logging.getLogger(name)
        monkeypatch.setattr(logger, "handlers", [*logger.handlers, logging.StreamHandler(taken)])
        with settings.override(verbosity=2):
            say()
        assert taken.getvalue() == "error\nwarning\ninfo\n"
        assert capsys.readouterr() == ("", "")


def test_handlers_that_do_not_see_a_line_or_drop_it_do_not_count(capsys, monkeypatch):
    with nothing_set_up() as root:
        logger = logging.getLogger("scbignn")
        monkeypatch.setattr(logger, "handlers", [*logger.handlers, logging.NullHandler()])
        other = logging.getLogger("another.package")
        monkeypatch.setattr(other, "handlers", [logging.StreamHandler(io.StringIO())])
        monkeypatch.setattr(logger, "propagate", False)
        root.handlers.append(logging.StreamHandler(io.StringIO()))
        say()
        assert capsys.readouterr().err == "ERROR: error\nWARNING: warning\n"


def test_only_the_level_of_the_package_is_set_and_that_of_the_application_comes_back():
    with nothing_set_up() as root:
        package, before = logging.getLogger("scbignn"), (root.level, list(root.handlers))
        package.setLevel(logging.CRITICAL)
        try:
            with settings.override(verbosity=2):
                assert package.level == logging.INFO
                with settings.override(verbosity=0):
                    assert package.level == logging.ERROR
                assert package.level == logging.INFO
            assert package.level == logging.CRITICAL
        finally:
            package.setLevel(logging.NOTSET)
        assert (root.level, list(root.handlers)) == before


def test_there_is_one_handler_however_often_it_is_attached():
    _log.attach()
    _log.attach()
    assert [type(handler) for handler in logging.getLogger("scbignn").handlers].count(_log.Console) == 1


def test_a_traceback_is_written_and_a_broken_stream_stops_nothing(capsys, monkeypatch):
    with nothing_set_up():
        try:
            raise ArithmeticError("of this test")
        except ArithmeticError:
            logging.getLogger("scbignn").exception("it failed")
        err = capsys.readouterr().err
        assert err.startswith("ERROR: it failed\nTraceback")
        assert "ArithmeticError: of this test" in err
        monkeypatch.setattr(logging, "raiseExceptions", False)
        for stream in (None, io.TextIOWrapper(io.BytesIO(), encoding="ascii")):
            monkeypatch.setattr(sys, "stderr", stream)
            logging.getLogger("scbignn").error("\u2265")


@pytest.mark.skipif(not hasattr(os, "openpty"), reason="there are no pseudo-terminals here")
def test_a_line_stands_above_a_bar_that_is_shown(monkeypatch):
    import pty
    import termios

    with nothing_set_up():
        ours, theirs = pty.openpty()
        termios.tcsetwinsize(ours, (24, 80))
        with os.fdopen(theirs, "w", buffering=1) as terminal:
            monkeypatch.setattr(sys, "stderr", terminal)
            with tqdm(total=4, desc="M-step", ncols=60, mininterval=0) as bar:
                bar.update()
                logging.getLogger("scbignn").warning("look here")
                bar.update()
            terminal.write("end")
            terminal.flush()
            seen = b""
            while not seen.endswith(b"end"):  # a terminal hands over what it has by now, which may be a part
                seen += os.read(ours, 100_000)
        os.close(ours)
        text = seen.decode()
        line = next(part for part in text.split("\r\n") if "look here" in part)
        assert line.split("\r")[-1] == "WARNING: look here"
        assert "50%" in text.split("look here")[1]
