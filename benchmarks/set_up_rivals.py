"""Set up the environment of CellTypist, singler, scVI, scANVI and RegDiffusion, in `benchmarks/.venv-rivals`.

    python benchmarks/set_up_rivals.py [PIP OPTION ...]

They want other versions of packages than scbignn has, and so live apart. Options are handed to `pip install`, so that
`--extra-index-url https://download.pytorch.org/whl/cpu` takes a torch without CUDA. To start anew, delete the folder.
"""

from __future__ import annotations

import subprocess
import sys
import venv

from rivals._apart import ENVIRONMENT, REQUIREMENTS, python_of


def main() -> None:
    if {"-h", "--help"} & set(sys.argv[1:]):
        print(__doc__)
        return
    venv.create(ENVIRONMENT, with_pip=True)
    subprocess.run([python_of(ENVIRONMENT), "-m", "pip", "install", "-r", REQUIREMENTS, *sys.argv[1:]], check=True)


if __name__ == "__main__":
    main()
