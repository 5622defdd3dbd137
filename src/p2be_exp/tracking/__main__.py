"""``python -m p2be_exp.tracking workspace``."""

from p2be_exp.commands.tracking import main

if __name__ == "__main__":
    raise SystemExit(main())
