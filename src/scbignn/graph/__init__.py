"""Cell graphs, independent of any framework: neighbours, mean aggregation, homophily."""

from ._attention import Attend, neighbor_attention, neighbor_sum
from ._balanced import balanced_among, balanced_neighbors
from ._connectivities import connectivities
from ._homophily import homophily, homophily_per_label
from ._knn import Neighbors, describe_search, nearest_among, nearest_neighbors
from ._mean import Aggregate, Engine, choose_engine, neighbor_mean
from ._product import SparseProduct

__all__ = [
    "Aggregate",
    "Attend",
    "Engine",
    "Neighbors",
    "SparseProduct",
    "balanced_among",
    "balanced_neighbors",
    "choose_engine",
    "connectivities",
    "describe_search",
    "homophily",
    "homophily_per_label",
    "nearest_among",
    "nearest_neighbors",
    "neighbor_attention",
    "neighbor_mean",
    "neighbor_sum",
]
