"""Pages of the site that are not in docs/: the API, a page a room, and what docs/ links to elsewhere in the repository.

Run by mkdocs-gen-files; nothing is written into the working tree.
"""

from __future__ import annotations

import ast
from pathlib import Path

import mkdocs_gen_files

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "src" / "p2be_exp"
COPIED = ("CONTRIBUTING.md", "CHANGELOG.md", "benchmarks/*.md", "benchmarks/reproduction/*/*", "examples/**/*.*")


def copy_pages() -> None:
    """The files of the repository that the pages of docs/ link to, under their paths."""
    for pattern in COPIED:
        for path in sorted(ROOT.glob(pattern)):
            if path.is_file() and "__pycache__" not in path.parts:
                with mkdocs_gen_files.open(path.relative_to(ROOT).as_posix(), "wb") as file:
                    file.write(path.read_bytes())


def examples_navigation() -> None:
    """The overview, then each example by its page's title."""
    lines = ["* [Overview](README.md)"]
    for page in sorted(ROOT.glob("examples/*/README.md")):
        title = page.read_text().splitlines()[0].removeprefix("# ")
        lines.append(f"* [{title}]({page.parent.name}/README.md)")
    with mkdocs_gen_files.open("examples/SUMMARY.md", "w") as file:
        file.write("\n".join(lines) + "\n")


def modules_of(room: Path) -> list[str]:
    """Dotted names of the public modules of a folder of the package, its own first."""
    parts = [path.relative_to(PACKAGE.parent).with_suffix("").parts for path in sorted(room.rglob("*.py"))]
    names = [parts_[:-1] if parts_[-1] == "__init__" else parts_ for parts_ in parts]
    return sorted(".".join(name) for name in names if not any(part.startswith("_") for part in name))


def summary_of(module: Path) -> str:
    """The first line of a module's docstring."""
    return (ast.get_docstring(ast.parse(module.read_text())) or "").partition("\n")[0]


def api_pages() -> None:
    """One page for each room, an overview of the rooms, and their navigation."""
    rooms = sorted(path.parent for path in PACKAGE.glob("*/__init__.py"))
    loose = [path.stem for path in sorted(PACKAGE.glob("*.py")) if not path.stem.startswith("_")]
    overview = ["# API", "", "A page for each room of the package.", "", "| room | what |", "|---|---|"]
    navigation = ["* [Overview](index.md)", "* [p2be_exp](package.md)"]
    write_api("package", "p2be_exp", ["p2be_exp", *(f"p2be_exp.{name}" for name in loose)])
    overview.append(f"| [p2be_exp](package.md) | {summary_of(PACKAGE / '__init__.py')} |")
    for room in rooms:
        write_api(room.name, room.name, modules_of(room))
        overview.append(f"| [{room.name}]({room.name}.md) | {summary_of(room / '__init__.py')} |")
        navigation.append(f"* [{room.name}]({room.name}.md)")
    for name, lines in (("index.md", overview), ("SUMMARY.md", navigation)):
        with mkdocs_gen_files.open(f"api/{name}", "w") as file:
            file.write("\n".join(lines) + "\n")


def write_api(page: str, title: str, modules: list[str]) -> None:
    """A page with the documentation of some modules."""
    with mkdocs_gen_files.open(f"api/{page}.md", "w") as file:
        file.write(f"# {title}\n\n" + "\n".join(directive(module) for module in modules))


def directive(module: str) -> str:
    """What mkdocstrings shows of a module: of a package what it defines, since what it imports has its own module."""
    init = PACKAGE.parent.joinpath(*module.split("."), "__init__.py")
    if not init.is_file():
        return f"::: {module}\n"
    nodes = ast.parse(init.read_text()).body
    names = [node.name for node in nodes if isinstance(node, ast.FunctionDef | ast.ClassDef)]
    members = [name for name in names if not name.startswith("_")]
    return f"::: {module}\n    options:\n      members: {members or 'false'}\n"


copy_pages()
examples_navigation()
api_pages()
