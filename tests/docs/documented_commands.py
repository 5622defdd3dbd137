"""The commands in README.md and docs/, taken out of the pages, and their smallest forms."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from pathlib import Path

from commandline import ROOT

_STARTED = re.compile(r"(?:[A-Z_]+=\S+ )*((?:python|pip) .*)")  # without variables of the environment in front
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


@dataclass(frozen=True)
class Command:
    """A line of a page.

    Attributes:
        page: its name.
        words: as a shell would split them, without variables of the environment in front and remarks behind.
    """

    page: str
    words: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.page}: {' '.join(self.words)}"

    def after(self, *start: str) -> list[str] | None:
        """Its words behind these; None where it begins otherwise."""
        return list(self.words[len(start) :]) if self.words[: len(start)] == start else None


def documented() -> list[Command]:
    """Every line of a block of code that starts Python or pip; a line that is continued is one."""
    found = []
    for page in PAGES:
        for language, block in re.findall(r"^```(\w*)\n(.*?)^```$", page.read_text(encoding="utf-8"), re.M | re.S):
            if language not in ("", "bash", "sh"):
                continue
            for line in block.replace("\\\n", " ").splitlines():
                parts = [_STARTED.fullmatch(part.strip()) for part in line.split(" && ")]
                found += [Command(page.name, tuple(shlex.split(part[1], comments=True))) for part in parts if part]
    return list(dict.fromkeys(found))


def overrides_of(arguments: list[str]) -> list[str]:
    """Those of a command that are KEY=VALUE, without the ellipsis by which a page leaves some out."""
    return [each for each in arguments if "=" in each and not each.startswith("-")]


def with_folders(arguments: list[str], folders: dict[str, Path]) -> list[str]:
    """The arguments with folders in the place of the names that pages have for them."""
    return [_with_folder(each, folders) for each in arguments]


def _with_folder(argument: str, folders: dict[str, Path]) -> str:
    key, given, value = argument.rpartition("=")
    if value.split(",")[0] in ("rgb", "thermometer") and key not in ("run", "attack.source"):  # an encoding
        return argument
    if key == "model.robust" and value == "RUN":  # another one than model.accurate
        value = "RGB_RUN"
    return key + given + ",".join(str(folders.get(each, each)) for each in value.split(","))


def smallest(arguments: list[str], smaller: dict[str, str]) -> list[str]:
    """The arguments with smaller values in the place of theirs, and with those that they lack."""
    kept = [each for each in arguments if each.partition("=")[0] not in smaller]
    return [*kept, *(f"{key}={value}" for key, value in smaller.items())]
