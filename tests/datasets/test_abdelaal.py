import hashlib
import io
import zipfile
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from files import served

import scbignn
from scbignn.datasets import _abdelaal

INTRA = "Intra-dataset"
PLACES = {
    "zheng68k": f"{INTRA}/Zheng 68K/Filtered_68K_PBMC_data.csv",
    "zheng_sorted": f"{INTRA}/Zheng sorted/Filtered_DownSampled_SortedPBMC_data.csv",
    "baron_human": f"{INTRA}/Pancreatic_data/Baron Human/Filtered_Baron_HumanPancreas_data.csv",
    "baron_mouse": f"{INTRA}/Pancreatic_data/Baron Mouse/Filtered_MousePancreas_data.csv",
    "amb": f"{INTRA}/AMB/Filtered_mouse_allen_brain_data.csv",
}
N_CELLS, N_GENES = 1203, 7  # more cells than are read at a time


def counts_of(name: str) -> np.ndarray:
    return np.random.default_rng(len(name)).poisson(0.7, (N_CELLS, N_GENES))


def labels_of(name: str) -> list[str]:
    return [f"type {number % 11}" for number in range(len(name), N_CELLS + len(name))]


def archive(**changed: str) -> bytes:
    """Tables as R writes them, in the folders of the record; and a neighbour that must not be taken."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as file:
        for name, place in PLACES.items():
            genes = [f'"G,{gene}"' if gene == 2 else f'"G{min(gene, 5)}"' for gene in range(N_GENES)]
            rows = [f'"cell{n}",' + ",".join(map(str, row)) for n, row in enumerate(counts_of(name))]
            table = "\n".join(['"",' + ",".join(genes), *rows]) + "\n"
            file.writestr(place, changed.get(place, table))
            labels = ['"x"', *(f'"{label}"' for label in labels_of(name))]
            if name == "amb":
                levels = pd.DataFrame({"Class": "GABAergic", "Subclass": labels_of(name), "cluster": range(N_CELLS)})
                labels = levels.to_csv(index=False).splitlines()
            folder = place.rpartition("/")[0]
            file.writestr(f"{folder}/Labels.csv", changed.get(f"{folder}/Labels.csv", "\n".join(labels) + "\n"))
            file.writestr(f"__MACOSX/{folder}/._Labels.csv", b"\x00")
    return buffer.getvalue()


@pytest.fixture(scope="module")
def files():
    with served(archive()) as found:
        yield found


@pytest.fixture
def put(files, monkeypatch):
    """Serve these bytes as the archive."""

    def put(content: bytes) -> None:
        files.content = content
        files.asked.clear()
        found = replace(
            _abdelaal.ARCHIVE, url=files.url, hash=f"md5:{hashlib.md5(content).hexdigest()}", size=len(content)
        )
        monkeypatch.setattr(_abdelaal, "ARCHIVE", found)

    put(archive())
    return put


def test_the_record():
    """What Zenodo publishes of the file."""
    assert _abdelaal.ARCHIVE.url.startswith("https://zenodo.org/api/records/3357167/files/")
    assert _abdelaal.ARCHIVE.hash == "md5:b799a660b8bcaf5f3580a9b6f9372e5b"
    assert _abdelaal.ARCHIVE.size == 3_671_466_589


@pytest.mark.parametrize("name", PLACES)
def test_counts_and_labels(put, tmp_path, name):
    adata = getattr(scbignn.datasets, name)(folder=tmp_path)
    assert sp.issparse(adata.X)
    assert (adata.X.format, adata.X.dtype) == ("csr", np.float32)
    np.testing.assert_array_equal(adata.X.toarray(), counts_of(name))
    assert adata.obs["cell_type"].tolist() == labels_of(name)
    assert adata.obs["cell_type"].cat.categories.tolist() == [f"type {number}" for number in range(11)]
    assert adata.obs_names[:2].tolist() == ["cell0", "cell1"]
    assert adata.var_names.tolist() == ["G0", "G1", "G,2", "G3", "G4", "G5", "G5-1"]
    assert adata.uns["dataset"]["name"] == name
    assert "3357167" in adata.uns["dataset"]["source"]
    if name != "amb":
        assert list(adata.obs) == ["cell_type"]


def test_levels_of_amb(put, tmp_path):
    for level in ("class", "subclass", "cluster"):
        adata = scbignn.datasets.amb(level=level, folder=tmp_path)
        assert list(adata.obs) == ["class", "subclass", "cluster", "cell_type"]
        assert adata.obs["cell_type"].tolist() == adata.obs[level].tolist()
    assert adata.obs["cell_type"].cat.categories[:3].tolist() == ["0", "1", "2"]
    with pytest.raises(ValueError, match="level='Subclass' is unknown"):
        scbignn.datasets.amb(level="Subclass", folder=tmp_path)


def test_one_download_serves_all_sets_and_the_second_call_needs_no_archive(put, files, tmp_path, contents):
    with scbignn.settings.override(data_folder=tmp_path):
        first = scbignn.datasets.baron_mouse()
        scbignn.datasets.zheng_sorted()
        assert files.asked == [None]
        (tmp_path / "scRNAseq_Benchmark_datasets.zip").unlink()
        again = scbignn.datasets.baron_mouse()
    assert files.asked == [None]
    assert contents(again) == contents(first)
    assert sorted(path.name.split("-")[0] for path in tmp_path.iterdir()) == ["baron_mouse", "zheng_sorted"]


def test_a_spoilt_h5ad_is_made_anew(put, tmp_path):
    scbignn.datasets.baron_mouse(folder=tmp_path)
    (kept,) = tmp_path.glob("*.h5ad")
    kept.write_bytes(kept.read_bytes()[:1000])
    assert scbignn.datasets.baron_mouse(folder=tmp_path).n_obs == N_CELLS


def test_inspect_finds_counts(put, tmp_path):
    adata = scbignn.datasets.baron_mouse(folder=tmp_path)
    report = scbignn.pp.inspect(adata, labels_key="cell_type")
    assert "counts" in str(report)


@pytest.mark.parametrize(
    ("place", "text", "message"),
    [
        (PLACES["baron_mouse"], '"","G1"\n"c1",3\n"c2",-1\n', "a value that is no count, or too few"),
        (PLACES["baron_mouse"], '"","G1","G2"\n"c1",3,1\n"c2",,1\n', "has a gap, or a value that is no number"),
        (PLACES["baron_mouse"], '"","G1"\n"c1",3\n"c2",many\n', "has a gap, or a value that is no number"),
        (PLACES["baron_mouse"], '"","G1","G2"\n"c1",3\n', "a value that is no count, or too few"),
        (f"{INTRA}/Pancreatic_data/Baron Mouse/Labels.csv", '"x"\n"beta"\n', "1203 cells, and Labels.csv beside it 1"),
    ],
)
def test_what_does_not_fit_is_refused(put, tmp_path, place, text, message):
    put(archive(**{place: text}))
    with pytest.raises(ValueError, match=message):
        scbignn.datasets.baron_mouse(folder=tmp_path)
    assert not list(tmp_path.glob("*.h5ad"))


def test_an_archive_without_the_set(put, tmp_path):
    buffer = io.BytesIO()
    zipfile.ZipFile(buffer, "w").close()
    put(buffer.getvalue())
    with pytest.raises(KeyError, match=r"has no 'Intra-dataset/Pancreatic_data/Baron Mouse"):
        scbignn.datasets.baron_mouse(folder=tmp_path)


def test_no_archive_at_all(put, tmp_path):
    put(b"<html>Too many requests</html>")
    with pytest.raises(ValueError, match="no zip archive"):
        scbignn.datasets.baron_mouse(folder=tmp_path)


def test_labels_without_the_column(put, tmp_path):
    put(archive(**{f"{INTRA}/AMB/Labels.csv": "Class,Type\n" + "a,b\n" * N_CELLS}))
    with pytest.raises(KeyError, match="columns 'class', 'type'"):
        scbignn.datasets.amb(folder=tmp_path)
