"""`python -m evaluate` is the `evaluate` command."""

from evaluate.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
