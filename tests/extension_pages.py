"""The files and commands of docs/extending.md, taken out of the page."""

import re
import shlex
from pathlib import Path

from commandline import ROOT

PAGE = ROOT / "docs" / "extending.md"
MODULES = ("my_encoding", "my_backbone", "my_model", "my_regime", "my_second_look", "my_attack")


def write_files(folder: Path) -> list[str]:
    """Write the page's files, each a block under its name; the names."""
    blocks = re.findall(r"^`([\w/.]+)`\n\n```(?:python|yaml)\n(.*?)```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    for name, text in blocks:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return [name for name, _ in blocks]


def commands() -> list[list[str]]:
    """The page's commands, each as its words after ``python``."""
    return [shlex.split(line)[1:] for line in re.findall(r"^python .*$", PAGE.read_text(), re.MULTILINE)]
