"""The commands of docs/distributed.md, taken out of the page and made small enough for a test."""

import re
import shlex

from commandline import ROOT, TINY

PAGE = ROOT / "docs" / "distributed.md"
CPU = ("trainer.accelerator=cpu", "trainer.progress=false")


def commands() -> dict[str, list[str]]:
    """The page's commands as their words, by what starts the processes."""
    blocks = re.findall(r"^```\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    found = [shlex.split(block.replace("\\\n", " ")) for block in blocks]
    several = [any(word.startswith("--nnodes=") for word in words) for words in found]
    names = [f"{words[0]}, several machines" if more else words[0] for words, more in zip(found, several, strict=True)]
    assert len(set(names)) == len(names), names
    return dict(zip(names, found, strict=True))


def in_small(words: list[str], run: str, processes: int = 2, port: int = 0) -> list[str]:
    """A command of the page that trains a tiny network on a CPU.

    Args:
        words: of the command.
        run: the folder in the place of the page's.
        processes: of each machine, in the place of four.
        port: at which several machines meet, all of which are this one.
    """
    small = [word.replace("/shared/runs/NAME", run).replace("HOST:29500", f"127.0.0.1:{port}") for word in words]
    small = [re.sub(r"^(trainer\.devices|--(?:nproc-per|ntasks-per)-node)=4$", rf"\1={processes}", w) for w in small]
    assert small != words
    assert not [word for word in small if re.search(r"/shared|HOST|=4$", word)], small
    return [*small, *(argument for argument in TINY if not argument.startswith("trainer.")), *CPU]
