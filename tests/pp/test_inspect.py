import anndata
import h5py
import numpy as np
import pandas as pd
import pytest
import scanpy as sc
import scipy.sparse as sp
from anndata import AnnData

from scbignn._adata import read_expression
from scbignn._check import read_labels
from scbignn.pp import Report, inspect

HUMAN = [f"RPL{n}" for n in range(20)] + [f"CD{n}" for n in range(100)]
IDS = [f"ENSG{n:011d}" for n in range(120)]


@pytest.fixture
def cells() -> AnnData:
    """Nothing is wrong with these: 80 cells, 120 genes with human symbols."""
    rng = np.random.default_rng(0)
    adata = AnnData(sp.csr_matrix(rng.poisson(1.0, (80, 120)), dtype=np.float32))
    adata.obs_names = [f"cell_{n}" for n in range(80)]
    adata.var_names = HUMAN
    adata.obs["kind"] = pd.Categorical([["B", "T", "NK", "Unknown"][n % 4] for n in range(80)])
    adata.obs["batch"] = ["one" if n < 40 else "two" for n in range(80)]
    return adata


def findings(report: Report) -> dict[str, tuple[str, str, str]]:
    return {finding.what: (finding.level, finding.found, finding.mend) for finding in report.findings}


def normalized(x, total=1e4):
    x = np.asarray(x.todense(), dtype=np.float64)
    return x / x.sum(1, keepdims=True) * total


def set_x(function):
    def change(adata):
        x = adata.X.toarray()
        adata.X = sp.csr_matrix(function(x), dtype=np.float32)

    return change


def put(where, value):
    def function(x):
        x[where] = value
        return x

    return set_x(function)


def scaled(adata):
    adata.X = np.asarray(adata.X.todense() - adata.X.mean(0))


def scaled_with_layer(adata):
    adata.layers["counts"] = adata.X.copy()
    scaled(adata)


def scaled_with_raw(adata):
    adata.raw = adata
    scaled(adata)


def scaled_with_both(adata):
    sc.pp.log1p(adata)
    adata.raw = adata
    adata.layers["counts"] = sp.csr_matrix(np.expm1(adata.X.toarray()).round())
    scaled(adata)


def log1p_with_layer(adata):
    adata.layers["counts"] = adata.X.copy()
    adata.X = np.log1p(normalized(adata.X))


def labels(function):
    return lambda adata: adata.obs.__setitem__("kind", [function(n) for n in range(adata.n_obs)])


def rename(attribute, function):
    def change(adata):
        names = [function(n, name) for n, name in enumerate(getattr(adata, attribute))]
        setattr(adata, attribute, names)

    return change


def column(name, values):
    return lambda adata: adata.var.__setitem__(name, values)


def several(*changes):
    def change(adata):
        for one in changes:
            one(adata)

    return change


def double_column(adata):
    adata.obs = pd.concat([adata.obs, adata.obs[["kind"]]], axis=1)


def confounded(adata):
    adata.obs["batch"] = ["one" if n % 4 == 0 else "two" for n in range(80)]


