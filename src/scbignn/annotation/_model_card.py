"""What a repository says of a model that is shared there."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from .._hub import as_table, card
from ._config import Config

if TYPE_CHECKING:
    from ._model import Model


def model_card(model: Model, repo_id: str) -> str:
    """What a repository says of the model, in Markdown."""
    n_cells, about, changed = len(model.reference.y), model.about, model.config.to_dict()
    default = Config().to_dict()
    counts = np.bincount(model.reference.y[model.reference.y >= 0], minlength=len(model.labels))
    sections = {
        "Use": f"```python\nscbignn.tl.predict(query, model)  # {len(model.genes):,} genes, matched by name\n```",
        "Labels": as_table(dict(zip(model.labels, counts.tolist(), strict=True)), "label", "labelled reference cells"),
        "Genes": f"{len(model.genes):,}, such as {', '.join(model.genes[model.panel[:10]])}.",
        "Confidence": _confidence(model),
        "Config": as_table({name: value for name, value in changed.items() if value != default[name]}, "field", "value")
        if changed != default
        else "The default.",
        "Where it comes from": as_table(
            {
                "reference cells": f"{n_cells:,}",
                "label column": about.get("labels_key"),
                "batch column": about.get("batch_key"),
                "expression": about.get("expression"),
                "seed": about.get("seed"),
                "sha256 of the expression": about.get("data"),
                **about.get("versions", {}),
            },
            "what",
            "",
        ),
        "Privacy": "No counts and no cell names are in it, but of every reference cell its label, the normalised "
        "expression of the panel and principal components.",
    }
    what = (
        f"Labels single cells with one of {len(model.labels)} labels, by scBiGNN "
        "([arXiv 2312.10310](https://arxiv.org/abs/2312.10310))."
    )
    return card(repo_id, what, ["single-cell", "scRNA-seq", "cell-type-annotation"], sections)


def _confidence(model: Model) -> str:
    if model.trust is None:
        return "Not calibrated: the model was not cross-fitted."
    calibration = model.trust.calibration
    by_batch = calibration.held_out == "batches"
    how = "whose whole batch was hidden" if by_batch else "whose label was hidden; that is no promise across batches"
    return (
        f"Calibrated on {sum(calibration.before.n_cells):,} labelled cells {how}. Expected calibration error "
        f"{calibration.before.ece:.4f} before, {calibration.after.ece:.4f} after."
    )
