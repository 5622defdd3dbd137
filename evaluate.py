"""Evaluate a trained run: ``python evaluate.py --help``."""

from p2be_exp.commands.evaluate import main

if __name__ == "__main__":
    raise SystemExit(main())
