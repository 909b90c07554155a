"""The outlines of a Venn diagram of two to six sets, and the widest place in each of its regions."""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np
from matplotlib.path import Path
from scipy.ndimage import distance_transform_edt

#: Points along each outline, and places along each side of the raster on which regions are found.
_POINTS, _PLACES = 721, 480


class Region(NamedTuple):
    """Where a number fits best into a region."""

    x: float
    y: float
    radius: float
    """Of the largest circle around it that stays within."""


@lru_cache
def outlines(n_sets: int) -> tuple[np.ndarray, ...]:
    """A closed curve (m, 2) for each set, within [-1, 1] x [-1, 1], so that all 2^n - 1 regions exist, each in one piece.

    Two and three sets are circles; four and five are ellipses, five of them turned about one point; their sizes and
    places make the smallest region as wide as can be. Six are A. W. F. Edwards' cogwheels: two halves of a disc, and four
    closed curves around its centre with 0, 2, 4 and 8 teeth.
    """
    if n_sets <= 3:
        turn = np.pi / 2 + 2 * np.pi * np.arange(n_sets) / n_sets + (np.pi / 2 if n_sets == 2 else 0)
        curves = [_ellipse(0.42 * np.cos(t), 0.42 * np.sin(t), 0.72, 0.72, 0) for t in turn]
    elif n_sets == 4:
        outer, inner = (0.45, -0.288, 0.854), (0.007, 0.072, 0.784)
        places = [(-1, *outer), (-1, *inner), (1, *inner), (1, *outer)]
        curves = [_ellipse(side * x, y, 1.21, 0.755, side * angle) for side, x, y, angle in places]
    elif n_sets == 5:
        turn = 2 * np.pi * np.arange(5) / 5
        x, y = 0.033 * np.cos(turn) - 0.249 * np.sin(turn), 0.033 * np.sin(turn) + 0.249 * np.cos(turn)
        curves = [_ellipse(*place, 0.904, 0.479, 1.746 + t) for *place, t in zip(x, y, turn, strict=True)]
    else:
        half = np.linspace(0, np.pi, _POINTS)
        disc = 1.56 * np.column_stack([np.cos(half), np.sin(half)])
        right, top = disc[:, ::-1] * (1, -1), disc
        curves = [np.vstack([part, part[:1]]) for part in (right, top)]
        curves += [_cogwheel(teeth, depth, edge) for teeth, depth, edge in _COGWHEELS]
    middle = (np.vstack(curves).max(axis=0) + np.vstack(curves).min(axis=0)) / 2
    half_width = np.ptp(np.vstack(curves), axis=0).max() / 2
    return tuple((curve - middle) / half_width for curve in curves)


#: Teeth, their depth, and how square they are.
_COGWHEELS = ((0, 0.0, 1.0), (2, 0.502, 1.32), (4, 0.308, 1.79), (8, 0.296, 2.96))


def _ellipse(x: float, y: float, a: float, b: float, angle: float) -> np.ndarray:
    turn = np.linspace(0, 2 * np.pi, _POINTS)
    along, across = a * np.cos(turn), b * np.sin(turn)
    cos, sin = np.cos(angle), np.sin(angle)
    return np.column_stack([x + along * cos - across * sin, y + along * sin + across * cos])


def _cogwheel(teeth: int, depth: float, edge: float) -> np.ndarray:
    turn = np.linspace(0, 2 * np.pi, _POINTS)
    radius = 1 + depth * np.tanh(edge * np.cos(teeth * turn)) / np.tanh(edge) if teeth else np.ones(_POINTS)
    return np.column_stack([radius * np.cos(turn), radius * np.sin(turn)])


@lru_cache
def regions(n_sets: int) -> dict[tuple[bool, ...], Region]:
    """The widest place of each region, by the sets that it is in; found on a raster."""
    places = np.linspace(-1, 1, _PLACES)
    x, y = np.meshgrid(places, places)
    points = np.column_stack([x.ravel(), y.ravel()])
    inside = np.array([Path(curve[::3]).contains_points(points) for curve in outlines(n_sets)])
    code = (inside * (1 << np.arange(n_sets))[:, None]).sum(0).reshape(x.shape)
    found = {}
    for number in range(1, 1 << n_sets):
        rows, columns = np.nonzero(code == number)
        top, left = rows.min(), columns.min()
        part = code[top : rows.max() + 1, left : columns.max() + 1] == number
        distance = distance_transform_edt(np.pad(part, 1))[1:-1, 1:-1]
        row, column = np.unravel_index(distance.argmax(), distance.shape)
        member = tuple(bool(number >> place & 1) for place in range(n_sets))
        step = places[1] - places[0]
        found[member] = Region(places[left + column], places[top + row], float(distance.max() * step))
    return found
