"""Generated data with known truth."""

from ._simulated import simulated
from ._simulated_network import simulated_network

__all__ = ["simulated", "simulated_network"]
