"""``python -m p2be_exp.evaluation``."""

import sys

from p2be_exp.commands.imported import main

sys.exit(main())
