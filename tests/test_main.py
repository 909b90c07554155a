import functools
import logging
import subprocess
import sys

import anndata
import h5py
import numpy as np
import pandas as pd
import pytest

import scbignn
from scbignn import get
from scbignn.__main__ import main


@pytest.fixture(autouse=True)
def quick(monkeypatch, fast):
    """The command takes no configuration: what it runs by default is made small."""
    monkeypatch.setattr("scbignn.tl._learn.Config", lambda: fast)


@pytest.fixture
def source(adata, tmp_path):
    path = tmp_path / "in.h5ad"
    adata.layers["scaled"] = (adata.X - adata.X.mean(0)).A
    adata.layers["counts"] = adata.X
    adata.write_h5ad(path)
    return path


def test_annotate_writes_what_the_function_finds(adata, source, tmp_path, capsys):
    before = source.read_bytes()
    out = tmp_path / "out.h5ad"
    assert main(["annotate", str(source), "--labels-key", "cell_type", "-o", str(out)]) == 0
    assert source.read_bytes() == before
    printed = capsys.readouterr()
    *logged, last = printed.out.splitlines()
    assert [line.split(":")[0] for line in logged] == ["annotate"] * 3
    assert last == f"wrote {out}"
    scbignn.tl.annotate(adata, "cell_type")
    written = anndata.read_h5ad(out)
    for name in ("annotation", "gene_importance", "history", "homophily"):
        pd.testing.assert_frame_equal(getattr(get, name)(written), getattr(get, name)(adata), check_exact=True)


def test_every_option_reaches_the_function(source, tmp_path, monkeypatch):
    seen = {}
    monkeypatch.setattr("scbignn.tl.annotate", lambda _, labels_key, **options: seen.update(options, key=labels_key))
    checkpoint = tmp_path / "run"
    options = {
        "--labels-key": "truth",
        "--reference": source,
        "--mode": "inductive",
        "--gene-symbols": "symbol",
        "--false-rejection-rate": 0.1,
        "-o": tmp_path / "out.h5ad",
        "--unlabeled-category": "?",
        "--layer": "counts",
        "--key-added": "mine",
        "--device": "cpu",
        "--backend": "torch",
        "--seed": 7,
        "--batch-key": "donor",
        "--checkpoint-dir": checkpoint,
    }
    assert main(["annotate", str(source), *(str(part) for option in options.items() for part in option)]) == 0
    assert seen.pop("reference").n_obs == anndata.read_h5ad(source).n_obs
    assert seen == {
        "key": "truth",
        "mode": "inductive",
        "gene_symbols": "symbol",
        "false_rejection_rate": 0.1,
        "unlabeled_category": "?",
        "layer": "counts",
        "key_added": "mine",
        "device": "cpu",
        "backend": "torch",
        "rng": 7,
        "batch_key": "donor",
        "checkpoint_dir": checkpoint,
    }


def test_quiet_and_verbose(source, tmp_path, monkeypatch, capfd):
    seen = []

    def said(adata, *_, **__):
        settings = scbignn.settings
        seen.append((settings.verbosity, settings.progress))
        for level in ("debug", "info", "warning"):
            getattr(logging.getLogger("scbignn.tl._annotate"), level)("%s", level)

    monkeypatch.setattr("scbignn.tl.annotate", said)
    before = scbignn.settings.verbosity, scbignn.settings.progress
    command = ["annotate", str(source), "--labels-key", "cell_type", "-o", str(tmp_path / "out.h5ad")]
    wrote = f"wrote {tmp_path / 'out.h5ad'}"
    for options, verbosity, progress, lines in (
        ([], 2, before[1], ["info", "warning", wrote]),
        (["-v"], 3, before[1], ["debug", "info", "warning", wrote]),
        (["--quiet"], 1, False, ["warning"]),
    ):
        assert main([*command, *options]) == 0
        assert seen.pop() == (verbosity, progress)
        assert capfd.readouterr() == ("".join(f"{line}\n" for line in lines), "")
    assert (scbignn.settings.verbosity, scbignn.settings.progress) == before
    with pytest.raises(SystemExit):
        main([*command, "-q", "-v"])


