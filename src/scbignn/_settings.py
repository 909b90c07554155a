"""What a session decides once: device, graph engine, progress bars."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal


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
    progress: bool = True
    """Show a progress bar while training or downloading."""
    data_folder: str | Path | None = None
    """Where `scbignn.datasets` keeps downloads; None: a folder in the user's cache."""

    def __setattr__(self, name: str, value: object) -> None:
        if name not in {field.name for field in dataclasses.fields(self)}:
            msg = f"scbignn.settings has no field {name!r}. It has device, backend, progress and data_folder."
            raise AttributeError(msg)
        super().__setattr__(name, value)

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


settings = Settings()
