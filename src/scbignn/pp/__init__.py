"""What comes before the tools: a look at the data."""

from ..inspection import Finding, Report
from ._inspect import inspect

__all__ = ["Finding", "Report", "inspect"]
