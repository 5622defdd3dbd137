"""The folder that is taken away from the machine: every row is in it at once, and it stays small at every moment."""

from __future__ import annotations

import json
import os
import re
import shutil
from pathlib import Path
from typing import Any

from benchmarks.gpu.table import render
from p2be_exp.errors import BadInput
from p2be_exp.system.atomic import replacing, write_text

MOST_FILES = 8
MOST_BYTES = 16 * 2**20
MOST_TOTAL = 64 * 2**20
MOST_ARCHIVE = 11 * 2**20
"""Bytes of an archive: four of them, a fifth that takes the place of one, and the texts stay under the total."""
MOST_TEXT = 2 * 2**20
"""Bytes of the rows and of the log; what comes later is printed, and not kept."""

ROWS, TABLE, LOG = "rows.jsonl", "table.md", "log.txt"
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*\.zip")


class Out:
    """Writes rows (JSON lines and a table in Markdown), a log, and archives into one flat folder.

    Rows that an earlier call left in the folder stay; one with the same table and ``id`` takes their place in the
    table.

    Args:
        folder: made if it is not there.

    Raises:
        BadInput: it cannot be written, or holds something that is not this program's.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = Path(folder)
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            others = [path.name for path in self.folder.iterdir() if not _is_ours(path)]
            if others:
                raise BadInput(f"out={folder}: holds {others[0]}; an empty folder, or one of this program, is needed")
            for part in self.folder.glob(".*.part"):
                part.unlink()  # of a call that was killed
            self.rows = self._earlier_rows()
            self._write_table()
        except OSError as error:
            raise BadInput(f"out={folder}: cannot be written ({error.strerror})") from error

    def add(self, row: dict[str, Any]) -> None:
        """Write a row: to the end of ``rows.jsonl``, and into the table."""
        self.rows.append(row)
        self._append(ROWS, json.dumps(row))
        self._write_table()

    def log(self, line: str) -> None:
        """Write a line into the log."""
        self._append(LOG, line)

    def take(self, file: Path) -> str | None:
        """Copy an archive into the folder, in the place of an earlier one of its name; why not, where it is refused."""
        others = [path for path in self.folder.iterdir() if path.name != file.name]
        size = file.stat().st_size
        if not _NAME.fullmatch(file.name):
            return f"{file.name}: not a name of an archive"
        if size > MOST_ARCHIVE:
            return f"{file.name}: {size:,} bytes, allowed are {MOST_ARCHIVE:,}"
        if len(others) + 2 > MOST_FILES:  # itself, and the part that grows beside it
            return f"{file.name}: there are {len(others)} files already"
        with replacing(self.folder / file.name) as part:
            shutil.copyfile(file, part)
        return None

    def _append(self, name: str, line: str) -> None:
        file = self.folder / name
        data = (line + "\n").encode("utf-8", errors="replace")
        if (file.stat().st_size if file.exists() else 0) + len(data) > MOST_TEXT:
            return
        with file.open("ab") as opened:
            opened.write(data)
            opened.flush()
            os.fsync(opened.fileno())

    def _write_table(self) -> None:
        write_text(self.folder / TABLE, render(self.rows)[: MOST_TEXT // 4])

    def _earlier_rows(self) -> list[dict[str, Any]]:
        file = self.folder / ROWS
        text = file.read_text(encoding="utf-8", errors="replace") if file.exists() else ""
        if text and not text.endswith("\n"):  # of a call that was killed; the next row begins a line
            with file.open("a", encoding="utf-8") as opened:
                opened.write("\n")
        return [row for row in map(parse_row, text.splitlines()) if row is not None]


def parse_row(line: str) -> dict[str, Any] | None:
    """The row that a line holds, a JSON object with a ``table``; None where it holds none."""
    if not line.startswith("{"):
        return None
    try:
        row = json.loads(line)
    except ValueError:
        return None  # the last one of a call that was killed
    return row if isinstance(row, dict) and isinstance(row.get("table"), str) else None


def _is_ours(path: Path) -> bool:
    own = path.name in (ROWS, TABLE, LOG) or _NAME.fullmatch(path.name)
    return path.is_file() and bool(own or re.fullmatch(r"\..*\.part", path.name))
