"""What is to be seen in data before it is used: functions of arrays and names that return findings."""

from ._batches import batch_findings
from ._cells import cell_findings
from ._columns import columns_like
from ._labels import label_findings
from ._matrix import Matrix, matrix_findings, survey
from ._names import gene_findings, overlap_findings
from ._report import Finding, Report

__all__ = [
    "Finding",
    "Matrix",
    "Report",
    "batch_findings",
    "cell_findings",
    "columns_like",
    "gene_findings",
    "label_findings",
    "matrix_findings",
    "overlap_findings",
    "survey",
]
