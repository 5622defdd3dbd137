"""The ranks of a job as they see each other: which are present, and how each ended.

A failed collective operation does not give the reason ("connection closed by peer"), and on GPUs it may not even fail.
So every rank registers in a shared folder and records there why it ends. If the first process starts the others, this
is a temporary folder for the duration of the job; if torchrun or srun started them, it is ``.ranks`` in the folder that
the job writes to.
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
"""In a run or an evaluation whose processes were started by a launcher; it exists while the job runs."""

SILENT = 60.0
"""Seconds without a sign of life after which a rank of another machine is reported as silent."""

_NAME = re.compile(r"[0-9a-f]+-[0-9]+\.(here|open|stop|end|done)(\.part)?")
_STARTED = time.time()
_STALE = 30.0
"""Seconds by which the first rank may start after another has failed; older files are from an earlier start."""


@dataclass(frozen=True)
class Ending:
    """How a rank ended before the job was done.

    Attributes:
        rank: number of the rank.
        exit_code: of its process, and of the whole job.
        line: the reason, in one line.
        signal: the stop signal that ended it; None for a failure.
    """

    rank: int
    exit_code: int
    line: str
    signal: int | None = None

    @classmethod
    def of(cls, rank: int, error: BaseException) -> Ending:
        """The ending of a rank with an error."""
        if isinstance(error, Interrupted | KeyboardInterrupt):
            number = getattr(error, "signal", 2)
            return cls(rank, 128 + number, f"stopped by signal {number}", number)
        if isinstance(error, BadInput | ResourceError):
            return cls(rank, 2 if isinstance(error, BadInput) else 1, one_line(error))
        if isinstance(error, OSError) and is_full(error):
            return cls(rank, 1, one_line(full_line(Path(error.filename or "."), error)))
        return cls(rank, 1, one_line(f"{type(error).__name__}: {error}"))

    def error(self) -> Interrupted | PeerFailed:
        """The exception that other ranks raise for it."""
        return PeerFailed(self) if self.signal is None else Interrupted(self.signal)


class PeerFailed(RuntimeError):  # noqa: N818  # named after the event
    """Another rank of the job failed, and this one ends with it.

    Attributes:
        ending: how the other rank ended.
    """

    def __init__(self, ending: Ending) -> None:
        super().__init__(f"rank {ending.rank}: {ending.line}")
        self.ending = ending


@dataclass(frozen=True)
class Registered:
    """A rank that has registered."""

    rank: int
    pid: int
    host: str
    space: str

    @property
    def is_here(self) -> bool:
        """Whether it is on this machine, with a process id that is valid here."""
        return (self.host, self.space) == (socket.gethostname(), number_space())


class Peers:
    """A rank's view of the job's shared folder.

    No method raises if the folder cannot be read or written: the search for the reason of a failure must not fail
    itself.

    Args:
        folder: the shared folder.
        rank: of this process.
        size: number of ranks.
        start: identifies this start of the job among others in the same folder; hexadecimal.
        makes_folder: whether this rank creates the folder; otherwise it waits for it.
    """

    def __init__(self, folder: Path, rank: int, size: int, start: str, makes_folder: bool) -> None:
        self.folder, self.rank, self.size, self.start = folder, rank, size, start
        self._makes_folder = makes_folder
        self._came = False
        self._left: Ending | None = None
        self._waited = False  # wait only once: the rank that creates the folder did not start
        self._seen: set[int] = set()
        self._beats: dict[int, tuple[float, float]] = {}

    @property
    def left(self) -> Ending | None:
        """How this rank ends, once it is recorded in the folder."""
        return self._left

    # -- this rank ---------------------------------------------------------------------------------------------------

    def register(self) -> bool:
        """Register this rank, or renew its sign of life; return whether the folder exists."""
        if self._makes_folder:
            with contextlib.suppress(OSError):
                self.folder.mkdir(parents=True, exist_ok=True)
                self._makes_folder = False
                self._remove_stale()
        file = self._file(self.rank, "here")
        if not self._came:  # existing files are from an earlier start with the same id
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
        """Record how this rank ends; only the first call has an effect.

        Args:
            ending: how it ends.
            patience: seconds to wait for the rank that creates the folder.

        Returns:
            Whether it is recorded.
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
        """Announce that the port of the rendezvous belongs to this rank, not to another program."""
        self._write(self._file(self.rank, "open"), {})

    def ask_to_stop(self, number: int) -> None:
        """Record that this rank has received a stop signal, for a rank that it waits for."""
        self._write(self._file(self.rank, "stop"), {"signal": number})

    def finish(self) -> None:
        """Record that this rank has finished its part."""
        self._write(self._file(self.rank, "done"), {})

    def remove(self) -> None:
        """Remove the files of this start, and the folder if it is then empty."""
        for file in self._files(f"{self.start}-*"):
            with contextlib.suppress(OSError):
                file.unlink()
        with contextlib.suppress(OSError):
            self.folder.rmdir()

    # -- the others --------------------------------------------------------------------------------------------------

    def ended(self) -> Ending | None:
        """How the first of the other ranks to end did so; None while none has."""
        found = []
        for rank in self._others():
            with contextlib.suppress(Exception):
                left = self._read(rank, "end")
                found.append((float(left.pop("when")), Ending(**left)))
        return min(found, key=lambda each: each[0])[1] if found else None

    def lost(self) -> Ending | None:
        """Another rank of this machine whose process is gone without a record; None if there is none.

        A rank that was gone from the beginning may be from an earlier start.
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
        """The other ranks that cannot continue at the moment, one line each: stopped here, or silent elsewhere."""
        lines = []
        for peer in self.registered():
            if peer.is_here:
                if state_of(peer.pid) == "stopped":
                    lines.append(f"rank {peer.rank} (process {peer.pid}) is stopped; waiting for it")
            elif not self.is_done(peer.rank) and self._silence(peer.rank) > SILENT:
                where = f"process {peer.pid} on {peer.host}"
                lines.append(f"rank {peer.rank} ({where}) has given no sign of life for a minute; waiting for it")
        return lines

    def are_working(self) -> bool:
        """Whether another rank has not finished its part yet, as far as is known."""
        return any(
            not self.is_done(peer.rank) and not (peer.is_here and state_of(peer.pid) == "gone")
            for peer in self.registered()
        )

    def registered(self) -> list[Registered]:
        """The other ranks that have registered."""
        found = []
        for rank in self._others():
            with contextlib.suppress(Exception):
                here = self._read(rank, "here")
                found.append(Registered(rank, int(here["pid"]), str(here["host"]), here["space"]))
        return found

    def asked_to_stop(self) -> int | None:
        """The stop signal that another rank has recorded; None before."""
        for rank in self._others():
            with contextlib.suppress(Exception):
                return int(self._read(rank, "stop")["signal"])
        return None

    def is_open(self, rank: int) -> bool:
        """Whether a rank has announced that the port of the rendezvous is its own."""
        return self._is_there(rank, "open")

    def is_done(self, rank: int) -> bool:
        """Whether a rank has finished its part."""
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
        """Seconds since the last sign of life of a rank changed, by this machine's clock: clocks may differ."""
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
