"""Render the demo corpus: `python scripts/demo_corpus OUT_DIR`."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # run by path, not installed

from scripts.demo_corpus.corpus import build_corpus


def main() -> int:
    """Exit code: 0 done, 2 the arguments cannot be met."""
    parser = argparse.ArgumentParser(
        prog="demo_corpus", description="Render a small corpus of music known by construction."
    )
    parser.add_argument("out", type=Path, metavar="OUT_DIR", help="a new or empty folder")
    parser.add_argument("--seed", type=int, default=0, help="another seed, another corpus")
    parser.add_argument(
        "--pieces", type=int, default=120, help="compositions, two arrangements each"
    )
    parser.add_argument("--notes", type=int, default=160, help="single notes")
    parser.add_argument("--workers", type=int, default=2, help="processes; the sound is the same")
    args = parser.parse_args()
    start = time.perf_counter()
    try:
        rows = build_corpus(
            args.out, seed=args.seed, pieces=args.pieces, notes=args.notes, workers=args.workers
        )
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(f"{len(rows)} tracks in {args.out} ({time.perf_counter() - start:.1f} s)")
    return 0


if __name__ == "__main__":
    sys.exit(main())
