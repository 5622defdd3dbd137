"""A Slurm of one node on this machine, for as long as it is entered: no systemd, nothing outside its folder."""

import contextlib
import os
import pwd
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "srun", "squeue", "scontrol", "scancel", "setpriv")
MUNGE = "munge"
"""The user that munged runs as; its package makes it."""

CONFIGURATION = """\
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmUser=root
SlurmctldPort={controller_port}
SlurmdPort={node_port}
AuthType=auth/munge
AuthInfo=socket={folder}/munge/socket
CredType=cred/munge
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
MailProg=/bin/true
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SchedulerParameters=batch_sched_delay=0,sched_interval=1,bf_interval=1
ReturnToService=2
MinJobAge=86400
KillWait=120
SlurmdParameters=config_overrides
GresTypes=gpu
NodeName=localhost NodeHostname={host} NodeAddr=127.0.0.1 CPUs=128 RealMemory=524288 Gres=gpu:8
PartitionName=all Nodes=localhost Default=YES MaxTime=INFINITE
"""


class SlurmCannotRun(Exception):  # noqa: N818  # said by whoever skips the test
    """Why there can be no Slurm on this machine."""


class SlurmCluster:
    """munged, slurmctld and slurmd in a folder of their own with ports of their own.

    Args:
        programs: a folder whose programs the jobs find first.

    Attributes:
        folder: their configuration, state and logs; removed at the end.
    """

    def __init__(self, programs: Path) -> None:
        self._programs = programs
        self._daemons: list[subprocess.Popen] = []

    def __enter__(self) -> "SlurmCluster":
        check_possible()
        # Not below pytest's own folders: those are closed to other users, so to munged.
        self.folder = Path(tempfile.mkdtemp(prefix="slurm-"))
        try:
            self._start()
        except BaseException as error:
            self.__exit__()
            if isinstance(error, subprocess.SubprocessError | OSError):
                raise SlurmCannotRun(str(error)) from error
            raise
        return self

    def __exit__(self, *error: object) -> None:
        if len(self._daemons) > 2:
            with contextlib.suppress(AssertionError, subprocess.SubprocessError):
                self.clear()
        for daemon in reversed(self._daemons):
            daemon.terminate()
            try:
                daemon.wait(10)
            except subprocess.TimeoutExpired:
                daemon.kill()
                daemon.wait()
        for process in _processes_in(str(self.folder)):
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
        shutil.rmtree(self.folder, ignore_errors=True)

    # -- commands ----------------------------------------------------------------------------------------------------

    @property
    def environment(self) -> dict[str, str]:
        """Of a process that is to use this cluster."""
        outer = {key: value for key, value in os.environ.items() if key in _TESTS or not key.startswith(_FOREIGN)}
        programs = [str(self._programs), str(Path(sys.executable).parent), outer.get("PATH", "")]
        own = {"PATH": os.pathsep.join(programs), "SLURM_CONF": str(self.folder / "slurm.conf"), "OMP_NUM_THREADS": "1"}
        return {**outer, **own}

    def run(self, *command: str | Path, cwd: Path | None = None, timeout: float = 60) -> str:
        """The output of one of Slurm's commands, which has to succeed."""
        done = subprocess.run(
            [*map(str, command)], cwd=cwd, env=self.environment, capture_output=True, text=True, timeout=timeout
        )
        assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
        return done.stdout

    def submit(self, script: Path, *arguments: str | Path, cwd: Path) -> str:
        """Submit a job script; the number of the job.

        Args:
            script: the file.
            arguments: options of sbatch (those that begin with a dash), and the script's own.
            cwd: where it is started.
        """
        options = [each for each in arguments if str(each).startswith("-")]
        own = [each for each in arguments if each not in options]
        return self.run("sbatch", "--parsable", *options, script, *own, cwd=cwd).strip()

    def job(self, number: str) -> dict[str, str]:
        """What the controller knows of a job: JobState, Restarts, ExitCode and many more."""
        words = self.run("scontrol", "--oneliner", "show", "job", number).split()
        return dict(word.split("=", 1) for word in words if "=" in word)

    def state(self, number: str) -> str:
        """The state of a job, as PENDING or COMPLETED."""
        return self.job(number)["JobState"]

    def start_now(self, number: str) -> None:
        """Spare a requeued job the two minutes that Slurm lets it wait."""
        self.wait(lambda: self.state(number) == "PENDING", f"job {number} to be pending")
        # In the second of the requeue Slurm takes the old start's end for the new one's: "Job credential revoked".
        self.run("scontrol", "update", f"JobId={number}", "StartTime=now+2")

    def until_ended(self, *numbers: str) -> None:
        """Wait until jobs have ended, well or not."""
        for number in numbers:
            self.wait(lambda number=number: self.state(number) in _ENDED, f"the end of job {number}")

    def wait(self, condition: Callable[[], bool], what: str, timeout: float = 300) -> None:
        """Wait for something; fail with the daemons' logs where it does not come."""
        end = time.monotonic() + timeout
        while not condition():
            if time.monotonic() > end:
                raise AssertionError(f"waited {timeout} s for {what}\n{self.run('squeue', '--long')}\n{self._logs()}")
            time.sleep(0.1)

    def clear(self) -> None:
        """End every job that is left; its processes would outlive slurmd."""
        for number in self._ask("squeue", "--noheader", "--format=%A").split():
            self._ask("scancel", "--full", "--signal=KILL", number)
            self._ask("scancel", number)
        self.wait(lambda: not self._ask("squeue", "--noheader"), "an empty queue", timeout=180)

    # -- daemons -----------------------------------------------------------------------------------------------------

    def _start(self) -> None:
        munge = pwd.getpwnam(MUNGE)
        self.folder.chmod(0o755)
        for name in ("munge", "state", "spool"):
            (self.folder / name).mkdir(mode=0o755)
        key = self.folder / "munge" / "key"
        key.touch(mode=0o600)
        key.write_bytes(os.urandom(128))
        for path in (self.folder / "munge", key):
            os.chown(path, munge.pw_uid, munge.pw_gid)
        ports = dict(zip(("controller_port", "node_port"), _free_ports(2), strict=True))
        host = socket.gethostname().partition(".")[0]
        text = CONFIGURATION.format(folder=self.folder, host=host, **ports)
        (self.folder / "slurm.conf").write_text(text, encoding="utf-8")
        for number in range(8):
            (self.folder / f"gpu{number}").touch()
        (self.folder / "gres.conf").write_text(f"Name=gpu File={self.folder}/gpu[0-7]\n", encoding="utf-8")

        own = [f"--{name}={self.folder / 'munge' / file}" for name, file in _MUNGE_FILES.items()]
        user = ["--reuid", MUNGE, "--regid", MUNGE, "--clear-groups"]
        self._daemon(*user, "munged", "--foreground", *own)
        self._until((self.folder / "munge" / "socket").exists, "munged")
        self._daemon("slurmctld", "-D")
        self._daemon("slurmd", "-D", "-N", "localhost")
        self._until(lambda: self._ask("sinfo", "--noheader", "--format=%T") == "idle", "an idle node")

    def _daemon(self, *command: str) -> None:
        # Should this process be killed, its daemons end with it.
        with (self.folder / "daemons.log").open("ab") as log:
            daemon = subprocess.Popen(
                ["setpriv", "--pdeathsig", "TERM", *command],
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.folder,
            )
        self._daemons.append(daemon)

    def _until(self, condition: Callable[[], bool], what: str, timeout: float = 120) -> None:
        end = time.monotonic() + timeout
        while not condition():
            ended = [daemon for daemon in self._daemons if daemon.poll() is not None]
            if ended or time.monotonic() > end:
                raise SlurmCannotRun(f"no {what} ({self._complaint()})")
            time.sleep(0.05)

    def _ask(self, *command: str) -> str:
        done = subprocess.run(command, env=self.environment, capture_output=True, text=True, timeout=60)
        return done.stdout.strip()

    def _complaint(self) -> str:
        """The last line of the daemons' logs that sounds like a reason."""
        lines = self._logs().splitlines()
        complaints = [line for line in lines if re.search("fatal|error|denied", line, re.IGNORECASE)]
        return complaints[-1] if complaints else "no reason given"

    def _logs(self) -> str:
        texts = [file.read_text(errors="replace")[-2000:] for file in sorted(self.folder.glob("*.log"))]
        return "\n".join(text for text in texts if text)


