"""scBiGNN: a gene-level and a cell-level graph neural network that teach each other (arXiv 2312.10310)."""

from .._expression import normalize, unit_rows
from ._anchor import Anchor, Believed, believe, fit_anchor, label_believed
from ._annotate import Annotation, annotate_cells, choose_genes, choose_target_sum, raw_neighbors
from ._attention import Edges
from ._audit import Audit, audit_labels, audit_table
from ._calibration import Calibration, Reliability, calibrate, calibration_record
from ._config import Config
from ._cross_batch import ByBatch, cross_fit_batches, deal_batches
from ._cross_fit import cross_fit
from ._cross_validate import HeldOut, cross_validate, validation_tables
from ._draws import deal_folds
from ._em import Fit, Guess
from ._evidence import Evidence, gather_evidence
from ._fit import fit
from ._hierarchy import BackOff, LabelTree, back_off, label_tree, label_tree_from_columns
from ._homophily import Homophily
from ._importance import Anchored, Importance, importance_of
from ._model import Model, model_of
from ._panel import top_label_genes, top_variance_genes
from ._predict import Prediction, Predictor
from ._rejection import LabelShapes, Thresholds, label_shapes, novelty_score, rejection_thresholds
from ._trust import Trust, trust_of

__all__ = [
    "Anchor",
    "Anchored",
    "Annotation",
    "Audit",
    "BackOff",
    "Believed",
    "ByBatch",
    "Calibration",
    "Config",
    "Edges",
    "Evidence",
    "Fit",
    "Guess",
    "HeldOut",
    "Homophily",
    "Importance",
    "LabelShapes",
    "LabelTree",
    "Model",
    "Prediction",
    "Predictor",
    "Reliability",
    "Thresholds",
    "Trust",
    "annotate_cells",
    "audit_labels",
    "audit_table",
    "back_off",
    "believe",
    "calibrate",
    "calibration_record",
    "choose_genes",
    "choose_target_sum",
    "cross_fit",
    "cross_fit_batches",
    "cross_validate",
    "deal_batches",
    "deal_folds",
    "fit",
    "fit_anchor",
    "gather_evidence",
    "importance_of",
    "label_believed",
    "label_shapes",
    "label_tree",
    "label_tree_from_columns",
    "model_of",
    "normalize",
    "novelty_score",
    "raw_neighbors",
    "rejection_thresholds",
    "top_label_genes",
    "top_variance_genes",
    "trust_of",
    "unit_rows",
    "validation_tables",
]
