"""What test_ranks.py runs in one process, and by torchrun in two: python together.py FOLDER."""

from __future__ import annotations

import dataclasses
import json
import os
import sys
import warnings
from pathlib import Path

import numpy as np
import torch
from small import CPU, FAST, generator, labelled, tiny
from torch import nn

from scbignn import __main__ as command
from scbignn._ranks import ALONE, Ranks, join
from scbignn._settings import settings
from scbignn.annotation import Fit, fit, gather_evidence
from scbignn.tl import _learn

#: Everything that sees a batch as a whole or draws random numbers, with E-steps and early stopping.
EVERYTHING = tiny(
    anchor=True,
    read_out="value",
    residual=True,
    layer_norm=True,
    batch_norm=True,
    dropout=0.2,
    gene_dropout=0.2,
    cell_input="components",
    mask_labels=0.5,
    graph_from="components",
    self_loops=True,
    label_smoothing=0.05,
    decoupled_weight_decay=True,
    pretrain_epochs=6,
    patience=0.5,
)
#: The command, but for its files.
ANNOTATE = ["annotate", "--labels-key", "cell_type", "--backend", "torch"]
CONFIGS = {"published": tiny(), "everything": EVERYTHING}


def run(name: str, *, ranks: Ranks = ALONE, checkpoint: Path | None = None) -> Fit:
    x, y = labelled()
    config = CONFIGS[name]
    evidence = gather_evidence(x, y, 3, config, device=CPU, seed=0) if config.anchor else None
    return fit(
        x, y, 3, config, device=CPU, engine="torch", seed=0, evidence=evidence, checkpoint=checkpoint, ranks=ranks
    )


def arrays(found: Fit) -> dict[str, np.ndarray]:
    """All that a run learned."""
    weights = {f"weights {name}": value.numpy() for name, value in found.gene_gnn.state_dict().items()}
    weights |= {f"p {name}": value.numpy() for name, value in found.cell_gnn.state_dict().items()}
    rows = [[row["loss"], row["val_loss"], row["val_accuracy"]] for row in found.history]
    return {"history": np.array(rows), "p": found.p, "q": found.q, "h": found.h, **weights}


def step(ranks: Ranks) -> dict[str, np.ndarray]:
    """Gradients of a loss that sees six rows at once; one parameter is before the whole, one after, one unused."""
    network = nn.ParameterDict(
        {name: torch.randn(3, 3, generator=generator()) for name in ("before", "after", "unused")}
    )
    x = torch.randn(6, 3, generator=generator(1))
    own = ranks.share(np.array([5, 1, 4, 1, 3, 9]))
    whole = ranks.assemble(x[own] @ network["before"], own, 6)
    ((whole - whole.mean(0)) @ network["after"]).square().mean().backward()
    ranks.average_gradients(network)
    return {f"gradient {name}": p.grad.numpy() for name, p in network.items() if p.grad is not None}


def refusal(ranks: Ranks, **found: object) -> str:
    try:
        ranks.check_alike(**found)
    except ValueError as error:
        return str(error)
    return ""


def main(folder: Path) -> None:
    warnings.simplefilter("error")
    settings.progress = False
    ranks = join(CPU, devices=2)
    told = {
        "shares memory": ranks.memory is not None,
        "agreed": ranks.agree(float(ranks.rank), 1.5),
        "alike": refusal(ranks, data=np.arange(3), seed=1),
        "unlike": refusal(ranks, data=np.arange(3), seed=ranks.rank),
        "by itself": [join(CPU, devices=1, num_nodes=1).size, ranks.size],
    }
    (folder / f"told{ranks.rank}.json").write_text(json.dumps(told))
    runs = {name: arrays(run(name, ranks=ranks)) for name in CONFIGS}
    runs["resumed"] = arrays(run("everything", ranks=ranks, checkpoint=folder / "interrupted"))
    steps = {"step": step(ranks), "step sent": step(dataclasses.replace(ranks, memory=None))}
    for name, found in {**runs, **steps}.items():
        np.savez(folder / f"{name}{ranks.rank}.npz", **found)
    _learn.Config = lambda: FAST  # the command takes no configuration
    code = command.main([*ANNOTATE, str(folder / "cells.h5ad"), "--output", str(folder / "annotated.h5ad")])
    sys.exit(code)


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    main(Path(sys.argv[1]))
