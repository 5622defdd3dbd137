"""What pyproject.toml cannot say: ``conf/``, ``sweeps/`` and ``docs/zoo/`` become part of the package when it is built.

In the repository they stay where a person looks for them. A wheel has them inside the package, as ``_conf``,
``_sweeps`` and ``_zoo``; :mod:`p2be_exp.system.installation` finds them in either place.
"""

import re
from pathlib import Path

from setuptools import find_packages, setup

INIT = Path(__file__).with_name("src") / "p2be_exp" / "__init__.py"
VERSION = re.search(r'^__version__ = "(.+)"$', INIT.read_text(encoding="utf-8"), re.MULTILINE)

setup(
    version=VERSION[1],
    packages=[*find_packages("src"), "p2be_exp._conf", "p2be_exp._sweeps", "p2be_exp._zoo"],
    package_dir={"": "src", "p2be_exp._conf": "conf", "p2be_exp._sweeps": "sweeps", "p2be_exp._zoo": "docs/zoo"},
    package_data={
        "p2be_exp": ["py.typed"],
        "p2be_exp.report": ["sort.js"],
        "p2be_exp.report.leaderboard": ["page.css", "page.html.j2"],
        "p2be_exp.report.paper": ["*.css", "*.html.j2", "runs_page.js", "published.yaml"],
        "p2be_exp._conf": ["**/*.yaml"],
        "p2be_exp._sweeps": ["*.yaml"],
        "p2be_exp._zoo": ["*/*"],
    },
)
