"""Sphinx configuration. Build with: sphinx-build -W --keep-going -b html docs docs/_build/html."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from importlib.metadata import metadata
from pathlib import Path

# -- Project ----------------------------------------------------------------------------------------------------------

info = metadata("scbignn")
urls = dict(entry.split(", ", maxsplit=1) for entry in info.get_all("Project-URL"))

project = info["Name"]
author = "scbignn developers"
project_copyright = f"{datetime.now(tz=UTC):%Y}, {author}"
release = info["Version"]
version = ".".join(release.split(".")[:2])

# -- What is read -----------------------------------------------------------------------------------------------------

extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.mathjax",
    "sphinx.ext.napoleon",
    "sphinx_autodoc_typehints",  # after napoleon: it fills in the types that the docstrings leave out
    "sphinx_copybutton",
    "sphinx_design",
]

root_doc = "index"
exclude_patterns = ["_build", "jupyter_execute", "**.ipynb_checkpoints", "Thumbs.db", ".DS_Store"]

myst_enable_extensions = ["amsmath", "colon_fence", "deflist", "dollarmath"]
myst_heading_anchors = 3

# -- Tutorials --------------------------------------------------------------------------------------------------------

# Sphinx reads nothing outside of its folder. A copy that has not changed is left alone, so that its page is, too.
copies = Path(__file__).parent / "tutorials"
copies.mkdir(exist_ok=True)
notebooks = {path.name: path.read_bytes() for path in (Path(__file__).parent.parent / "tutorials").glob("*.ipynb")}
for copy in copies.glob("*.ipynb"):
    if copy.name not in notebooks:
        copy.unlink()
for name, notebook in notebooks.items():
    if not (copies / name).exists() or (copies / name).read_bytes() != notebook:
        (copies / name).write_bytes(notebook)

# Notebooks are kept with their outputs, and run by a test of their own. The gallery is drawn here: a plot that fails,
# fails the build. The cache knows a page by its code, not scbignn by its source: remove `.jupyter_cache` beside the output
# to draw anew.
nb_execution_mode = "cache"
nb_execution_excludepatterns = ["tutorials/*"]
nb_execution_timeout = 600
nb_execution_raise_on_error = True
nb_merge_streams = True
os.environ["PYTHONWARNINGS"] = "ignore:IProgress not found"  # of tqdm, in the kernel
os.environ.setdefault("OMP_NUM_THREADS", "1")  # the gallery's data are so small that threads would only wait

# -- The API ----------------------------------------------------------------------------------------------------------

autosummary_generate = True
autodoc_member_order = "bysource"
napoleon_google_docstring = False
napoleon_numpy_docstring = True
napoleon_include_init_with_doc = False
napoleon_use_param = True
napoleon_use_rtype = False
always_use_bars_union = True
typehints_defaults = "braces"
typehints_document_rtype = False

# Types that are imported for the type checker alone need not resolve here.
suppress_warnings = [
    "sphinx_autodoc_typehints.forward_reference",
    "sphinx_autodoc_typehints.guarded_import",
]

# Links into other projects need the network: only the published documentation has them.
if os.environ.get("READTHEDOCS"):
    extensions.append("sphinx.ext.intersphinx")
    intersphinx_timeout = 30
    intersphinx_mapping = {
        "anndata": ("https://anndata.readthedocs.io/en/stable/", None),
        "matplotlib": ("https://matplotlib.org/stable/", None),
        "numpy": ("https://numpy.org/doc/stable/", None),
        "pandas": ("https://pandas.pydata.org/docs/", None),
        "python": ("https://docs.python.org/3/", None),
        "scanpy": ("https://scanpy.readthedocs.io/en/stable/", None),
        "scipy": ("https://docs.scipy.org/doc/scipy/", None),
        "sklearn": ("https://scikit-learn.org/stable/", None),
        "torch": ("https://docs.pytorch.org/docs/stable/", None),
    }

# -- Links out of the documentation ----------------------------------------------------------------------------------

# sphinx-build -b linkcheck -D nb_execution_mode=off docs docs/_build/links
linkcheck_timeout = 30
linkcheck_retries = 3
linkcheck_workers = 2
linkcheck_anchors = False  # pages that are put together in the browser have none to be found
linkcheck_ignore = [
    r"https://doi\.org/10\.(1186|1038|21105)/.*",  # publishers that answer browsers only
    r"https://github\.com/scbignn/scbignn/(edit|issues/new).*",  # asks for a log-in
]

# -- The pages --------------------------------------------------------------------------------------------------------

html_theme = "sphinx_book_theme"
html_title = f"{project} {release}"
html_theme_options = {
    "navbar_persistent": [],  # the side bar has a search field already
    "navigation_with_keys": False,
    "path_to_docs": "docs",
    "repository_branch": "main",
    "repository_url": urls["Source"],
    "show_toc_level": 2,
    "use_issues_button": True,
    "use_repository_button": True,
}
html_show_sourcelink = False

copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True
