"""Write `folds/<set>.txt`, a digit a cell: StratifiedKFold(5, shuffle=True, random_state=0).

python benchmarks/make_folds.py --data DIR
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from _problem import FOLDS, SETS, load
from sklearn.model_selection import StratifiedKFold


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    for name in SETS:
        _, y, _ = load(name, parser.parse_args().data)
        fold = np.empty(len(y), dtype=int)
        for number, (_, test) in enumerate(StratifiedKFold(5, shuffle=True, random_state=0).split(y, y)):
            fold[test] = number
        (FOLDS / f"{name}.txt").write_text("".join(map(str, fold)) + "\n")


if __name__ == "__main__":
    main()
