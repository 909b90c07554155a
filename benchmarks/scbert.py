"""Memory and time of encoding cells with a network of scBERT's full size, with random weights.

    python benchmarks/scbert.py [--cells 4] [--genes 2000] [--panel full dataset] [--pooling attention] [--threads 1]

Peak memory is that of the whole process, with Python and torch. Time does not depend on the weights' values.
"""

from __future__ import annotations

import argparse
import resource
import sys
import time

import numpy as np
import scipy.sparse as sp
import torch

from scbignn.regulation import Config, ScBert, encode_genes
from scbignn.regulation._scbert import expected_shapes


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cells", type=int, nargs="+", default=[2, 4], help="runs with so many cells, fewest first")
    parser.add_argument("--genes", type=int, default=2000, help="genes of the data")
    parser.add_argument("--panel", choices=["full", "dataset"], default="full")
    parser.add_argument("--pooling", choices=["attention", "mean"], default="attention")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    model = random_scbert(options.panel)
    names = model.genes[:: len(model.genes) // options.genes][: options.genes]
    print("| panel | pooling | genes | cells | cells / s | cells / s of CPU | peak memory |\n" + "|---" * 7 + "|")
    for n_cells in options.cells:
        seconds, cpu_seconds = encode(model, names, n_cells, options)
        about = f"{options.panel} | {options.pooling} | {len(names):,} | {n_cells:,}"
        rates = f"{n_cells / seconds:.3f} | {n_cells / cpu_seconds:.3f}"
        print(f"| {about} | {rates} | {peak_memory() / 1e9:.2f} GB |", flush=True)


def random_scbert(panel: str) -> ScBert:
    """All tensors that encoding reads, of the published shapes."""
    generator = torch.Generator().manual_seed(0)
    shapes = expected_shapes(16_906, 200, 10, 6, 266)
    weights = {
        name: torch.randn(shape, generator=generator) * (0.02 if len(shape) == 2 and "projection" not in name else 1)
        for name, shape in shapes.items()
        if not name.startswith(("to_out.", "performer.calls"))
    }
    return ScBert(weights, np.array([f"G{number}" for number in range(16_906)], dtype=object), panel)


def encode(model: ScBert, names: np.ndarray, n_cells: int, options: argparse.Namespace) -> tuple[float, float]:
    """Seconds, and seconds of CPU time."""
    x = sp.random(n_cells, len(names), 0.2, "csr", dtype=np.float32, random_state=0) * 5
    config = Config(pooling=options.pooling)
    start, cpu_start = time.perf_counter(), time.process_time()
    encode_genes(model, x, names, config, device=torch.device(options.device))
    return time.perf_counter() - start, time.process_time() - cpu_start


def peak_memory() -> int:
    """Bytes; ru_maxrss is in kilobytes, on macOS in bytes."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


if __name__ == "__main__":
    main()