K = {"labels_key": "kind"}
#: change, arguments, topic, level, parts of what is found, mend
BAD = {
    "scaled": (scaled, {}, "X", "problem", ["scaled or corrected", "negative"], ""),
    "scaled, counts in a layer": (scaled_with_layer, {}, "X", "problem", ["negative"], "layer='counts'"),
    "scaled, counts in raw": (scaled_with_raw, {}, "X", "problem", ["negative"], "adata = adata.raw.to_adata()"),
    "scaled, log1p in raw, counts in a layer": (scaled_with_both, {}, "X", "problem", [], "layer='counts'"),
    "log1p, counts in a layer": (
        log1p_with_layer,
        {},
        "X",
        "note",
        ["log1p values (base e)", "sum to 10,000 in every cell", "counts are in layers['counts']"],
        "layer='counts'",
    ),
    "layer of scaled values": (
        lambda adata: adata.layers.__setitem__("z", adata.X.toarray() - 1),
        {"layer": "z"},
        "layers['z']",
        "problem",
        ["-1 to"],
        "layer=None",
    ),
    "NaN in a cell": (
        put((7, slice(3)), np.nan),
        {},
        "X",
        "problem",
        ["3 values are NaN or infinite, in 1 cells and 3 genes"],
        "adata = adata[np.isfinite(np.ravel(adata.X.sum(1)))].copy()",
    ),
    "infinity in a gene": (
        put((slice(5), 3), np.inf),
        {},
        "X",
        "problem",
        ["5 values are NaN or infinite, in 5 cells and 1 genes"],
        "adata = adata[:, np.isfinite(np.ravel(adata.X.sum(0)))].copy()",
    ),
    "NaN everywhere": (
        set_x(lambda x: x + np.nan),
        {},
        "X",
        "problem",
        ["9,600 values are NaN or infinite, in 80 cells and 120 genes"],
        "",
    ),
    "no numbers": (
        lambda adata: adata.layers.__setitem__("words", np.full(adata.shape, "a", dtype=object)),
        {"layer": "words"},
        "layers['words']",
        "problem",
        ["holds no numbers"],
        "layer=None",
    ),
    "no known scale": (
        lambda adata: setattr(adata, "X", np.random.default_rng(0).random(adata.shape)),
        {},
        "X",
        "problem",
        ["neither counts"],
        "",
    ),
    "binary": (set_x(lambda x: x > 0), {}, "X", "note", ["0 or 1"], ""),
    "zeros": (set_x(lambda x: 0 * x), {}, "X", "problem", ["zero everywhere"], ""),
    "no X": (lambda adata: setattr(adata, "X", None), {}, "X", "problem", ["no numbers"], ""),
    "no X, a layer": (
        several(lambda a: a.layers.__setitem__("c", a.X.copy()), lambda a: setattr(a, "X", None)),
        {},
        "X",
        "problem",
        [],
        "layer='c'",
    ),
    "cell names": (
        rename("obs_names", lambda n, name: name if n > 1 else "twin"),
        {},
        "cell names",
        "problem",
        ["1 name more than once: 'twin'"],
        "adata.obs_names_make_unique()",
    ),
    "empty cells": (
        put(([4, 9], slice(None)), 0),
        {},
        "empty cells",
        "problem",
        ["2 cells without any count: 'cell_4', 'cell_9'"],
        "sc.pp.filter_cells(adata, min_counts=1)",
    ),
    "poor cells": (
        several(put((4, slice(None)), 0), put((4, 0), 1)),
        {},
        "poor cells",
        "note",
        ["1 cell with fewer than", "'cell_4'"],
        "sc.pp.filter_cells(adata, min_counts=6)",
    ),
    "equal cells": (
        lambda adata: setattr(adata, "X", adata.X[[0, 1, 2, 1, 1, *range(5, 80)]]),
        {},
        "equal cells",
        "note",
        ["2 cells equal", "the first 'cell_3' that of 'cell_1'"],
        "adata = adata[~adata.to_df().duplicated().to_numpy()].copy()",
    ),
    "empty genes": (put((slice(None), [1, 2]), 0), {}, "empty genes", "ok", ["2 genes"], ""),
    "gene names": (
        rename("var_names", lambda n, name: name if n > 1 else "twin"),
        {},
        "gene names",
        "problem",
        ["1 name more than once: 'twin'"],
        "adata.var_names_make_unique()",
    ),
    "genes without names": (
        rename("var_names", lambda n, name: name if n else ""),
        {},
        "gene names",
        "note",
        ["1 gene without a name"],
        "adata = adata[:, ~adata.var_names.isin(['', 'nan', 'NaN'])].copy()",
    ),
    "row numbers as names": (
        several(rename("var_names", lambda n, _: str(n)), column("symbol", HUMAN)),
        {},
        "genes",
        "note",
        ["120 numbers"],
        "gene_symbols='symbol'",
    ),
    "placeholders": (rename("var_names", lambda n, _: f"gene_{n}"), {}, "genes", "note", ["no reference"], ""),
    "Ensembl ids": (
        several(rename("var_names", lambda n, _: f"{IDS[n]}.2"), column("symbol", HUMAN)),
        {},
        "genes",
        "ok",
        ["120 Ensembl ids", "human", "ENSG", "120 with a version", "symbols with gene_symbols='symbol'"],
        "",
    ),
    "repeated symbols": (
        column("s", ["A", "A", *HUMAN[2:]]),
        {"gene_symbols": "s"},
        "gene names",
        "note",
        ["'A'. The first"],
        "",
    ),
    "no labels": (labels(lambda _: None), K, "labels", "problem", ["no cell has a label"], ""),
    "one label": (labels(lambda n: "B" if n else None), K, "labels", "problem", ["'B' on 79 cells"], ""),
    "measurements as labels": (labels(lambda n: n / 7), K, "labels", "problem", ["80 values on 80 cells"], ""),
    "a label once": (
        labels(lambda n: "rare" if n == 3 else "BT"[n % 2]),
        K,
        "rare labels",
        "note",
        ["1 label on one cell only: 'rare'"],
        "",
    ),
    "labels of no label": (
        labels(lambda n: ["B", "T", "unassigned", "NA"][n % 4]),
        K,
        "no label",
        "note",
        ["40 cells"],
        "adata.obs['kind'] = adata.obs['kind'].astype(object).replace(['unassigned', 'NA'], 'Unknown')",
    ),
    "spelling": (
        labels(lambda n: "b cell " if n == 1 or n == 3 else ["B cell", "T cell"][n % 2]),
        K,
        "spelling",
        "note",
        ["1 label like another", "'b cell ' and 'B cell'"],
        "adata.obs['kind'] = adata.obs['kind'].astype(object).replace({'b cell ': 'B cell'})",
    ),
    "a column twice": (
        double_column,
        K,
        "labels_key",
        "problem",
        ["2 columns named 'kind'"],
        "adata.obs = adata.obs.loc[:, ~adata.obs.columns.duplicated()]",
    ),
    "confounded batch": (
        confounded,
        K | {"batch_key": "batch"},
        "confounded",
        "note",
        ["1 of 2 batches with one label only ('one')"],
        "",
    ),
    "batch missing": (
        lambda a: a.obs.__setitem__("batch", [None, "a", "b", "a"] * 20),
        {"batch_key": "batch"},
        "no batch",
        "problem",
        ["20 cells without a batch"],
        "adata.obs['batch'] = adata.obs['batch'].astype(object).fillna('missing')",
    ),
    "names as batches": (
        lambda a: a.obs.__setitem__("batch", a.obs_names),
        {"batch_key": "batch"},
        "batches",
        "problem",
        ["80 values"],
        "",
    ),
    "a batch of one cell": (
        lambda a: a.obs.__setitem__("batch", ["a", *["b", "c"] * 39, "b"]),
        {"batch_key": "batch"},
        "small batches",
        "note",
        ["'a'"],
        "",
    ),
}


