"""Tables of the figures of merit of many runs, in Markdown.

A row of figures is a dictionary with "set", "method", "mode", and the figures of merit.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from _scores import paired

COSTS = ("seconds", "peak_gb")
FIGURES = ("accuracy", "balanced_accuracy", "macro_f1", "ece", *COSTS)


def table(rows: list[dict[str, object]], *, against: tuple[str, ...] = (), share: float = 0.0) -> str:
    """Accuracy / macro-F1 of every method on every set, and its other figures on the mean; a block for each mode.

    Against the best of the methods `against` in its block, every other is compared in accuracy, by a paired test with
    `share` as the ratio of test to training cells.
    """
    sets = list(dict.fromkeys(row["set"] for row in rows))
    lines = []
    for mode in ("inductive", "transductive"):
        own = [row for row in rows if row["mode"] == mode]
        if not own:
            continue
        methods = list(dict.fromkeys(row["method"] for row in own))
        order = sorted(methods, key=lambda method: np.nan_to_num(mean(own, method, "accuracy")[0]), reverse=True)
        head = ["method", *sets, "mean", "± s.e.", "balanced acc.", "ECE", "s", "GB"]
        head += ["difference (p)"] if against else []
        body = []
        ours = next((method for method in order if method in against), None)
        for method in order:
            per_set = [pair([row for row in own if row["set"] == name], method) for name in sets]
            errors = " / ".join(digits(mean(own, method, figure)[1]) for figure in ("accuracy", "macro_f1"))
            rest = [digits(mean(own, method, figure)[0]) for figure in ("balanced_accuracy", "ece")]
            cost = [f"{np.mean([row[figure] for row in own if row['method'] == method]):.1f}" for figure in COSTS]
            cells = [method, *per_set, pair(own, method), "" if errors == " / " else errors, *rest, *cost]
            if against:
                cells.append("" if ours in (None, method) else difference(own, ours, method, share))
            body.append(cells)
        lines += [f"**{mode.capitalize()}**", "", *markdown(head, body), ""]
    return "\n".join(lines)


def per_run(rows: list[dict[str, object]], method: str, figure: str) -> dict[tuple, float]:
    """The figure of each set and fold, the mean over seeds; or, where there is but one fold, of each set and seed."""
    unit = "fold" if len({row.get("fold") for row in rows}) > 1 else "seed"
    values = {}
    for row in rows:
        if row["method"] == method:
            values.setdefault((row["set"], row[unit]), []).append(np.nan if row[figure] is None else row[figure])
    return {run: float(np.mean(own)) for run, own in values.items()}


def mean(rows: list[dict[str, object]], method: str, figure: str) -> tuple[float, float]:
    """Mean over sets of the mean over runs, and its standard error; NaN where a method has no such figure."""
    runs = per_run(rows, method, figure)
    sets = dict.fromkeys(row["set"] for row in rows)
    values = [[value for (of, _), value in runs.items() if of == name] for name in sets]
    if np.isnan(list(runs.values())).any() or not all(values):
        return float("nan"), float("nan")
    errors = [np.var(own, ddof=1) / len(own) if len(own) > 1 else np.nan for own in values]
    return float(np.mean([np.mean(own) for own in values])), float(np.sqrt(np.sum(errors)) / len(values))


def pair(rows: list[dict[str, object]], method: str) -> str:
    return " / ".join(digits(mean(rows, method, figure)[0]) for figure in ("accuracy", "macro_f1"))


def difference(rows: list[dict[str, object]], ours: str, theirs: str, share: float) -> str:
    """Ours less theirs in accuracy, paired over all runs; nothing where they did not run on the same cells."""
    values = [per_run(rows, method, "accuracy") for method in (ours, theirs)]
    if values[0].keys() != values[1].keys():
        return ""
    gain, p = paired(*(np.array([value[run] for run in values[0]]) for value in values), test_share=share)
    return f"{gain:+.4f} ({p:.2g})"


def markdown(head: Sequence[str], body: Iterable[Sequence[str]]) -> list[str]:
    """The lines of a table, given by its cells."""
    first, *rest = ("| " + " | ".join(cells) + " |" for cells in (head, *body))
    return [first, "|---" * len(head) + "|", *rest]


def digits(value: float, places: int = 4) -> str:
    return "" if np.isnan(value) else f"{value:.{places}f}".removeprefix("0")
