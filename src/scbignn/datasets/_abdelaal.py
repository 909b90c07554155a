"""The archive of the benchmark of Abdelaal et al. (Genome Biology 2019), and the sets in it."""

from __future__ import annotations

import csv
import io
import logging
from itertools import islice
from pathlib import Path
from typing import IO
from zipfile import BadZipFile, ZipFile

import anndata
import numpy as np
import pandas as pd
import scipy.sparse as sp
from anndata import AnnData
from anndata.utils import make_index_unique
from natsort import natsorted

from ._fetch import Source, data_folder, fetch

logger = logging.getLogger(__name__)

#: Zenodo record 3357167; name, size and MD5 are those that Zenodo publishes.
ARCHIVE = Source(
    url="https://zenodo.org/api/records/3357167/files/scRNAseq_Benchmark_datasets.zip/content",
    name="scRNAseq_Benchmark_datasets.zip",
    hash="md5:b799a660b8bcaf5f3580a9b6f9372e5b",
    size=3_671_466_589,
)
_ABOUT = {
    "source": "https://doi.org/10.5281/zenodo.3357167",
    "paper": "https://doi.org/10.1186/s13059-019-1795-z",
    "license": "CC-BY-4.0",
}
#: Cells that are dense in memory at a time.
_ROWS = 500


def load(name: str, member: str, *, label: str | None = None, folder: str | Path | None = None) -> AnnData:
    """A set of the archive, from its own file where it was read before.

    Parameters
    ----------
    name
        Of the set; `<name>-<hash>.h5ad` in the folder keeps what was read.
    member
        Path of its table of counts within the archive. The labels are in `Labels.csv` beside it.
    label
        Column of the labels, whatever its case. Default: the only one.
    folder
        Where downloads are kept. Default: `settings.data_folder`.

    Returns
    -------
    AnnData
        With counts in `X` (CSR float32), all columns of labels in `obs` by their names in lower case where there are
        several, and `obs["cell_type"]`, one of them, categorical in natural order.

    Raises
    ------
    KeyError
        The archive has no such member, or the labels no such column.
    ValueError
        Cells and labels do not fit together, or a count is no finite number from 0.
    """
    path = data_folder(folder)
    kept = path / f"{name}-{ARCHIVE.hash.split(':')[-1][:8]}.h5ad"
    adata = _kept(kept)
    if adata is None:
        adata = read(fetch(ARCHIVE, path), member)
        adata.uns["dataset"] = {"name": name, **_ABOUT}
        beside = kept.with_suffix(".part")
        adata.write_h5ad(beside, compression="gzip")
        beside.replace(kept)
    return _with_cell_type(adata, label, member)


def read(archive: Path, member: str) -> AnnData:
    """The counts of a member of the archive, and in `obs` the columns of the labels beside it."""
    logger.info("reading %s", member)
    try:
        with ZipFile(archive) as file:
            with file.open(_place(file, member)) as table:
                x, cells, genes = _counts(table, member)
            with file.open(_place(file, f"{member.rpartition('/')[0]}/Labels.csv")) as table:
                labels = pd.read_csv(table, dtype=str, keep_default_na=False)
    except BadZipFile as error:
        msg = f"{archive} is no zip archive: {error}. Remove it and call again."
        raise ValueError(msg) from error
    if len(labels) != len(cells):
        msg = f"{member} has {len(cells)} cells, and Labels.csv beside it {len(labels)} labels. Remove {archive}."
        raise ValueError(msg)
    obs = pd.DataFrame(
        {
            str(column).strip().lower(): pd.Categorical(values, categories=natsorted(values.unique()))
            for column, values in labels.items()
        }
    ).set_axis(_unique(cells, member), axis=0)
    return AnnData(x, obs=obs, var=pd.DataFrame(index=_unique(genes, member)))


def _unique(names: list[str], member: str) -> pd.Index:
    """The names, those that come again with a number."""
    index = pd.Index(names, dtype=object)
    if not index.is_unique:
        logger.info("%s repeats %d names; they get a number", member, int(index.duplicated().sum()))
    return make_index_unique(index)


def _kept(path: Path) -> AnnData | None:
    """The file if it is there and whole."""
    if not path.exists():
        return None
    try:
        return anndata.read_h5ad(path)
    except (OSError, KeyError, ValueError) as error:
        logger.info("%s cannot be read (%s) and is made anew", path, error)
        return None


def _with_cell_type(adata: AnnData, label: str | None, member: str) -> AnnData:
    columns = list(adata.obs)
    if label is None and len(columns) == 1:
        adata.obs = adata.obs.rename(columns={columns[0]: "cell_type"})
        return adata
    if label is None or label not in columns:
        msg = f"the labels of {member} have the columns {', '.join(map(repr, columns))}. Use one of these."
        raise KeyError(msg)
    adata.obs["cell_type"] = adata.obs[label]
    return adata


def _place(archive: ZipFile, member: str) -> str:
    """The full name of a member, which may lie in a folder."""
    found = [name for name in archive.namelist() if name == member or name.endswith(f"/{member}")]
    if not found:
        msg = f"{archive.filename} has no {member!r}. Remove the file and call again to download it anew."
        raise KeyError(msg)
    return found[0]


def _counts(table: IO[bytes], member: str) -> tuple[sp.csr_matrix, list[str], list[str]]:
    """Counts, cells and genes of a table cells x genes with a header, read a few hundred cells at a time."""
    text = io.TextIOWrapper(table, encoding="utf-8", newline="")
    genes = next(csv.reader(text))[1:]
    cells: list[str] = []
    parts: list[sp.csr_matrix] = []
    while lines := list(islice(text, _ROWS)):
        names, numbers = zip(*map(_name_and_numbers, lines), strict=True)
        try:  # without a look for gaps, which are no numbers either, it reads three times as fast
            values = pd.read_csv(
                io.StringIO("".join(numbers)), header=None, dtype=np.float32, na_filter=False, low_memory=False
            ).to_numpy()
        except ValueError as error:
            msg = f"{member} has a gap, or a value that is no number, near cell {names[0]!r}: {error}."
            raise ValueError(msg) from error
        if values.shape != (len(names), len(genes)) or not (np.isfinite(values) & (values >= 0)).all():
            msg = f"{member} has a value that is no count, or too few, near cell {names[0]!r}."
            raise ValueError(msg)
        parts.append(sp.csr_matrix(values))
        cells += names
    return sp.vstack(parts, format="csr"), cells, genes


def _name_and_numbers(line: str) -> tuple[str, str]:
    """A row's first field, which R writes in quotes, and the others."""
    quoted = line.startswith('"')
    name, _, numbers = line.partition('",' if quoted else ",")
    return name.removeprefix('"'), numbers
