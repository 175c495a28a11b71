"""Entry point: `accelerate launch train/run.py --method byol`."""

import sys
from pathlib import Path

if __name__ == "__main__":
    # Python puts this script's own folder first on the path, where our modules would shadow
    # others. The repository root belongs there.
    sys.path[0] = str(Path(__file__).resolve().parents[1])

    from train.cli import main

    main()