@pytest.mark.filterwarnings("ignore:.* names are not unique")
@pytest.mark.parametrize("case", BAD)
def test_what_is_wrong_is_found_and_nothing_changed(cells, contents, case):
    change, arguments, what, level, fragments, mend = BAD[case]
    change(cells)
    before = contents(cells)
    report = inspect(cells, **arguments)
    assert contents(cells) == before
    found = findings(report)[what]
    assert found[0] == level
    assert [fragment for fragment in fragments if fragment not in found[1]] == []
    assert found[2] == mend
    assert report.ok == ("problem" not in {finding.level for finding in report.findings})
    assert str(report)


#: Cases whose mend is an argument or a line that leaves nothing to say on that topic.
MENDED = [case for case, (*_, level, _, mend) in BAD.items() if mend and level != "ok"]


@pytest.mark.filterwarnings("ignore:.* names are not unique")
@pytest.mark.parametrize("case", MENDED)
def test_the_mend_mends(cells, case):
    change, arguments, what, _, _, mend = BAD[case]
    change(cells)
    names = {"adata": cells, "np": np, "sc": sc}
    if mend.startswith(("layer", "gene_symbols")):
        arguments = arguments | eval(f"dict({mend})")
    else:
        exec(mend, names)
    found = findings(inspect(names["adata"], **arguments))
    slot = f"layers[{arguments['layer']!r}]" if arguments.get("layer") else "X"
    assert found.get(slot if what == "X" else what, ("ok",))[0] == "ok"


