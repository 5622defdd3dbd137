"""The report's folder: which files in it are the report's own, so that the user's are never touched."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from p2be_exp.errors import BadInput
from p2be_exp.report.measured import is_evaluation, is_run
from p2be_exp.runs.provenance import now
from p2be_exp.runs.run import FORMAT_VERSION
from p2be_exp.system.atomic import refuse_links, write_bytes, write_json, write_text
from p2be_exp.system.forms import read_json
from p2be_exp.system.ownership import owned

MANIFEST = "report.json"
"""Lists the files that a report has written; only these are ever replaced or removed."""

_OWN = re.compile(r"report\.md|index\.html|runs\.html|tables/[\w-]+\.(csv|tex)|figures/[\w-]+\.(svg|pdf|png)")
"""What a report writes, by path in its folder."""


def check_folder(out: Path) -> None:
    """Check that a report may be written to a folder: it is new, an earlier report's, or has no file of the same name.

    Raises:
        BadInput: a file, a run, an evaluation, or a folder with a ``report.md`` or ``index.html`` of other origin.
    """
    if out.exists() and not out.is_dir():
        raise BadInput(f"out={out}: is a file, must be a folder")
    if is_run(out) or is_evaluation(out):
        raise BadInput(f"out={out}: is {'a run' if is_run(out) else 'an evaluation'}; choose another folder")
    _check_free(out, ("report.md", "index.html"), _files_of_a_report(out))


def write_files(out: Path, files: Mapping[str, str | bytes]) -> None:
    """Write a report's files and its manifest; of an earlier report those that the new one lacks are removed.

    Args:
        out: the folder.
        files: contents by path in it.

    Raises:
        BadInput: the folder cannot be written, or a file in it is not a report's and would be replaced.
    """
    with owned(out, "out"):
        _write(out, files)


def _write(out: Path, files: Mapping[str, str | bytes]) -> None:
    check_folder(out)
    refuse_links(out, "tables", "figures", key="out")
    earlier = _files_of_a_report(out)
    _check_free(out, files, earlier)
    try:
        # First, so that what an interrupted report leaves behind is known as its own.
        _write_manifest(out, earlier | set(files))
        for name, content in files.items():
            write_bytes(out / name, content) if isinstance(content, bytes) else write_text(out / name, content)
        for name in earlier - set(files):  # of other runs: a table that is not part of this report
            (out / name).unlink(missing_ok=True)
        _write_manifest(out, set(files))
    except OSError as error:
        raise BadInput(f"out={out}: cannot be written ({error.strerror})") from error


def _check_free(out: Path, names: Iterable[str], own: set[str]) -> None:
    for name in names:
        if name not in own and (out / name).exists():
            raise BadInput(f"out={out}: contains a {name} that is not a report's; choose another folder")


def _files_of_a_report(out: Path) -> set[str]:
    """The files that the manifest lists, of a report's kinds; empty where there is none."""
    try:
        listed = read_json(out / MANIFEST)["files"]
        return {name for name in listed if _OWN.fullmatch(name)}
    except (FileNotFoundError, NotADirectoryError):
        return set()
    except (KeyError, TypeError, ValueError) as error:
        raise BadInput(f"out={out}: contains a {MANIFEST} that is not a report's; choose another folder") from error
    except OSError as error:
        raise BadInput(f"out={out}: cannot be read ({error.strerror})") from error


def _write_manifest(out: Path, files: set[str]) -> None:
    write_json(out / MANIFEST, {"format_version": FORMAT_VERSION, "written": now(), "files": sorted(files)})
