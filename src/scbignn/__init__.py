"""scbignn: annotate cells, cluster them, and wire genes, on AnnData."""

from __future__ import annotations

import importlib
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from ._log import attach
from ._settings import Settings, settings

if TYPE_CHECKING:
    from . import annotation, clustering, datasets, get, graph, pl, pp, regulation, tl
    from ._models import read_model
    from ._report import report

attach()
__version__ = version("scbignn")
__all__ = [
    "Settings",
    "__version__",
    "annotation",
    "clustering",
    "datasets",
    "get",
    "graph",
    "pl",
    "pp",
    "read_model",
    "regulation",
    "report",
    "settings",
    "tl",
]

_MODULES = {"annotation", "clustering", "datasets", "get", "graph", "pl", "pp", "regulation", "tl"}
_FUNCTIONS = {"read_model": "._models", "report": "._report"}


def __getattr__(name: str) -> Any:
    """Import a module of the package when it is first used: `import scbignn` alone loads neither torch nor scanpy."""
    if name in _MODULES:
        return importlib.import_module(f".{name}", __name__)
    if name in _FUNCTIONS:
        return getattr(importlib.import_module(_FUNCTIONS[name], __name__), name)
    msg = f"module {__name__!r} has no attribute {name!r}"
    raise AttributeError(msg)


def __dir__() -> list[str]:
    return __all__
