"""Data sets: generated with known truth, or public ones."""

from ._amb import amb
from ._baron_human import baron_human
from ._baron_mouse import baron_mouse
from ._pbmc68k_reduced import pbmc68k_reduced
from ._simulated import simulated
from ._simulated_network import simulated_network
from ._zheng68k import zheng68k
from ._zheng_sorted import zheng_sorted

__all__ = [
    "amb",
    "baron_human",
    "baron_mouse",
    "pbmc68k_reduced",
    "simulated",
    "simulated_network",
    "zheng68k",
    "zheng_sorted",
]
