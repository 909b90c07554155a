"""Generated data with known truth."""

from ._simulated import simulated

__all__ = ["simulated"]
