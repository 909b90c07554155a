"""What the tutorials and the documentation say is code names only what exists; tutorials run, and show what they gave."""

import ast
import importlib
import inspect
import json
import re
from pathlib import Path

import pytest

import scbignn

ROOT = Path(__file__).parent.parent
NOTEBOOKS = sorted((ROOT / "tutorials").glob("*.ipynb"))
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def name_of(path):
    return path.name


def code_of(path):
    """The Python of a notebook, or of the blocks of a page, as one string a cell or block."""
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".md":
        return re.findall(r"^```(?:python|\{code-cell\} ipython3)\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL)
    return ["".join(cell["source"]) for cell in json.loads(text)["cells"] if cell["cell_type"] == "code"]


def dotted(node):
    """`a.b.c` of an attribute chain, or ''."""
    if isinstance(node, ast.Attribute):
        before = dotted(node.value)
        return f"{before}.{node.attr}" if before else ""
    return node.id if isinstance(node, ast.Name) else ""


def find(name):
    """What a name stands for; raises where there is none, or where it is not public."""
    found = scbignn
    for part in name.split(".")[1:]:
        if part.startswith("_") and part != "__version__":
            raise AttributeError(name)
        if inspect.ismodule(found) and part not in found.__all__:
            raise AttributeError(name)
        found = getattr(found, part)
    return found


def breaches(code):
    """Names of this package that are not public or take no such argument, and private modules imported."""
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            base = getattr(node, "module", None) or ""
            for alias in node.names:
                parts = [*filter(None, base.split(".")), *alias.name.split(".")]
                if any(part.startswith("_") for part in parts):
                    yield ".".join(parts)
        if isinstance(node, ast.Attribute) and dotted(node).startswith("scbignn."):
            try:
                find(dotted(node))
            except AttributeError:
                yield dotted(node)
        if isinstance(node, ast.Call) and dotted(node.func).startswith("scbignn."):
            try:
                parameters = inspect.signature(find(dotted(node.func))).parameters
            except AttributeError:
                continue
            for keyword in node.keywords:
                if keyword.arg not in parameters and not any(p.kind is p.VAR_KEYWORD for p in parameters.values()):
                    yield f"{dotted(node.func)}({keyword.arg}=)"


@pytest.fixture(autouse=True)
def needs_tutorials():
    if not NOTEBOOKS:
        pytest.skip("an installed package carries no tutorials")


def code_cells(notebook):
    return [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]


def shown(cell):
    """What kinds of output a cell has: names of streams, types of media, and errors."""
    kinds = [output.get("name", output["output_type"]) for output in cell["outputs"]]
    return {*kinds, *(media for output in cell["outputs"] for media in output.get("data", ()))}


@pytest.mark.parametrize("path", NOTEBOOKS, ids=name_of)
def test_notebooks_show_what_one_run_gave(path):
    text = path.read_text(encoding="utf-8")
    cells = code_cells(json.loads(text))
    assert [cell["execution_count"] for cell in cells] == list(range(1, len(cells) + 1))
    assert "image/png" in set.union(*map(shown, cells)) or path.stem == "large_data"
    assert not any("error" in shown(cell) or "stderr" in shown(cell) for cell in cells)
    assert len(text) < 2_000_000
    assert re.search(r"/(home|root|tmp|Users|work)/", text) is None, "a path of the machine that it ran on"


@pytest.mark.slow
@pytest.mark.tutorial
@pytest.mark.parametrize("path", NOTEBOOKS, ids=name_of)
def test_notebooks_run(path, tmp_path, monkeypatch):
    """Run anew, each cell still shows outputs of the kinds that are kept."""
    nbclient, nbformat = pytest.importorskip("nbclient"), pytest.importorskip("nbformat")
    monkeypatch.setenv("PYTHONWARNINGS", "ignore:IProgress not found")  # of tqdm, in the kernel
    notebook = nbformat.read(path, as_version=4)
    kept = [shown(cell) for cell in code_cells(notebook)]
    nbclient.execute(notebook, cwd=tmp_path, timeout=600, kernel_name="python3")
    assert [shown(cell) for cell in code_cells(notebook)] == kept


@pytest.mark.parametrize("path", NOTEBOOKS, ids=name_of)
def test_notebooks_say_what_their_data_are(path):
    text = " ".join(path.read_text(encoding="utf-8").split())
    assert "a stand-in" in text
    assert "made by correlation" in text or "data here are generated" in text


@pytest.mark.parametrize("path", [*NOTEBOOKS, *PAGES], ids=name_of)
def test_code_names_what_exists(path):
    assert [breach for code in code_of(path) for breach in breaches(code)] == []


def test_notebooks_are_on_the_page_of_tutorials():
    page = (ROOT / "docs" / "tutorials.md").read_text(encoding="utf-8")
    listed = re.findall(r"^tutorials/(\w+)$", page, flags=re.MULTILINE)
    assert sorted(listed) == [path.stem for path in NOTEBOOKS]


@pytest.mark.parametrize(
    ("code", "breach"),
    [
        ("scbignn.tl.transfer(adata)", "scbignn.tl.transfer"),
        ("scbignn.tl.fit(adata, label_key='a')", "scbignn.tl.fit(label_key=)"),
        ("scbignn._check.some([1])", "scbignn._check.some"),
        ("from scbignn._adata import write_slots", "scbignn._adata.write_slots"),
        ("scbignn.settings.colour", "scbignn.settings.colour"),
    ],
)
def test_breaches_are_found(code, breach):
    assert breach in list(breaches(code))


def test_public_names_pass():
    code = "model = scbignn.tl.fit(adata, labels_key='a', rng=1)\nscbignn.annotation.Config.paper(n_layers=2)"
    assert importlib.import_module("scbignn.annotation").Config.paper
    assert list(breaches(code)) == []


def test_the_gallery_shows_every_plot_and_the_api_every_name():
    page = (ROOT / "docs" / "gallery.md").read_text(encoding="utf-8")
    assert {name for name in scbignn.pl.__all__ if f"scbignn.pl.{name}(" in page} == set(scbignn.pl.__all__)
    page = (ROOT / "docs" / "api.md").read_text(encoding="utf-8")
    for module in ("datasets", "get", "pl", "pp", "tl"):
        names = {f"{module}.{name}" for name in getattr(scbignn, module).__all__}
        assert names <= set(page.split()), f"docs/api.md lacks {names - set(page.split())}"
