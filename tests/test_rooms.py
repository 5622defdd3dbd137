"""Who may import whom: the rooms of the package are layers, and nobody looks upwards."""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterator, Mapping
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "src"
LOOSE = {"__init__", "errors", "registry"}
"""Modules that are in no room."""

NEVER = [
    ("system", {"config", "runs", "models", "data", "evaluation", "training", "commands"}),
    ("randomness", {"data", "config", "runs", "evaluation", "training"}),
    ("encodings", {"models", "attacks", "config", "runs", "evaluation", "training"}),
    ("backbones", {"models", "attacks", "runs", "evaluation", "training"}),
    ("models", {"attacks", "data", "regimes", "runs", "evaluation", "training"}),
    ("attacks", {"data", "corruptions", "regimes", "runs", "evaluation", "training"}),
    ("corruptions", {"models", "attacks", "runs", "evaluation", "training"}),
    ("data", {"models", "attacks", "corruptions", "config", "runs", "evaluation", "training"}),
    ("regimes", {"runs", "evaluation", "training"}),
    ("config", {"models", "runs", "evaluation", "training", "sweeps", "commands"}),
    ("statistics", {"runs", "evaluation", "training", "report"}),
    ("runs", {"data", "evaluation", "training", "report", "sweeps", "commands"}),
    ("evaluation", {"training", "report", "sweeps", "commands"}),
    ("training", {"report", "sweeps", "commands"}),
    ("report", {"training", "sweeps", "commands"}),
    ("export", {"training", "commands"}),
    ("published", {"models", "runs", "evaluation", "training", "commands"}),
    ("tracking", {"evaluation", "training", "commands"}),
    ("sweeps", {"commands"}),
]
"""A room, and some that it does not import: what whoever moves a module is most likely to break."""

Imports = dict[str, set[str]]
"""For every module those that it imports, by their dotted names without the package's."""


def imports_of(source: Path) -> Imports:
    """What the modules of a package import of it, in functions too; not for types alone, and not ``__main__.py``."""
    files = {_dotted(file.relative_to(source / "p2be_exp")): file for file in (source / "p2be_exp").rglob("*.py")}
    found: Imports = {}
    for module, file in files.items():
        if file.name != "__main__.py":
            found[module] = set(_imported(ast.parse(file.read_text(encoding="utf-8")), set(files))) - {module}
    return found


def _dotted(file: Path) -> str:
    return ".".join(file.with_suffix("").parts).removesuffix("__init__").rstrip(".") or "__init__"


def _imported(node: ast.AST, modules: set[str]) -> Iterator[str]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
            continue
        if isinstance(child, ast.ImportFrom) and (child.module or "").split(".")[0] == "p2be_exp":
            package = (child.module or "").removeprefix("p2be_exp").lstrip(".")
            for name in child.names:
                inner = f"{package}.{name.name}".lstrip(".")
                yield inner if inner in modules else package or "__init__"
        elif isinstance(child, ast.Import):
            for name in child.names:
                if name.name.split(".")[0] == "p2be_exp":
                    yield name.name.removeprefix("p2be_exp").lstrip(".") or "__init__"
        yield from _imported(child, modules)


def rooms_of(imports: Imports) -> dict[str, set[str]]:
    """The same between rooms: the package's folders, and its loose modules."""
    found: dict[str, set[str]] = defaultdict(set)
    for module, imported in imports.items():
        found[_room(module)] |= {_room(each) for each in imported if each != "__init__"} - {_room(module)}
    return found


def _room(module: str) -> str:
    return module.partition(".")[0]


def circle_in(graph: Mapping[str, set[str]]) -> list[str]:
    """A circle, in the order in which its members import each other; empty where there is none."""
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return error.args[1][::-1]
    return []


@pytest.fixture(scope="module")
def imports() -> Imports:
    return imports_of(SOURCE)


def test_every_module_is_in_a_room() -> None:
    loose = {file.stem for file in (SOURCE / "p2be_exp").glob("*.py")}
    assert loose <= LOOSE


def test_no_circle_between_rooms(imports: Imports) -> None:
    assert circle_in(rooms_of(imports)) == []


def test_no_circle_between_modules(imports: Imports) -> None:
    assert circle_in(imports) == []


@pytest.mark.parametrize(("room", "others"), NEVER, ids=[room for room, _ in NEVER])
def test_nobody_looks_upwards(imports: Imports, room: str, others: set[str]) -> None:
    wrong = {
        f"{module} imports {each}"
        for module, imported in imports.items()
        for each in imported
        if _room(module) == room and _room(each) in others
    }
    assert not wrong
    assert others <= {_room(module) for module in imports}  # or the list is out of date


def test_the_registry_imports_errors_alone(imports: Imports) -> None:
    assert imports.get("registry", set()) <= {"errors"}


def test_what_counts_as_an_import(tmp_path: Path) -> None:
    package = tmp_path / "p2be_exp"
    (package / "low").mkdir(parents=True)
    (package / "high").mkdir()
    (package / "__init__.py").write_text("")
    (package / "low" / "__init__.py").write_text("")
    (package / "low" / "one.py").write_text(
        "from typing import TYPE_CHECKING\n"
        "if TYPE_CHECKING:\n    from p2be_exp.high import types\n"
        "def late():\n    from p2be_exp.high.two import name\n"
    )
    (package / "high" / "__init__.py").write_text("")
    (package / "high" / "types.py").write_text("")
    (package / "high" / "two.py").write_text("import p2be_exp.low.one\nfrom p2be_exp.high import types\n")
    found = imports_of(tmp_path)
    assert found["low.one"] == {"high.two"}
    assert found["high.two"] == {"low.one", "high.types"}
    assert sorted(set(circle_in(rooms_of(found)))) == ["high", "low"]
    assert sorted(set(circle_in(found))) == ["high.two", "low.one"]