def test_nothing_wrong(cells):
    report = inspect(cells, labels_key="kind", batch_key="batch")
    assert report.ok
    assert {finding.level for finding in report.findings} == {"ok"}
    assert str(report).startswith("80 cells x 120 genes: nothing to mend\n")
    assert findings(report)["labels"][1] == "3 labels in obs['kind'], on 20 ('NK') to 20 cells ('B'); none on 20"
    assert findings(report)["batches"][1] == "2 batches in obs['batch'], of 40 ('two') to 40 cells ('one')"


def test_columns_are_proposed(cells):
    cells.obs["leiden"] = ["a", "b"] * 40
    found = findings(inspect(cells))
    assert found["labels"][:2] == ("ok", "not looked at; labels_key could be 'leiden' (2)")
    assert found["batches"][:2] == ("ok", "not looked at; batch_key could be 'batch' (2)")


@pytest.mark.parametrize("shape", [(0, 5), (5, 0), (0, 0)])
def test_no_cells_or_genes(shape):
    report = inspect(AnnData(np.ones(shape, dtype=np.float32)))
    assert not report.ok
    assert "there are no" in report.findings[0].found


def test_one_cell_and_one_gene():
    assert inspect(AnnData(np.ones((1, 1), dtype=np.float32))).n_obs == 1


@pytest.mark.parametrize(
    ("arguments", "error", "match"),
    [
        ({"labels_key": "x"}, KeyError, "adata.obs has no column 'x'.*'kind'.*labels_key"),
        ({"batch_key": "x"}, KeyError, "adata.obs has no column 'x'.*batch_key"),
        ({"gene_symbols": "x"}, KeyError, "adata.var has no column 'x'.*gene_symbols"),
        ({"layer": "x"}, KeyError, "adata.layers has no 'x'"),
        ({"reference": "x"}, TypeError, "reference is a str without genes"),
        ({"reference": type("Model", (), {"genes": None})()}, TypeError, "reference is a Model without genes"),
        ({"labels_key": "kind", "unlabeled_category": ["x"]}, TypeError, "must be one label"),
    ],
)
def test_wrong_arguments(cells, arguments, error, match):
    with pytest.raises(error, match=match):
        inspect(cells, **arguments)


def test_only_anndata():
    with pytest.raises(TypeError, match="DataFrame, not an AnnData"):
        inspect(pd.DataFrame())


# --- reference ------------------------------------------------------------------------------------------------------


class Model:
    def __init__(self, genes, labels=None):
        self.genes = pd.Index(genes)
        if labels is not None:
            self.labels = labels


def other_cells(names):
    return AnnData(np.ones((2, len(names)), dtype=np.float32), var=pd.DataFrame(index=names))


@pytest.mark.parametrize("reference", [other_cells(HUMAN), Model(HUMAN)])
def test_all_genes_of_the_reference(cells, reference):
    assert findings(inspect(cells, reference))["reference genes"] == (
        "ok",
        "100.0% of the reference's 120 genes are there",
        "",
    )


