"""What the package says where the application has set up no logging: to standard error, around progress bars."""

from __future__ import annotations

import logging
import sys


class Console(logging.Handler):
    """Writes records to standard error, unless a handler of the application's gets them too.

    Without it, INFO would go nowhere where nobody has set up logging, as in most notebooks. What standard error is, is
    looked up each time, and a progress bar that stands there is drawn anew below the line.
    """

    def emit(self, record: logging.LogRecord) -> None:
        """Write one record."""
        if sys.stderr is None or self._is_handled_elsewhere(record):
            return
        try:
            line = self.format(record)
            if "tqdm" in sys.modules:
                sys.modules["tqdm"].tqdm.write(line, file=sys.stderr)
            else:
                sys.stderr.write(f"{line}\n")
            sys.stderr.flush()
        except Exception:  # noqa: BLE001 (as every handler: a line that cannot be written stops nothing)
            self.handleError(record)

    def format(self, record: logging.LogRecord) -> str:
        """The message; its level before it where that is not INFO."""
        line = super().format(record)
        return line if record.levelno == logging.INFO else f"{record.levelname}: {line}"

    def _is_handled_elsewhere(self, record: logging.LogRecord) -> bool:
        logger: logging.Logger | None = logging.getLogger(record.name)
        while logger is not None:
            if any(handler is not self and not isinstance(handler, logging.NullHandler) for handler in logger.handlers):
                return True
            logger = logger.parent if logger.propagate else None
        return False


def attach() -> None:
    """Let the package's logger have one such handler; its level stays as it is."""
    logger = logging.getLogger("scbignn")
    if not any(isinstance(handler, Console) for handler in logger.handlers):
        logger.addHandler(Console())
