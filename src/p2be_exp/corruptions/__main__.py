"""``python -m p2be_exp.corruptions make|preview|list``."""

from p2be_exp.commands.corruptions import main

if __name__ == "__main__":
    raise SystemExit(main())