@pytest.mark.parametrize(("n_there", "level"), [(120, "ok"), (108, "ok"), (107, "note"), (60, "note"), (59, "problem")])
def test_levels_of_overlap(cells, n_there, level):
    genes = HUMAN[:n_there] + [f"MORE{n}" for n in range(120 - n_there)]
    found = findings(inspect(cells, Model(genes)))["reference genes"]
    assert found[0] == level
    assert f"{n_there / 120:.1%} of the reference's 120" in found[1]
    assert ("'MORE0'" in found[1]) == (n_there < 120)


def with_raw(adata):
    adata.raw = adata
    return adata[:, :30].copy()


@pytest.mark.parametrize(
    ("change", "genes", "share", "fragment", "mend"),
    [
        (column("id", IDS), IDS, "100.0%", "adata has human symbols, the reference has human", "gene_symbols='id'"),
        (column("id", [f"{name}.3" for name in IDS]), IDS, "100.0%", "Ensembl", "gene_symbols='id'"),
        (with_raw, HUMAN, "100.0%", "30 genes only", "adata = adata.raw.to_adata()"),
        (lambda _: None, [name.capitalize() for name in HUMAN], "100.0%", "seems human", "known = {"),
        (rename("var_names", lambda n, _: IDS[n]), HUMAN, "", "Ensembl", "table = sc.queries.biomart_annotations("),
    ],
)
def test_what_raises_the_overlap(cells, change, genes, share, fragment, mend):
    adata = change(cells) or cells
    found = findings(inspect(adata, Model(genes)))["reference genes"]
    assert found[0] == "problem"
    assert fragment in found[1]
    assert f"{share} with the code below" in found[1] or not share
    assert found[2].startswith(mend)


def test_the_names_of_the_reference_can_be_the_ones_to_change(cells):
    reference = other_cells(IDS)
    reference.var["symbol"] = HUMAN
    mend = findings(inspect(cells, reference))["reference genes"][2]
    assert mend == "reference.var_names = reference.var['symbol']"
    exec(mend, {"reference": reference})
    assert findings(inspect(cells, reference))["reference genes"][0] == "ok"


def test_the_lines_for_a_column_change_that_column(cells):
    cells.var_names, cells.var["symbol"] = IDS, [name.capitalize() for name in HUMAN]
    reference = Model(HUMAN)
    _, text, mend = findings(inspect(cells, reference, gene_symbols="symbol"))["reference genes"]
    assert "100.0% with the code below" in text
    exec(mend, {"adata": cells, "reference": reference})
    assert cells.var_names.tolist() == IDS
    assert findings(inspect(cells, reference, gene_symbols="symbol"))["reference genes"][0] == "ok"


@pytest.mark.filterwarnings("ignore:.* names are not unique")
def test_cells_of_one_name_everywhere(cells):
    cells.obs_names = ["twin"] * 80
    confounded(cells)
    found = findings(inspect(cells, cells.copy(), labels_key="kind", batch_key="batch"))
    assert found["cell names"][0] == "problem"
    assert found["confounded"][0] == "note"


def test_versions_count_as_there(cells):
    cells.var_names = [f"{name}.1" for name in IDS]
    level, text, _ = findings(inspect(cells, Model(IDS)))["reference genes"]
    assert level == "ok"
    assert "120 of them but for the version" in text


def test_labels_of_both_sides(cells):
    level, text, mend = findings(inspect(cells, Model(HUMAN, ["B", "t ", "pDC"]), labels_key="kind"))[
        "reference labels"
    ]
    assert level == "note"
    assert text.startswith("1 label on both sides; 2 in adata only ('NK', 'T'); 2 in the reference only ('pDC', 't ')")
    assert mend == "adata.obs['kind'] = adata.obs['kind'].astype(object).replace({'T': 't '})"
    reference = cells.copy()
    assert findings(inspect(cells, reference, labels_key="kind"))["reference labels"][0] == "ok"
    reference.obs["kind"] = np.where(np.arange(len(reference)) % 9, reference.obs["kind"].astype(object), "unsure")
    found = findings(inspect(cells, reference, labels_key="kind", unlabeled_category="unsure"))
    assert found["reference labels"][0] == "ok"


