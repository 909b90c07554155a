"""The command `scbignn`."""

from __future__ import annotations

import argparse
import logging
import os
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from ._settings import settings

if TYPE_CHECKING:
    import pandas as pd
    from anndata import AnnData

#: The settings of each way to say more or less.
_SAID = {
    "usual": {"verbosity": 2},
    "more": {"verbosity": 3},
    "less": {"verbosity": 1, "progress": False},
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command.

    Returns
    -------
    The exit code: 0; 1 where `inspect` found a problem; 2 after one line on standard error that says what is wrong.
    """
    options = _parser().parse_args(arguments)
    logger = logging.getLogger("scbignn")
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(logging.Formatter("%(message)s"))
    logger.addHandler(handler)
    try:
        with settings.override(**_SAID[options.said]):
            return options.run(options)
    except (OSError, KeyError, TypeError, ValueError, RuntimeError) as error:
        message = error.args[0] if isinstance(error, KeyError) and error.args else error
        print(f"scbignn: error: {' '.join(str(message).split())}", file=sys.stderr)
        return 2
    finally:
        logger.removeHandler(handler)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="scbignn", description="Annotate and cluster single cells.")
    parser.add_argument("--version", action="version", version=f"scbignn {version('scbignn')}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    common = argparse.ArgumentParser(add_help=False)
    said = common.add_mutually_exclusive_group()
    said.add_argument(
        "-q", "--quiet", dest="said", action="store_const", const="less", help="say no more than warnings"
    )
    said.add_argument("-v", "--verbose", dest="said", action="store_const", const="more", help="say details, too")
    common.set_defaults(said="usual")

    demo = commands.add_parser(
        "demo", parents=[common], help="label real cells that come with scanpy, and show how well that went"
    )
    demo.add_argument("-o", "--output", type=Path, default=Path("scbignn-demo"), help="folder to write to")
    demo.set_defaults(run=_demo)

    annotate = commands.add_parser("annotate", parents=[common], help="label the unlabelled cells of an h5ad file")
    annotate.add_argument("input", type=Path, help="h5ad file with counts or log1p values")
    annotate.add_argument("--labels-key", required=True, help="column of obs with the known labels")
    annotate.add_argument("--reference", type=Path, help="h5ad file with the labelled cells, if not those of INPUT")
    annotate.add_argument("--batch-key", help="column of obs of the labelled cells' file with batches")
    annotate.add_argument(
        "--mode", default="transductive", help="with a reference: transductive, or inductive for each cell by itself"
    )
    annotate.add_argument("--gene-symbols", help="with a reference: column of var with the names to match genes by")
    annotate.add_argument(
        "--false-rejection-rate", type=float, help="call cells Unknown that are like no label, at this rate of mistakes"
    )
    annotate.add_argument("-o", "--output", type=Path, required=True, help="h5ad file to write")
    annotate.add_argument("--unlabeled-category", default="Unknown", help="label of the cells to label")
    annotate.add_argument("--layer", help="layer to use instead of X")
    annotate.add_argument("--key-added", default="scbignn", help="name of the slots to write")
    annotate.add_argument("--device", default="auto", help="auto, cpu, cuda, ...")
    annotate.add_argument("--backend", default="auto", choices=["auto", "dgl", "torch"], help="cell graph engine")
    annotate.add_argument("--seed", type=int, default=0, help="seed of everything random")
    annotate.add_argument("--checkpoint-dir", type=Path, help="folder that keeps the run, to go on after a kill")
    annotate.set_defaults(run=_annotate)

    cluster = commands.add_parser("cluster", parents=[common], help="cluster the cells of an h5ad file")
    cluster.add_argument("input", type=Path, help="h5ad file with counts or log1p values")
    cluster.add_argument("-o", "--output", type=Path, required=True, help="h5ad file to write")
    cluster.add_argument("--n-clusters", type=int, help="number of clusters; estimated if not given")
    cluster.add_argument("--layer", help="layer to use instead of X")
    cluster.add_argument("--batch-key", help="column of obs with batches across which cells are to meet")
    cluster.add_argument("--key-added", default="bgformer", help="name of the slots to write")
    cluster.add_argument("--seed", type=int, default=0, help="seed of everything random")
    cluster.set_defaults(run=_cluster)

    report = commands.add_parser(
        "report", parents=[common], help="write what was found in an annotated h5ad file to one HTML page"
    )
    report.add_argument("input", type=Path, help="h5ad file that `scbignn annotate` or tl.annotate wrote slots to")
    report.add_argument("-o", "--output", type=Path, required=True, help="HTML file to write")
    report.add_argument("--truth-key", help="column of obs with true labels, where they are known")
    report.add_argument("--batch-key", help="column of obs with samples")
    report.add_argument("--key", default="scbignn", help="name of the slots to read")
    report.add_argument("--title", default="Annotated cells", help="headline of the page")
    report.set_defaults(run=_report)

    grn = commands.add_parser("grn", parents=[common], help="score regulatory links from known ones and expression")
    grn.add_argument("input", type=Path, help="h5ad file with counts or log-transformed values")
    grn.add_argument("--network", type=Path, required=True, help="csv or tsv file with the columns source and target")
    grn.add_argument("-o", "--output", type=Path, required=True, help="h5ad file to write")
    grn.add_argument("--table", type=Path, help="csv file to write the links to, too")
    grn.add_argument(
        "--split", default="edge", choices=["edge", "target", "tf", "both"], help="what is hidden together"
    )
    grn.add_argument("--layer", help="layer to use instead of X")
    grn.add_argument("--groupby", help="column of obs: a network for each group of cells")
    grn.add_argument(
        "--encoder", default="auto", choices=["auto", "expression", "transformer"], help="what stands for genes"
    )
    grn.add_argument("--n-edges", type=int, help="how many links to keep")
    grn.add_argument("--key-added", default="sctransnet", help="name of the slots to write")
    grn.add_argument("--device", default="auto", help="auto, cpu, cuda, ...")
    grn.add_argument("--seed", type=int, default=0, help="seed of everything random")
    grn.set_defaults(run=_grn)

    inspect = commands.add_parser(
        "inspect", parents=[common], help="say what is wrong with an h5ad file, and what mends it"
    )
    inspect.add_argument("input", type=Path, help="h5ad file; matrices stay on disk")
    inspect.add_argument("--reference", type=Path, help="h5ad file to compare genes and labels with")
    inspect.add_argument("--labels-key", help="column of obs with labels")
    inspect.add_argument("--batch-key", help="column of obs with batches")
    inspect.add_argument("--layer", help="layer to use instead of X")
    inspect.add_argument("--gene-symbols", help="column of var with gene names to use instead of its index")
    inspect.set_defaults(run=_inspect)
    return parser


def _demo(options: argparse.Namespace) -> int:
    from ._demo import demo

    if options.output.exists() and not options.output.is_dir():
        msg = f"{options.output} is a file. Name a folder with -o."
        raise NotADirectoryError(msg)
    demo(options.output, say=partial(_say, options))
    return 0


def _annotate(options: argparse.Namespace) -> int:
    import anndata

    from . import tl
    from ._checkpoints import kept_until_done
    from ._ranks import is_first

    _check_input(options.input)
    _check_output(options.output, "annotated.h5ad", others={"--reference": options.reference})
    reference = None
    if options.reference is not None:
        _check_input(options.reference)
        with _reading(options.reference):
            reference = anndata.read_h5ad(options.reference)
    with _reading(options.input):
        adata = anndata.read_h5ad(options.input)
    with kept_until_done():
        tl.annotate(
            adata,
            options.labels_key,
            reference=reference,
            batch_key=options.batch_key,
            mode=options.mode,
            gene_symbols=options.gene_symbols,
            false_rejection_rate=options.false_rejection_rate,
            unlabeled_category=options.unlabeled_category,
            layer=options.layer,
            key_added=options.key_added,
            device=options.device,
            backend=options.backend,
            rng=options.seed,
            checkpoint_dir=options.checkpoint_dir,
        )
        if is_first():  # of the processes that torchrun started
            _write(adata, options)
    return 0


def _cluster(options: argparse.Namespace) -> int:
    import anndata

    from . import tl

    _check_input(options.input)
    _check_output(options.output, "clustered.h5ad")
    with _reading(options.input):
        adata = anndata.read_h5ad(options.input)
    tl.cluster(
        adata,
        options.n_clusters,
        layer=options.layer,
        batch_key=options.batch_key,
        key_added=options.key_added,
        rng=options.seed,
    )
    _write(adata, options)
    return 0


def _report(options: argparse.Namespace) -> int:
    import anndata

    from ._report import report

    _check_input(options.input)
    _check_output(options.output, "report.html", others={"the input": options.input})
    with _reading(options.input):
        adata = anndata.read_h5ad(options.input)
    report(
        adata,
        options.output,
        truth_key=options.truth_key,
        batch_key=options.batch_key,
        key=options.key,
        title=options.title,
    )
    _say(options, f"wrote {options.output}")
    return 0


def _grn(options: argparse.Namespace) -> int:
    import anndata

    from . import get, tl

    _check_input(options.input)
    _check_output(options.output, "scored.h5ad", others={"--network": options.network})
    if options.table is not None:
        others = {"the input": options.input, "--network": options.network, "-o": options.output}
        _check_output(options.table, "links.csv", option="--table", others=others)
    network = _read_network(options.network)
    with _reading(options.input):
        adata = anndata.read_h5ad(options.input)
    tl.infer_grn(
        adata,
        network,
        split=options.split,
        layer=options.layer,
        groupby=options.groupby,
        encoder=options.encoder,
        n_edges=options.n_edges,
        key_added=options.key_added,
        device=options.device,
        rng=options.seed,
    )
    _write(adata, options)
    if options.table is not None:
        get.grn(adata, key=options.key_added).to_csv(options.table, index=False)
        _say(options, f"wrote {options.table}")
    return 0


def _inspect(options: argparse.Namespace) -> int:
    from . import pp
    from ._h5ad import on_disk

    arguments = vars(options).copy()
    paths = [path for path in (arguments.pop("input"), arguments.pop("reference")) if path is not None]
    del arguments["run"], arguments["said"]
    for path in paths:
        _check_input(path)
    with ExitStack() as stack:
        opened = []
        for path in paths:
            with _reading(path):
                opened.append(stack.enter_context(on_disk(path)))
        report = pp.inspect(*opened, **arguments)
    print(report)
    return 0 if report.ok else 1


def _say(options: argparse.Namespace, line: str) -> None:
    if options.said != "less":
        print(line)


def _check_input(path: Path) -> None:
    if not path.is_file():
        msg = f"there is no file {path}. Give the path of an h5ad file."
        raise FileNotFoundError(msg)


def _check_output(
    path: Path, example: str, *, option: str = "-o", others: Mapping[str, Path | None] | None = None
) -> None:
    """A file that can be written, and is none of the others, which stand by what names them."""
    if not path.parent.is_dir():
        msg = f"there is no folder {path.parent}. Create it, or write elsewhere with {option}."
        raise FileNotFoundError(msg)
    if path.is_dir():
        msg = f"{path} is a folder. Name a file with {option}, such as {path / example}."
        raise IsADirectoryError(msg)
    same = [name for name, other in (others or {}).items() if other is not None and other.resolve() == path.resolve()]
    if same:
        msg = f"{option} {path} is the file of {same[0]}, which would be lost. Name another file with {option}."
        raise ValueError(msg)
    try:
        if path.exists():
            path.open("ab").close()
        else:
            tempfile.TemporaryFile(dir=path.parent).close()
    except OSError as error:
        msg = f"{path} cannot be written ({error.strerror}). Write elsewhere with {option}."
        raise OSError(msg) from error


def _read_network(path: Path) -> pd.DataFrame:
    import pandas as pd

    mend = "Give a csv or tsv file with the columns source and target."
    if not path.is_file():
        msg = f"there is no file {path}. {mend}"
        raise FileNotFoundError(msg)
    tabs = {suffix.lower() for suffix in path.suffixes} & {".tsv", ".tab", ".txt"}
    try:
        return pd.read_csv(path, sep="\t" if tabs else ",")
    except (OSError, ValueError) as error:
        msg = f"{path} cannot be read as a table ({error}). {mend}"
        raise OSError(msg) from error


def _write(adata: AnnData, options: argparse.Namespace) -> None:
    """Write the output as a whole: a file that is there stays until then, also if it is the input."""
    path = options.output.resolve()
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        adata.write_h5ad(part)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
    _say(options, f"wrote {options.output}")


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    """Turn whatever goes wrong while a file is read into a message that names it."""
    try:
        yield
    except Exception as error:
        msg = f"{path} cannot be read as an h5ad file ({error}). Write one with adata.write_h5ad(...)."
        raise OSError(msg) from error


if __name__ == "__main__":
    sys.exit(main())
