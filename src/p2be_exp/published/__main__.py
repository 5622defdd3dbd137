"""``python -m p2be_exp.published list|check``."""

from p2be_exp.commands.published import main

if __name__ == "__main__":
    raise SystemExit(main())
