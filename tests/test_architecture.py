"""The rules of the house that can be read off the source."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import scbignn

PACKAGE = Path(scbignn.__file__).parent
MODULES = sorted(PACKAGE.rglob("*.py"))
WINGS = {"annotation", "clustering", "regulation"}
FLOORS = {
    "_agreement": 0,
    "_fields": 0,
    "_files": 0,
    "_h5ad": 0,
    "_hub": 1,
    "_keys": 0,
    "_labels": 0,
    "_log": 0,
    "_expression": 0,
    "_shared_memory": 0,
    "_ranks": 1,
    "_settings": 0,
    "_check": 1,
    "_genes": 2,
    "graph": 2,
    "_layers": 2,
    "_saved_model": 2,
    "_checkpoints": 1,
    "_training": 2,
    **dict.fromkeys(WINGS, 3),
    "inspection": 3,
    "_adata": 4,
    "_memory": 4,
    "_models": 4,
    "pp": 5,
    "tl": 5,
}
#: Rooms off the stairs, and all that they may enter.
SIDE_ROOMS = {"get": {"_agreement", "_keys", "_labels"}, "pl": {"get"}, "datasets": {"_settings"}}
FRONT = {"__init__", "_demo", "_report", "__main__"}


def room(path):
    """The first part of a module's name within the package."""
    return path.relative_to(PACKAGE).with_suffix("").parts[0]


def name_of(path):
    return path.relative_to(PACKAGE).as_posix()


def imports(path):
    """Every module that a file imports anywhere, by its full dotted name."""
    inside = ("scbignn", *path.relative_to(PACKAGE).parent.parts)
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = ".".join(inside[: len(inside) - node.level + 1]) if node.level else ""
            module = ".".join(part for part in (base, node.module) if part)
            found |= {f"{module}.{alias.name}" for alias in node.names}
    return found


def rooms_entered(path):
    """Rooms of the package, other than its own, that a file imports from."""
    return {name.split(".")[1] for name in imports(path) if name.startswith("scbignn.")} - {room(path)}


def test_the_imports_of_this_package_are_found():
    assert rooms_entered(PACKAGE / "tl" / "_learn.py") >= {"_adata", "_check", "_settings", "_training", "graph"}
    assert rooms_entered(PACKAGE / "annotation" / "_cell_gnn.py") == {"_layers", "graph"}
    assert "torch" in {name.split(".")[0] for name in imports(PACKAGE / "_layers.py")}


def test_every_room_is_on_the_plan():
    assert {room(path) for path in MODULES} <= FLOORS.keys() | SIDE_ROOMS.keys() | FRONT


@pytest.mark.parametrize("path", [path for path in MODULES if room(path) in FLOORS], ids=name_of)
def test_imports_run_downhill(path):
    for entered in rooms_entered(path):
        assert entered in FLOORS, f"{name_of(path)} imports {entered}"
        assert FLOORS[entered] < FLOORS[room(path)]


@pytest.mark.parametrize("path", [path for path in MODULES if room(path) in SIDE_ROOMS], ids=name_of)
def test_side_rooms_enter_little(path):
    assert rooms_entered(path) <= SIDE_ROOMS[room(path)]


@pytest.mark.parametrize("path", [path for path in MODULES if room(path) in WINGS], ids=name_of)
def test_no_wing_imports_another(path):
    assert not rooms_entered(path) & (WINGS - {room(path)})


@pytest.mark.parametrize("path", [path for path in MODULES if room(path) not in FRONT | {"tl"}], ids=name_of)
def test_nobody_but_the_front_imports_tl(path):
    assert "tl" not in rooms_entered(path)


@pytest.mark.parametrize(
    "path", [path for path in MODULES if room(path) in {"pl", "pp", "get", "inspection"}], ids=name_of
)
def test_reading_and_plotting_need_no_torch(path):
    assert not {name.split(".")[0] for name in imports(path)} & {"torch", "dgl"}


def dotted(node):
    """`a.b.c` of an attribute chain, or ''."""
    if isinstance(node, ast.Attribute):
        return f"{dotted(node.value)}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else ""


def breaches(tree, *, may_print=False):
    for node in ast.walk(tree):
        if isinstance(node, ast.Assert):
            yield "assert"
        elif isinstance(node, ast.Call) and dotted(node.func) == "print" and not may_print:
            yield "print"
        elif isinstance(node, ast.Attribute) and dotted(node).endswith(
            ("np.random.seed", "numpy.random.seed", "torch.manual_seed", "torch.cuda.manual_seed")
        ):
            yield dotted(node)
        elif isinstance(node, (ast.Import, ast.ImportFrom)):
            names = {alias.name for alias in node.names} | {getattr(node, "module", None)}
            yield from names & {"pickle", "cloudpickle", "dill", "joblib", "manual_seed"}


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_no_print_assert_global_seed_or_pickle(path):
    tree = ast.parse(path.read_text(encoding="utf-8"))
    assert list(breaches(tree, may_print=room(path) in {"__main__", "_demo"})) == []


@pytest.mark.parametrize(
    "line",
    ["print(1)", "assert x", "np.random.seed(0)", "torch.manual_seed(0)", "import pickle", "from pickle import load"],
)
def test_breaches_are_found(line):
    assert len(list(breaches(ast.parse(line)))) == 1


def test_import_loads_nothing_heavy_and_takes_less_than_a_second():
    code = (
        "import sys, time; start = time.perf_counter(); import scbignn; print(time.perf_counter() - start);"
        "print([name for name in ('torch', 'scanpy', 'anndata', 'dgl', 'matplotlib') if name in sys.modules])"
    )
    elapsed = []
    for _ in range(3):
        done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=True)
        seconds, heavy = done.stdout.splitlines()
        assert heavy == "[]"
        elapsed.append(float(seconds))
    assert min(elapsed) < 1
