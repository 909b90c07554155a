"""Run a method on a problem in a process of its own, and score what it answers."""

from __future__ import annotations

import multiprocessing
import resource
import time
from collections.abc import Callable
from typing import NamedTuple

import anndata
import numba
import numpy as np
import pandas as pd
import torch
from _problem import Problem
from _scores import scores
from rivals import NAMES, rival
from threadpoolctl import threadpool_limits

import scbignn
from scbignn.annotation import Config


class Answer(NamedTuple):
    method: str
    mode: str
    """Inductive or transductive."""
    values: np.ndarray
    """(cells of `problem.test`, labels)."""
    probability: np.ndarray | None
    """The values, where they are probabilities."""


def run(
    problem: Problem, truth: np.ndarray, answers: Callable[[Problem], list[Answer]], threads: int
) -> list[dict[str, object]]:
    """A row for each answer: method, mode, scores, seconds, and peak memory of the largest process."""
    return _in_a_process(_rows, problem, truth, answers, threads)


def _in_a_process(task, *args) -> list[dict[str, object]]:
    """What `task` returns in a forked process, so that its peak memory can be told from that of others."""
    context = multiprocessing.get_context("fork")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=lambda: sender.send(task(*args)))
    process.start()
    sender.close()
    try:
        return receiver.recv()
    finally:
        process.join()


def limit_threads(n: int) -> None:
    """Of torch, OpenMP, BLAS and Numba, in this process and in those that are forked from it."""
    numba.set_num_threads(min(n, numba.config.NUMBA_NUM_THREADS))  # first, for it may tell OpenMP another number
    torch.set_num_threads(n)
    threadpool_limits(n)


def _rows(problem: Problem, truth: np.ndarray, answers, threads: int) -> list[dict[str, object]]:
    torch.set_num_threads(threads)
    start = time.perf_counter()
    found = answers(problem)
    seconds = time.perf_counter() - start
    peak = max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)) / 2**20
    return [
        {
            "method": answer.method,
            "mode": answer.mode,
            **scores(truth, answer.values.argmax(1), answer.probability, problem.n_labels),
            "seconds": seconds,
            "peak_gb": peak,
        }
        for answer in found
    ]


def rival_answers(problem: Problem, name: str) -> list[Answer]:
    module = rival(name)
    values = module.predict(problem)
    is_probability = np.allclose(values.sum(1), 1) and (values >= 0).all()
    return [Answer(NAMES[name], module.MODE, values, values if is_probability else None)]


def scbignn_answers(problem: Problem, config: Config, called: str = "scBiGNN: {}") -> list[Answer]:
    """The answers of p and q when all cells are annotated together.

    Without EM rounds q learns from labelled cells alone, unless they are few.
    """
    adata, names = as_anndata(problem)
    with scbignn.settings.override(progress=False):
        scbignn.tl.annotate(adata, "shown", config=config, rng=problem.seed)
    columns = [names.index(label) for label in adata.uns["scbignn"]["labels"]]
    few = len(problem.train) <= config.few_labels * problem.n_labels and config.anchor_refits
    inductive = config.n_rounds == 0 and not few
    answers = []
    for network, slot in (("p", "scbignn_proba"), ("q", "scbignn_proba_q")):
        probability = np.zeros((len(problem.test), problem.n_labels))
        probability[:, columns] = adata.obsm[slot].to_numpy()[problem.test]
        mode = "inductive" if network == "q" and inductive else "transductive"
        answers.append(Answer(called.format(network), mode, probability, probability))
    return answers


def as_anndata(problem: Problem) -> tuple[anndata.AnnData, list[str]]:
    """The problem with its labels in obs["shown"], "Unknown" where hidden, and the names of the labels by code."""
    names = [f"label {code}" for code in range(problem.n_labels)]
    cells = [f"cell {cell}" for cell in range(len(problem.y))]
    genes = pd.DataFrame(index=[f"gene {gene}" for gene in range(problem.counts.shape[1])])
    shown = np.array([*names, "Unknown"])[problem.y]
    return anndata.AnnData(problem.counts, pd.DataFrame({"shown": shown}, index=cells), genes), names