def test_annotate_from_a_reference(adata, source, tmp_path):
    query, out = tmp_path / "query.h5ad", tmp_path / "out.h5ad"
    cells = adata[:20].copy()
    del cells.obs["cell_type"]
    cells.write_h5ad(query)
    command = ["annotate", str(query), "--labels-key", "cell_type", "--reference", str(source), "-o", str(out)]
    assert main([*command, "--mode", "inductive"]) == 0
    written = anndata.read_h5ad(out)
    assert written.uns["scbignn"]["mode"] == "inductive"
    assert set(written.obs["scbignn"]) <= {"type 0", "type 1", "type 2"}
    assert main([*command[:-3], str(tmp_path / "missing.h5ad"), *command[-2:]]) == 2


def test_logging_is_as_before(source, tmp_path):
    logger = logging.getLogger("scbignn")
    before = list(logger.handlers), logger.level
    main(["annotate", str(source), "--labels-key", "cell_type", "-o", str(tmp_path / "out.h5ad")])
    main(["annotate", str(source), "--labels-key", "missing", "-o", str(tmp_path / "out.h5ad")])
    assert (list(logger.handlers), logger.level) == before


def text_file(folder):
    (folder / "in.h5ad").write_text("not HDF5")


def truncated(folder):
    whole = (folder / "in.h5ad").read_bytes()
    (folder / "in.h5ad").write_bytes(whole[: len(whole) // 2])


WRONG = {
    "missing file": (["none.h5ad"], None, "there is no file", "none.h5ad"),
    "a folder": (["."], None, "there is no file", "h5ad"),
    "text": ([], text_file, "in.h5ad cannot be read", "write_h5ad"),
    "truncated": ([], truncated, "in.h5ad cannot be read", "truncated"),
    "missing column": (["--labels-key", "celltype"], None, "no column 'celltype'", "'cell_type'"),
    "missing layer": (["--layer", "raw"], None, "no 'raw'", "'scaled'"),
    "scaled": (["--layer", "scaled"], None, "negative values", "layers['scaled']"),
    "output folder": (["-o", "none/out.h5ad"], None, "there is no folder none", "-o"),
    "nothing to label": (["--unlabeled-category", "?"], None, "every cell has a label", "'?'"),
    "one label": (["--labels-key", "one"], None, "single label", "two types"),
    "key": (["--key-added", "a/b"], None, "key_added='a/b'", '"/"'),
    "device": (["--device", "gpu"], None, "device='gpu'", '"cpu"'),
    "seed": (["--seed", "-1"], None, "non-negative", ""),
}


@pytest.mark.parametrize("case", WRONG)
def test_bad_input_gives_one_line_and_code_2(adata, tmp_path, monkeypatch, capsys, case):
    monkeypatch.chdir(tmp_path)
    arguments, change, *fragments = WRONG[case]
    adata.obs["one"] = ["B", None] * 30
    adata.layers["scaled"] = np.asarray(adata.X - adata.X.mean(0))
    adata.write_h5ad("in.h5ad")
    if change:
        change(tmp_path)
    before = (tmp_path / "in.h5ad").read_bytes()
    source = [] if arguments and not arguments[0].startswith("-") else ["in.h5ad"]
    # Of an option given twice the last one counts.
    code = main(["annotate", "--labels-key", "cell_type", "-o", "out.h5ad", *source, *arguments])
    err = capsys.readouterr().err
    assert code == 2
    assert err.startswith("scbignn: error: ")
    assert len(err.splitlines()) == 1
    assert [fragment for fragment in fragments if fragment not in err] == []
    assert "Traceback" not in err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.h5ad"]
    assert (tmp_path / "in.h5ad").read_bytes() == before


@pytest.mark.parametrize("case", ["numbers as labels", "no DGL", "checkpoint"])
def test_bad_input_gives_one_line_whatever_is_logged(adata, tmp_path, monkeypatch, capsys, case):
    monkeypatch.chdir(tmp_path)
    arguments = ["--layer", "scaled"]
    adata.obs["number"] = [1, 2, np.nan] * 20
    adata.layers["scaled"] = np.asarray(adata.X - adata.X.mean(0))
    adata.write_h5ad("in.h5ad")
    if case == "numbers as labels":
        arguments += ["--labels-key", "number"]
    elif case == "no DGL":
        monkeypatch.setattr("scbignn.graph._mean._import_dgl", functools.partial(__import__, "no_such_module"))
    else:
        (tmp_path / "notes.txt").write_text("mine")
        arguments = ["--checkpoint-dir", "notes.txt"]
    assert main(["annotate", "in.h5ad", "--labels-key", "cell_type", "-o", "out.h5ad", *arguments]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_the_input_may_be_the_output_and_stays_until_all_is_written(adata, source, tmp_path, monkeypatch, capsys):
    before, run = source.read_bytes(), tmp_path / "run"
    arguments = ["annotate", str(source), "--labels-key", "cell_type", "-o", str(source), "--checkpoint-dir", str(run)]
    with monkeypatch.context() as patch:

        def half(_self, path):
            path.write_bytes(b"half")
            raise OSError("no space left")

        patch.setattr(anndata.AnnData, "write_h5ad", half)
        assert main(arguments) == 2
    assert "no space left" in capsys.readouterr().err
    assert source.read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.h5ad", "run"]
    assert main(arguments) == 0
    assert "scbignn" in anndata.read_h5ad(source).obs
    assert [path.name for path in tmp_path.iterdir()] == ["in.h5ad"]


def test_outputs_take_no_place_of_inputs(source, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for arguments, fragment in (
        (["annotate", "none.h5ad", "--labels-key", "x", "--reference", "in.h5ad"], "is the file of --reference"),
        (["report", "in.h5ad"], "is the file of the input"),
    ):
        before = source.read_bytes()
        (tmp_path / "none.h5ad").write_bytes(b"")
        assert main([*arguments, "-o", str(source)]) == 2
        assert fragment in capsys.readouterr().err
        assert source.read_bytes() == before


def test_a_place_that_cannot_be_written_is_found_before_training(source, tmp_path, monkeypatch, capsys):
    def refuse(*_, **__):
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr("scbignn.tl.annotate", lambda *_, **__: pytest.fail("training began"))
    monkeypatch.setattr("tempfile.TemporaryFile", refuse)
    assert main(["annotate", str(source), "--labels-key", "cell_type", "-o", str(tmp_path / "out.h5ad")]) == 2
    assert "out.h5ad cannot be written (Read-only file system). Write elsewhere with -o" in capsys.readouterr().err


def test_demo_writes_to_a_folder_and_says_nothing_when_told_so(tmp_path, monkeypatch, capsys):
    (tmp_path / "file").touch()
    assert main(["demo", "-o", str(tmp_path / "file")]) == 2
    assert "is a file. Name a folder with -o" in capsys.readouterr().err
    monkeypatch.setattr("scbignn._demo.demo", lambda _, say: say("found"))
    assert main(["demo", "-o", str(tmp_path / "new")]) == 0
    assert capsys.readouterr().out == "found\n"
    assert main(["demo", "-q", "-o", str(tmp_path / "new")]) == 0
    assert capsys.readouterr().out == ""


def test_an_output_that_is_a_folder_is_refused_before_training(source, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("scbignn.tl.annotate", lambda *_, **__: pytest.fail("training began"))
    (tmp_path / "out.h5ad").mkdir()
    assert main(["annotate", str(source), "--labels-key", "cell_type", "-o", str(tmp_path / "out.h5ad")]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_version(capsys):
    with pytest.raises(SystemExit) as caught:
        main(["--version"])
    assert caught.value.code == 0
    assert capsys.readouterr().out == f"scbignn {scbignn.__version__}\n"


@pytest.mark.parametrize("arguments", [[], ["fly"], ["annotate"], ["annotate", "in.h5ad", "-o", "out.h5ad"]])
def test_wrong_usage(capsys, arguments):
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2
    assert "scbignn" in capsys.readouterr().err.splitlines()[-1]


@pytest.mark.parametrize("fast", ["default"], indirect=True)  # nothing is trained
def test_exit_code_of_the_process(tmp_path):
    command = [sys.executable, "-m", "scbignn", "annotate", "none.h5ad", "--labels-key", "x", "-o", "out.h5ad"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr == "scbignn: error: there is no file none.h5ad. Give the path of an h5ad file.\n"


@pytest.mark.parametrize("fast", ["default"], indirect=True)  # nothing is trained
def test_an_hdf5_file_of_something_else(tmp_path):
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["values"] = np.arange(3)
    command = [sys.executable, "-m", "scbignn", "annotate", "other.h5", "--labels-key", "x", "-o", "out.h5ad"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("content", [b"not HDF5", b""])
def test_a_file_that_is_no_h5ad_is_named(tmp_path, capsys, content):
    (tmp_path / "in.h5ad").write_bytes(content)
    assert main(["annotate", str(tmp_path / "in.h5ad"), "--labels-key", "x", "-o", str(tmp_path / "out.h5ad")]) == 2
    assert "in.h5ad" in capsys.readouterr().err


# --- inspect --------------------------------------------------------------------------------------------------------


def test_inspect_prints_the_report_and_changes_no_file(adata, source, capsys):
    before = source.read_bytes()
    assert main(["inspect", str(source), "--labels-key", "cell_type"]) == 0
    printed = capsys.readouterr()
    assert printed.out == f"{scbignn.pp.inspect(anndata.read_h5ad(source), labels_key='cell_type')}\n"
    assert printed.err == ""
    assert source.read_bytes() == before


def test_inspect_tells_of_a_problem_by_its_exit_code(source, capsys):
    assert main(["inspect", str(source), "--layer", "scaled"]) == 1
    assert "PROBLEM  layers['scaled']" in capsys.readouterr().out


def test_inspect_does_not_read_matrices_in_full(adata, source, monkeypatch, capsys):
    monkeypatch.setattr("scbignn._check._expression.SAMPLE", 20)
    assert main(["inspect", str(source)]) == 0
    assert capsys.readouterr().out.count("seen in 20 of 60 cells") == 3


def test_every_option_reaches_inspect(adata, source, monkeypatch, tmp_path):
    seen = []
    report = scbignn.pp.inspect(adata)
    monkeypatch.setattr("scbignn.pp.inspect", lambda *given, **options: seen.append((given, options)) or report)
    adata[:, :30].copy().write_h5ad(tmp_path / "reference.h5ad")
    options = {"--labels-key": "a", "--batch-key": "b", "--layer": "c", "--gene-symbols": "d"}
    arguments = [part for option in options.items() for part in option]
    assert main(["inspect", str(source), "--reference", str(tmp_path / "reference.h5ad"), *arguments]) == 0
    ((given, named),) = seen
    assert [found.shape for found in given] == [(60, 40), (60, 30)]
    assert named == {"labels_key": "a", "batch_key": "b", "layer": "c", "gene_symbols": "d"}


@pytest.mark.parametrize(
    ("arguments", "fragment"),
    [
        (["none.h5ad"], "there is no file none.h5ad"),
        (["in.h5ad", "--reference", "none.h5ad"], "there is no file none.h5ad"),
        (["text.h5ad"], "text.h5ad cannot be read as an h5ad file"),
        (["in.h5ad", "--reference", "text.h5ad"], "text.h5ad cannot be read as an h5ad file"),
        (["other.h5"], "other.h5 cannot be read as an h5ad file"),
        (["in.h5ad", "--labels-key", "x"], "adata.obs has no column 'x'"),
        (["in.h5ad", "--layer", "x"], "adata.layers has no 'x'"),
    ],
)
def test_inspect_of_bad_files_and_options(source, monkeypatch, capsys, arguments, fragment):
    monkeypatch.chdir(source.parent)
    (source.parent / "text.h5ad").write_text("not HDF5")
    with h5py.File("other.h5", "w") as file:
        file["values"] = np.arange(3)
    assert main(["inspect", *arguments]) == 2
    err = capsys.readouterr().err
    assert len(err.splitlines()) == 1
    assert fragment in err


def test_cluster_writes_what_the_function_finds(adata, source, tmp_path, capsys):
    out = tmp_path / "out.h5ad"
    assert main(["cluster", str(source), "--n-clusters", "3", "-o", str(out)]) == 0
    *logged, last = capsys.readouterr().out.splitlines()
    assert [line.split(":")[0] for line in logged] == ["cluster"] * 3
    assert last == f"wrote {out}"
    scbignn.tl.cluster(adata, 3)
    written = anndata.read_h5ad(out)
    pd.testing.assert_frame_equal(get.clusters(written), get.clusters(adata), check_exact=True)
    assert (written.obs["bgformer"] == adata.obs["bgformer"]).all()


def test_every_option_of_cluster_reaches_the_function(source, tmp_path, monkeypatch):
    seen = {}
    monkeypatch.setattr("scbignn.tl.cluster", lambda _, n_clusters, **options: seen.update(options, n=n_clusters))
    out = str(tmp_path / "out.h5ad")
    assert main(["cluster", str(source), "-o", out]) == 0
    assert seen == {"n": None, "layer": None, "batch_key": None, "key_added": "bgformer", "rng": 0}
    command = ["cluster", str(source), "-o", out, "--n-clusters", "4", "--layer", "counts", "--batch-key", "b"]
    assert main([*command, "--key-added", "mine", "--seed", "7"]) == 0
    assert seen == {"n": 4, "layer": "counts", "batch_key": "b", "key_added": "mine", "rng": 7}


@pytest.mark.parametrize(
    ("options", "fragment"),
    [
        (["--n-clusters", "1"], "n_clusters=1 must be at least 2"),
        (["--layer", "scaled"], "negative values"),
        (["-o", "none/out.h5ad"], "there is no folder none"),
        (["-o", "."], "clustered.h5ad"),
    ],
)
def test_cluster_says_what_is_wrong(source, tmp_path, monkeypatch, capsys, options, fragment):
    monkeypatch.chdir(tmp_path)
    assert main(["cluster", str(source), "-o", "out.h5ad", *options]) == 2
    assert fragment in capsys.readouterr().err
    assert not (tmp_path / "out.h5ad").exists()


@pytest.fixture
def regulated(tmp_path, monkeypatch):
    """A file with counts, and one with a network; what the command runs by default is made small."""
    small = functools.partial(
        scbignn.regulation.Config, members=("ridge",), n_folds=2, n_inner_folds=2, penalties=(10.0,)
    )
    monkeypatch.setattr("scbignn.tl._infer_grn.check_config", lambda *_: small())
    data, network = scbignn.datasets.simulated_network(n_cells=40, n_tfs=8, n_genes=30)
    data.write_h5ad(tmp_path / "in.h5ad")
    network.to_csv(tmp_path / "net.csv", index=False)
    for name in ("net.tsv", "NET.TXT"):
        network.to_csv(tmp_path / name, index=False, sep="\t")
    return tmp_path


@pytest.mark.parametrize("name", ["net.csv", "net.tsv", "NET.TXT"])
def test_grn_writes_what_the_function_finds(regulated, name, capsys):
    source, network, out, table = (str(regulated / file) for file in ("in.h5ad", name, "out.h5ad", "links.csv"))
    assert main(["grn", source, "--network", network, "-o", out, "--table", table, "--n-edges", "20"]) == 0
    assert f"wrote {out}" in capsys.readouterr().out
    adata = anndata.read_h5ad(source)
    scbignn.tl.infer_grn(adata, pd.read_csv(regulated / "net.csv"), n_edges=20)
    pd.testing.assert_frame_equal(get.grn(anndata.read_h5ad(out)), get.grn(adata))
    pd.testing.assert_frame_equal(pd.read_csv(table), get.grn(adata), check_dtype=False, check_exact=False, rtol=1e-5)


def test_grn_by_group(regulated):
    adata = anndata.read_h5ad(regulated / "in.h5ad")
    adata.obs["kind"] = ["a", "b"] * 20
    adata.write_h5ad(regulated / "in.h5ad")
    files = [str(regulated / name) for name in ("in.h5ad", "net.csv", "out.h5ad")]
    assert main(["grn", files[0], "--network", files[1], "-o", files[2], "--groupby", "kind"]) == 0
    assert set(get.grn(anndata.read_h5ad(files[2]))["group"]) == {"a", "b"}


@pytest.mark.parametrize(
    ("arguments", "fragment"),
    [
        (["--network", "none.csv"], "there is no file none.csv"),
        (["--network", "links.csv"], "no column 'source'"),
        (["--network", "in.h5ad"], "in.h5ad cannot be read as a table"),
        (["--network", "none.csv", "-o", "none.csv"], "is the file of --network, which would be lost"),
        (["--network", "net.csv", "--table", "net.csv"], "--table net.csv is the file of --network"),
        (["--network", "net.csv", "--table", "in.h5ad"], "--table in.h5ad is the file of the input"),
        (["--network", "net.csv", "--table", "out.h5ad"], "--table out.h5ad is the file of -o"),
        (["--network", "net.csv", "-o", "none/out.h5ad"], "there is no folder none"),
        (
            ["--network", "net.csv", "--table", "none/links.csv"],
            "no folder none. Create it, or write elsewhere with --table",
        ),
        (["--network", "net.csv", "--table", "."], "is a folder. Name a file with --table"),
        (["--network", "net.csv", "--layer", "none"], "no 'none'"),
    ],
)
def test_grn_of_bad_files_and_options(regulated, monkeypatch, capsys, arguments, fragment):
    monkeypatch.chdir(regulated)
    (regulated / "links.csv").write_text("TF,gene\nTF_0,gene_1\n")
    assert main(["grn", "in.h5ad", "-o", "out.h5ad", *arguments]) == 2
    err = capsys.readouterr().err
    assert err.startswith("scbignn: error: ")
    assert len(err.splitlines()) == 1
    assert fragment in err
    assert not (regulated / "out.h5ad").exists()
