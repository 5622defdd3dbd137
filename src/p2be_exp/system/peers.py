"""The ranks of one job, as they see one another: who is here, and how each ended.

The ranks exchange tensors, and an exchange that breaks says nothing about the reason ("connection closed by peer"); on
GPUs it may not even break. So every rank registers in a folder that all of them see, and leaves there why it ends.
Where the first process starts the others, the folder is one of its own for as long as the job takes; where torchrun or
srun started them it is ``.ranks`` in the folder that the job writes into.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import socket
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from p2be_exp.errors import BadInput, Interrupted, ResourceError, one_line
from p2be_exp.system.atomic import full_line, is_full
from p2be_exp.system.process_table import number_space, state_of

FOLDER = ".ranks"
"""In a run or an evaluation whose processes were started from outside; there while the job is."""

SILENT = 60.0
"""Seconds without a sign of life after which a rank of another machine is told to be silent."""

_NAME = re.compile(r"[0-9a-f]+-[0-9]+\.(here|open|stop|end|done)(\.part)?")
_STARTED = time.time()
_STALE = 30.0
"""Seconds that the first rank may start after another has failed; what is older, an earlier start left behind."""


@dataclass(frozen=True)
class Ending:
    """How a rank ended before the job was done.

    Attributes:
        rank: which.
        exit_code: of its process, and so of the whole job's.
        line: why, on one line.
        signal: the stop signal that it followed; None for a failure.
    """

    rank: int
    exit_code: int
    line: str
    signal: int | None = None

    @classmethod
    def of(cls, rank: int, error: BaseException) -> Ending:
        """How a rank ends with an error."""
        if isinstance(error, Interrupted | KeyboardInterrupt):
            number = getattr(error, "signal", 2)
            return cls(rank, 128 + number, f"stopped by signal {number}", number)
        if isinstance(error, BadInput | ResourceError):
            return cls(rank, 2 if isinstance(error, BadInput) else 1, one_line(error))
        if isinstance(error, OSError) and is_full(error):
            return cls(rank, 1, one_line(full_line(Path(error.filename or "."), error)))
        return cls(rank, 1, one_line(f"{type(error).__name__}: {error}"))

    def error(self) -> Interrupted | PeerFailed:
        """What another rank raises about it."""
        return PeerFailed(self) if self.signal is None else Interrupted(self.signal)


class PeerFailed(RuntimeError):  # noqa: N818  # what happened, not what kind of error it is
    """Another rank of the job failed, and this one ends with it.

    Attributes:
        ending: how that one ended.
    """

    def __init__(self, ending: Ending) -> None:
        super().__init__(f"rank {ending.rank}: {ending.line}")
        self.ending = ending


@dataclass(frozen=True)
class Registered:
    """A rank that is here."""

    rank: int
    pid: int
    host: str
    space: str

    @property
    def is_here(self) -> bool:
        """Whether it is on this machine, and known here by its number."""
        return (self.host, self.space) == (socket.gethostname(), number_space())


class Peers:
    """A rank's view of the job's folder.

    Nothing in it raises for a folder that cannot be read or written: whoever looks for the reason of a failure must not
    fail of it.

    Args:
        folder: which all ranks see.
        rank: of this process.
        size: number of ranks.
        start: tells one start of the job from others in the same folder; hexadecimal digits.
        makes_folder: whether this rank may make the folder; else it waits for it.
    """

    def __init__(self, folder: Path, rank: int, size: int, start: str, makes_folder: bool) -> None:
        self.folder, self.rank, self.size, self.start = folder, rank, size, start
        self._makes_folder = makes_folder
        self._came = False
        self._left: Ending | None = None
        self._waited = False  # once is enough: whoever makes the folder does not come
        self._seen: set[int] = set()
        self._beats: dict[int, tuple[float, float]] = {}

    @property
    def left(self) -> Ending | None:
        """How this rank ends, once it stands in the folder."""
        return self._left

    # -- this rank ---------------------------------------------------------------------------------------------------

    def register(self) -> bool:
        """Say that this rank is here, or still here; whether there was a folder to say it in."""
        if self._makes_folder:
            with contextlib.suppress(OSError):
                self.folder.mkdir(parents=True, exist_ok=True)
                self._makes_folder = False
                self._remove_stale()
        file = self._file(self.rank, "here")
        if not self._came:  # what there is, this rank of an earlier start of the same name left behind
            self._came = True
            for old in self._files(f"{file.stem}.*"):
                with contextlib.suppress(OSError):
                    old.unlink()
        try:
            os.utime(file)
        except OSError:
            here = {"pid": os.getpid(), "host": socket.gethostname(), "space": number_space()}
            return self._write(file, here)
        return True

    def leave(self, ending: Ending, patience: float = 0.0) -> bool:
        """Leave how this rank ends, the first time that it is said.

        Args:
            ending: how.
            patience: seconds to wait for the rank that makes the folder.

        Returns:
            Whether it stands there.
        """
        until = time.monotonic() + (0.0 if self._waited else patience)
        self._waited |= patience > 0
        while self._left is None:
            if self._write(self._file(self.rank, "end"), {**asdict(ending), "when": time.time()}):
                self._left = ending
            elif time.monotonic() >= until:
                return False
            else:
                time.sleep(0.1)
        return True

    def announce(self) -> None:
        """Say that the port at which the ranks meet is this rank's own, and not another program's."""
        self._write(self._file(self.rank, "open"), {})

    def ask_to_stop(self, number: int) -> None:
        """Say that a stop signal has come here, for a rank that this one waits for."""
        self._write(self._file(self.rank, "stop"), {"signal": number})

    def finish(self) -> None:
        """Say that this rank has done its part."""
        self._write(self._file(self.rank, "done"), {})

    def remove(self) -> None:
        """Remove what this start left in the folder, and the folder where nothing else is in it."""
        for file in self._files(f"{self.start}-*"):
            with contextlib.suppress(OSError):
                file.unlink()
        with contextlib.suppress(OSError):
            self.folder.rmdir()

    # -- the others --------------------------------------------------------------------------------------------------

    def ended(self) -> Ending | None:
        """How another rank ended, the first one that did; None while none has."""
        found = []
        for rank in self._others():
            with contextlib.suppress(Exception):
                left = self._read(rank, "end")
                found.append((float(left.pop("when")), Ending(**left)))
        return min(found, key=lambda each: each[0])[1] if found else None

    def lost(self) -> Ending | None:
        """Another rank of this machine whose process is gone without a word; None where there is none.

        One that has been gone from the first look on may be of an earlier start.
        """
        for peer in self.registered():
            if not peer.is_here:
                continue
            if state_of(peer.pid) != "gone":
                self._seen.add(peer.pid)
            elif peer.pid in self._seen and not self.is_done(peer.rank):
                return self.ended() or Ending(peer.rank, 1, "its process is gone without a word; was it killed?")
        return None

    def waited_for(self) -> list[str]:
        """What of the other ranks cannot go on at the moment, a line each: stopped here, or silent elsewhere."""
        said = []
        for peer in self.registered():
            if peer.is_here:
                if state_of(peer.pid) == "stopped":
                    said.append(f"rank {peer.rank} (process {peer.pid}) is stopped; waiting for it")
            elif not self.is_done(peer.rank) and self._silence(peer.rank) > SILENT:
                where = f"process {peer.pid} on {peer.host}"
                said.append(f"rank {peer.rank} ({where}) has given no sign of life for a minute; waiting for it")
        return said

    def are_working(self) -> bool:
        """Whether another rank has not done its part yet, as far as can be told."""
        return any(
            not self.is_done(peer.rank) and not (peer.is_here and state_of(peer.pid) == "gone")
            for peer in self.registered()
        )

    def registered(self) -> list[Registered]:
        """The other ranks that have come."""
        found = []
        for rank in self._others():
            with contextlib.suppress(Exception):
                here = self._read(rank, "here")
                found.append(Registered(rank, int(here["pid"]), str(here["host"]), here["space"]))
        return found

    def asked_to_stop(self) -> int | None:
        """The stop signal that has come to another rank, which says so; None before."""
        for rank in self._others():
            with contextlib.suppress(Exception):
                return int(self._read(rank, "stop")["signal"])
        return None

    def is_open(self, rank: int) -> bool:
        """Whether a rank has said that the port at which the ranks meet is its own."""
        return self._is_there(rank, "open")

    def is_done(self, rank: int) -> bool:
        """Whether a rank has done its part."""
        return self._is_there(rank, "done")

    # -- files -------------------------------------------------------------------------------------------------------

    def _others(self) -> list[int]:
        return [rank for rank in range(self.size) if rank != self.rank]

    def _file(self, rank: int, kind: str) -> Path:
        return self.folder / f"{self.start}-{rank}.{kind}"

    def _is_there(self, rank: int, kind: str) -> bool:
        with contextlib.suppress(OSError):
            return self._file(rank, kind).exists()
        return False

    def _files(self, pattern: str) -> list[Path]:
        with contextlib.suppress(OSError):
            return list(self.folder.glob(pattern))
        return []

    def _read(self, rank: int, kind: str) -> dict[str, Any]:
        return json.loads(self._file(rank, kind).read_text(encoding="utf-8"))

    def _write(self, file: Path, content: dict[str, Any]) -> bool:
        part = file.with_name(f"{file.name}.part")
        try:
            part.write_text(json.dumps(content), encoding="utf-8")
            part.replace(file)
        except OSError:
            return False
        return True

    def _silence(self, rank: int) -> float:
        """Seconds for which the sign of life of a rank has been the same; its clock may be another than ours."""
        now = time.monotonic()
        try:
            beat = self._file(rank, "here").stat().st_mtime
        except OSError:
            return 0.0
        if rank not in self._beats or self._beats[rank][0] != beat:
            self._beats[rank] = beat, now
        return now - self._beats[rank][1]

    def _remove_stale(self) -> None:
        for file in self._files("*"):
            with contextlib.suppress(OSError):
                ours = _NAME.fullmatch(file.name) is not None
                if ours and (not file.name.startswith(f"{self.start}-") or file.stat().st_mtime < _STARTED - _STALE):
                    file.unlink()
