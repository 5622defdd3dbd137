"""Train a network on encoded pixels: ``python train.py --help``."""

from p2be_exp.commands.train import main

if __name__ == "__main__":
    raise SystemExit(main())
