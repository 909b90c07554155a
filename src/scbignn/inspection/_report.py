"""What was found, and how it prints."""

from __future__ import annotations

import dataclasses
import textwrap
from dataclasses import dataclass
from typing import Literal

import pandas as pd

from .._check import counted

_WIDTH = 100


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at."""

    what: str
    """Topic in a word or two, such as "X", "genes" or "labels"."""
    level: Literal["ok", "note", "problem"]
    """Fine; worth a look; refused or surely wrong."""
    found: str
    """A sentence with numbers."""
    mend: str = ""
    """The argument or the lines of code that mend it; "" where nothing is to be done or no line does it."""


@dataclass(frozen=True, repr=False)
class Report:
    """Everything that :func:`scbignn.pp.inspect` found. It prints as a table."""

    n_obs: int
    """Cells."""
    n_vars: int
    """Genes."""
    findings: tuple[Finding, ...]
    """In the order of looking: expression, cells, genes, labels, batches."""

    @property
    def ok(self) -> bool:
        """Whether no finding is a problem."""
        return not any(finding.level == "problem" for finding in self.findings)

    def to_frame(self) -> pd.DataFrame:
        """The findings as a DataFrame of strings with the columns `what`, `level`, `found` and `mend`."""
        names = [field.name for field in dataclasses.fields(Finding)]
        return pd.DataFrame([dataclasses.astuple(finding) for finding in self.findings], columns=names, dtype=object)

    def __str__(self) -> str:
        levels = [finding.level for finding in self.findings]
        numbers = [counted(levels.count(level), level) for level in ("problem", "note") if level in levels]
        summary = " and ".join(numbers) or "nothing to mend"
        indent = 9 + max((len(finding.what) for finding in self.findings), default=0) + 2
        lines = [f"{counted(self.n_obs, 'cell')} x {counted(self.n_vars, 'gene')}: {summary}"]
        for finding in self.findings:
            mark = "PROBLEM" if finding.level == "problem" else finding.level
            head = f"{mark:<9}{finding.what}".ljust(indent)
            text = textwrap.wrap(finding.found, _WIDTH - indent, break_long_words=False, break_on_hyphens=False)
            lines += [head + text[0], *(" " * indent + line for line in text[1:])]
            lines += [
                f"{' ' * indent}{'->' if n == 0 else '  '} {line}" for n, line in enumerate(finding.mend.splitlines())
            ]
        return "\n".join(lines)

    __repr__ = __str__