def test_a_query_needs_no_labels(cells):
    query = cells.copy()
    del query.obs["kind"]
    for reference in (cells, Model(HUMAN, ["B", "T"])):
        level, text, _ = findings(inspect(query, reference, labels_key="kind"))["labels"]
        assert level == "ok"
        assert "adata has no obs['kind']" in text
    with pytest.raises(KeyError, match="no column 'kind'"):
        inspect(query, Model(HUMAN), labels_key="kind")


# --- where matrices lie ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", [sp.csr_matrix, sp.csc_matrix, sp.csr_array, np.asarray])
@pytest.mark.parametrize("dtype", [np.int64, np.float64, np.float16, np.uint8])
def test_any_form(cells, form, dtype):
    x = cells.X.toarray().astype(dtype)
    if dtype is np.float16 and form is not np.asarray:
        pytest.skip("SciPy has no float16")
    expected = inspect(cells)
    cells.X = form(x)
    assert inspect(cells) == expected


@pytest.mark.parametrize("dense", [True, False])
def test_backed(cells, tmp_path, monkeypatch, dense):
    monkeypatch.setattr("scbignn._check._expression.SAMPLE", 30)
    cells.raw = cells
    if dense:
        cells.X = cells.X.toarray()
    cells.write_h5ad(tmp_path / "in.h5ad")
    before = (tmp_path / "in.h5ad").read_bytes()
    backed = anndata.read_h5ad(tmp_path / "in.h5ad", backed="r")
    found = findings(inspect(backed, labels_key="kind"))
    backed.file.close()
    assert found["X"][0] == "ok"
    assert "seen in 30 of 80 cells" in found["X"][1]
    assert found["raw.X"][1].startswith("integer counts")
    assert (tmp_path / "in.h5ad").read_bytes() == before


def test_dask(cells):
    dask = pytest.importorskip("dask.array")
    cells.X = dask.from_array(cells.X.toarray(), chunks=(20, 120))
    found = findings(inspect(cells))
    assert found["X"][1].startswith("integer counts")


def test_a_view(cells, contents):
    view = cells[::2, 5:]
    assert inspect(view) == inspect(view.copy())
    assert view.is_view


def test_the_whole_matrix_is_looked_at_in_memory(cells, monkeypatch):
    monkeypatch.setattr("scbignn._check._expression.SAMPLE", 5)
    monkeypatch.setattr("scbignn.inspection._matrix._BLOCK", 7)
    put((33, 4), np.nan)(cells)
    assert "1 values are NaN" in findings(inspect(cells))["X"][1]


def test_x_of_a_file_that_is_no_annotation(tmp_path):
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file["x"] = np.arange(12.0).reshape(3, 4)
        assert findings(inspect(AnnData(file["x"])))["X"][1].startswith("integer counts")


def test_cells_of_scanpy():
    found = findings(inspect(sc.datasets.pbmc68k_reduced()))
    assert found["X"][0] == "problem"
    assert found["X"][2] == "adata = adata.raw.to_adata()"
    assert found["raw.X"][1] == "log1p values (base e)"
    assert "human" in found["genes"][1]
    assert "'bulk_labels' (10)" in found["labels"][1]


def test_the_way_from_a_report_to_labels(cells):
    """What the report says is fine, tl.annotate takes."""
    scaled_with_layer(cells)
    assert not inspect(cells, labels_key="kind").ok
    assert inspect(cells, labels_key="kind", layer="counts").ok
    assert read_labels(cells, "kind", "Unknown").names == ["B", "NK", "T"]
    assert read_expression(cells, "counts")[1].kind == "counts"
