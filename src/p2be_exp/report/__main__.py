"""``python -m p2be_exp.report``."""

import sys

from p2be_exp.commands.report import main

sys.exit(main())
