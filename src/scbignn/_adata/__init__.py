"""AnnData to arrays and results to slots: the only writer of slots."""

from ._annotation import annotation_slots, check_rejects, label_colors, prediction_slots
from ._clustering import clustering_slots, predicted_cluster_slots
from ._read import ExpressionRows, in_columns, read_expression, read_groups, read_log_expression, tell_all
from ._regulation import grn_index_slots, grn_slots, stale_grn_slots
from ._slots import Slot, gene_overlap_record, write_slots

__all__ = [
    "ExpressionRows",
    "Slot",
    "annotation_slots",
    "check_rejects",
    "clustering_slots",
    "gene_overlap_record",
    "grn_index_slots",
    "grn_slots",
    "in_columns",
    "label_colors",
    "predicted_cluster_slots",
    "prediction_slots",
    "read_expression",
    "read_groups",
    "read_log_expression",
    "stale_grn_slots",
    "tell_all",
    "write_slots",
]