_ENDED = ("COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "NODE_FAIL", "OUT_OF_MEMORY")
_FOREIGN = ("SLURM", "SBATCH", "SUBMITIT", "P2BE", "HYDRA", "WANDB", "PL_")
"""How variables begin that a job is not to see."""

_TESTS = ("P2BE_PLUGINS",)
"""Those that a test sets for its jobs."""

_MUNGE_FILES = {
    "socket": "socket",
    "key-file": "key",
    "pid-file": "pid",
    "seed-file": "seed",
    "log-file": "log",
}


def check_possible() -> None:
    """Check that the programs are here and may be started.

    Raises:
        SlurmCannotRun: they are not.
    """
    if missing := [name for name in PROGRAMS if shutil.which(name) is None]:
        raise SlurmCannotRun(f"not installed: {', '.join(missing)} (Debian: slurm-wlm, munge)")
    if os.geteuid() != 0:
        raise SlurmCannotRun("slurmd has to be started by root")
    try:
        pwd.getpwnam(MUNGE)
    except KeyError:
        raise SlurmCannotRun(f"there is no user {MUNGE}") from None


def _free_ports(number: int) -> list[int]:
    with contextlib.ExitStack() as open_ones:
        sockets = [open_ones.enter_context(socket.socket()) for _ in range(number)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


def _processes_in(folder: str) -> list[int]:
    """Processes of jobs of the cluster in a folder."""
    found = []
    for environment in Path("/proc").glob("[0-9]*/environ"):
        with contextlib.suppress(OSError):
            process = int(environment.parent.name)
            if process != os.getpid() and f"SLURM_CONF={folder}/".encode() in environment.read_bytes():
                found.append(process)
    return found
