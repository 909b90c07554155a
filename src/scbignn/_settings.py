"""What a session decides once: device, graph engine, what is said and shown, what to do where memory is short."""

from __future__ import annotations

import dataclasses
import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

_LEVELS = (logging.ERROR, logging.WARNING, logging.INFO, logging.DEBUG)
_CHOICES: dict[str, tuple[object, ...]] = {
    "progress": ("auto", None, True, False),
    "verbosity": (None, *range(len(_LEVELS))),
    "memory_check": ("warn", "error", "off"),
}


@dataclass
class Settings:
    """Defaults for every call, changed by assignment or for a while by :meth:`override`.

    Examples
    --------
    >>> import scbignn
    >>> with scbignn.settings.override(progress=False):
    ...     scbignn.settings.progress
    False
    """

    device: str = "auto"
    """What ``device="auto"`` means: ``"auto"`` (CUDA where torch has it, else the CPU) or a torch device name."""
    backend: Literal["auto", "dgl", "torch"] = "auto"
    """What ``backend="auto"`` means: ``"auto"`` (DGL where it runs, else the torch engine), ``"dgl"`` or ``"torch"``."""
    verbosity: int | None = None
    """What is said: 0 errors, 1 warnings, 2 also what was found and written, 3 also details. It is the level of the logger
    ``scbignn``, whose lines go to standard error where the application has set up no logging of its own. None leaves the
    level to the application; where it has none, that means warnings."""
    progress: bool | Literal["auto"] | None = "auto"
    """Show a progress bar for each phase of training, prediction and downloads: True or False; ``"auto"`` (or None) in
    notebooks and on terminals, and not where standard error goes to a file or a pipe."""
    memory_check: Literal["warn", "error", "off"] = "warn"
    """What to do, before work starts, where more memory is estimated to be needed than is available: log a warning, raise
    a `MemoryError`, or nothing. A warning by default, for the estimate may be too high by two thirds."""
    data_folder: str | Path | None = None
    """Where `scbignn.datasets` keeps downloads; None: a folder in the user's cache."""

    def __setattr__(self, name: str, value: object) -> None:
        if name not in {field.name for field in dataclasses.fields(self)}:
            msg = (
                f"scbignn.settings has no field {name!r}. It has {', '.join(f.name for f in dataclasses.fields(self))}."
            )
            raise AttributeError(msg)
        # 1 equals True, and is another value here.
        choices = _CHOICES.get(name)
        if choices is not None and not any(value == choice and _alike(value, choice) for choice in choices):
            msg = f"scbignn.settings.{name}={value!r} must be one of {', '.join(map(repr, choices))}."
            raise ValueError(msg)
        before = vars(self).get(name)
        super().__setattr__(name, value)
        if name == "verbosity" and value != before:
            self._set_level(before, value)

    @property
    def shows_progress(self) -> bool:
        """Whether progress bars are shown here and now."""
        if isinstance(self.progress, bool):
            return self.progress
        return _is_terminal() or _is_notebook()

    @staticmethod
    def _set_level(before: int | None, verbosity: int | None) -> None:
        global _level_of_the_application
        logger = logging.getLogger("scbignn")
        if before is None:
            _level_of_the_application = logger.level
        logger.setLevel(_level_of_the_application if verbosity is None else _LEVELS[verbosity])

    @contextmanager
    def override(self, **changes: Any) -> Iterator[None]:
        """Change fields inside a `with` block; the old values come back at its end."""
        before = {name: getattr(self, name) for name in changes}
        try:
            for name, value in changes.items():
                setattr(self, name, value)
            yield
        finally:
            for name, value in before.items():
                setattr(self, name, value)


def _alike(value: object, choice: object) -> bool:
    return isinstance(value, bool) == isinstance(choice, bool)


def _is_terminal() -> bool:
    return sys.stderr is not None and sys.stderr.isatty()


def _is_notebook() -> bool:
    """Whether this process is the kernel of a notebook: its shell is ipykernel's, or one derived from it."""
    get_shell = getattr(sys.modules.get("IPython"), "get_ipython", None)
    shell = get_shell() if callable(get_shell) else None
    return any(base.__name__ == "ZMQInteractiveShell" for base in type(shell).__mro__)


_level_of_the_application = logging.NOTSET
settings = Settings()
