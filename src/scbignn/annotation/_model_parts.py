"""A model as tensors and JSON, which is how it is saved."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import scipy.sparse as sp
import torch

from .._checkpoints import below, prefixed
from .._files import Parts
from ..graph import Neighbors
from ._calibration import Calibration
from ._config import Config
from ._evidence import Views
from ._homophily import Homophily
from ._importance import Importance
from ._linear import Linear
from ._reference import Reference
from ._rejection import LabelShapes
from ._trust import Trust

if TYPE_CHECKING:
    from ._model import Model

#: Fields of a reference, and of trust, that are plain arrays or None.
_OF_CELLS = ("y", "h", "q", "scores", "gene_decisions", "cell_decisions", "batches")
_OF_TRUST = ("novelty", "predicted", "novelty_together")
#: Fields of a model that are arrays or None, and those that are the same in JSON.
_ARRAYS = ("gene_share", "gene_mean", "panel", "features_center", "features_scale")
_PLAIN = ("labels", "mean_length", "mean_total", "colors", "about")


def parts_of(model: Model) -> Parts:
    """Tensors, and what JSON can say."""
    reference, views = model.reference, model.views
    arrays = {name: getattr(model, name) for name in _ARRAYS}
    arrays |= {f"reference.x.{name}": getattr(reference.x, name) for name in ("data", "indices", "indptr")}
    arrays |= {f"reference.neighbors.{name}": getattr(reference.neighbors, name) for name in ("indices", "distances")}
    arrays |= {f"reference.{name}": getattr(reference, name) for name in _OF_CELLS}
    arrays |= {f"importance.{name}": value for name, value in model.importance._asdict().items()}
    arrays |= {f"homophily.{name}": getattr(model.homophily, name) for name in ("learned_per_label", "raw_per_label")}
    if views is not None:
        arrays |= {f"views.{name}": getattr(views, name) for name in ("loadings", "center", "points_center")}
        for name in ("gene", "cell"):
            arrays |= {f"views.{name}.{part}": value for part, value in getattr(views, name)._asdict().items()}
    arrays |= {} if model.trust is None else _trust_arrays(model.trust)
    tensors = {
        name: torch.from_numpy(np.ascontiguousarray(array)) for name, array in arrays.items() if array is not None
    }
    about = {
        "genes": model.genes.tolist(),
        "config": model.config.to_dict(),
        "homophily": _without_nan({"learned": model.homophily.learned, "raw": model.homophily.raw}),
        **{name: getattr(model, name) for name in _PLAIN},
        "calibration": None if model.trust is None else model.trust.calibration.to_dict(),
        "history": [_without_nan(row) for row in model.history],
    }
    return Parts({**tensors, **prefixed(gene_weights=model.gene_weights, cell_weights=model.cell_weights)}, about)


def fields_of(parts: Parts) -> dict[str, Any]:
    """The inverse of :func:`parts_of`: the fields of a model by name, also of one that an early version wrote."""
    tensors, about = parts
    arrays = {name: tensor.numpy() for name, tensor in tensors.items() if "/" not in name}
    views = None
    if "views.loadings" in arrays:
        machines = [Linear(arrays[f"views.{name}.weights"], arrays[f"views.{name}.bias"]) for name in ("gene", "cell")]
        views = Views(arrays["views.loadings"], arrays["views.center"], *machines, arrays["views.points_center"])
    shape = len(arrays["reference.y"]), len(arrays["panel"])
    csr = tuple(arrays[f"reference.x.{name}"] for name in ("data", "indices", "indptr"))
    reference = Reference(
        x=sp.csr_matrix(csr, shape=shape),
        neighbors=Neighbors(arrays["reference.neighbors.indices"], arrays["reference.neighbors.distances"]),
        **{name: arrays.get(f"reference.{name}") for name in _OF_CELLS},
    )
    reference.x.check_format()
    homophily = Homophily(
        **_with_nan(about["homophily"]),
        learned_per_label=arrays["homophily.learned_per_label"],
        raw_per_label=arrays["homophily.raw_per_label"],
    )
    importance = Importance(*(arrays.get(f"importance.{name}") for name in Importance._fields))
    if "importance" in arrays:  # of an early version
        importance = importance._replace(received=arrays["importance"])
    return {
        "genes": np.asarray(about["genes"], dtype=str),
        "importance": importance,
        "trust": _trust(arrays, about.get("calibration")),
        "config": Config(**about["config"]),
        "views": views,
        "gene_weights": below(tensors, "gene_weights"),
        "cell_weights": below(tensors, "cell_weights"),
        "reference": reference,
        "homophily": homophily,
        **{name: arrays.get(name) for name in _ARRAYS},
        **{name: about[name] for name in _PLAIN},
        "history": [_with_nan(row) for row in about["history"]],
    }


def _trust_arrays(trust: Trust) -> dict[str, np.ndarray | None]:
    shapes = {} if trust.shapes is None else vars(trust.shapes)
    arrays = {f"trust.shapes.{name}": value for name, value in shapes.items()}
    return {**arrays, **{f"trust.{name}": getattr(trust, name) for name in _OF_TRUST}}


def _trust(arrays: dict[str, np.ndarray], calibration: dict[str, Any] | None) -> Trust | None:
    if calibration is None:
        return None
    prefix = "trust.shapes."
    shapes = {name.removeprefix(prefix): array for name, array in arrays.items() if name.startswith(prefix)}
    return Trust(
        calibration=Calibration.from_dict(calibration),
        shapes=LabelShapes(**shapes) if shapes else None,
        **{name: arrays.get(f"trust.{name}") for name in _OF_TRUST},
    )


def _without_nan(row: dict[str, Any]) -> dict[str, Any]:
    """JSON knows no NaN; None stands for it."""
    return {name: None if value != value else value for name, value in row.items()}


def _with_nan(row: dict[str, Any]) -> dict[str, Any]:
    return {name: math.nan if value is None else value for name, value in row.items()}
