"""Regulatory links from known ones and expression, beside what degree alone would say (after arXiv 2407.18181)."""

from ._config import Config
from ._degree import Degree, fit_degree
from ._encoders import Encoder, Genes, describe_genes, expression_encoder, table_encoder
from ._fit import SCORERS, Gain, Regulation, infer_links
from ._gnn import LinkGNN
from ._links import Links, score_links
from ._metrics import FIGURES, link_scores
from ._network import Network, read_network
from ._pooling import CellEncoder, draw_encoded, encode_genes
from ._scbert import ScBert, read_scbert
from ._splits import SPLITS, Split, deal, is_symmetric, train_of
from ._transformer import GeneTransformer, fit_transformer

__all__ = [
    "FIGURES",
    "SCORERS",
    "SPLITS",
    "CellEncoder",
    "Config",
    "Degree",
    "Encoder",
    "GeneTransformer",
    "Gain",
    "Genes",
    "LinkGNN",
    "Links",
    "Network",
    "Regulation",
    "ScBert",
    "Split",
    "deal",
    "describe_genes",
    "draw_encoded",
    "encode_genes",
    "expression_encoder",
    "fit_degree",
    "fit_transformer",
    "infer_links",
    "is_symmetric",
    "link_scores",
    "read_network",
    "read_scbert",
    "score_links",
    "table_encoder",
    "train_of",
]
