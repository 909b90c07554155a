"""scbignn: annotate cells with graph neural networks, on AnnData."""

from __future__ import annotations

import importlib
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from ._settings import Settings, settings

if TYPE_CHECKING:
    from . import annotation, datasets, get, graph, pl, pp, regulation, tl
    from .annotation import read_model

__version__ = version("scbignn")
__all__ = [
    "Settings",
    "__version__",
    "annotation",
    "datasets",
    "get",
    "graph",
    "pl",
    "pp",
    "read_model",
    "regulation",
    "settings",
    "tl",
]

_MODULES = {"annotation", "datasets", "get", "graph", "pl", "pp", "regulation", "tl"}


def __getattr__(name: str) -> Any:
    """Import a module of the package when it is first used: `import scbignn` alone loads neither torch nor scanpy."""
    if name in _MODULES:
        return importlib.import_module(f".{name}", __name__)
    if name == "read_model":
        return importlib.import_module(".annotation", __name__).read_model
    msg = f"module {__name__!r} has no attribute {name!r}"
    raise AttributeError(msg)


def __dir__() -> list[str]:
    return __all__
