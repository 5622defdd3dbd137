"""Runs cases of the grid on one checkout of the project, in forks of a process that has the libraries.

Started by ``compare.py`` once for each of the two commits, always from the same file: nothing here and in ``grid.py``
knows a module of the package, only what is public (commands, keys, run folders, ``load_run``). Names of cases come in
on stdin, a line each; a line of JSON goes out on stdout for each of them.

What a command does is seen from outside: the loss terms of every step by what Lightning's TensorBoardLogger is given
(``logger.tensorboard.log_every_n_steps=1``), the images that a network sees by a hook on every module of PyTorch.
"""

from __future__ import annotations

import contextlib
import gc
import hashlib
import importlib
import json
import os
import runpy
import signal
import sys
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

LIBRARIES = (
    "PIL.Image",
    "cv2",
    "hydra.experimental.callback",
    "hydra.main",
    "matplotlib.backends.backend_agg",
    "matplotlib.figure",
    "numba",
    "pytorch_lightning.loggers",
    "scipy.ndimage",
    "scipy.special",
    "scipy.stats",
    "sklearn.datasets",
    "torch.distributed",
    "torchmetrics.functional.classification",
    "torchvision.transforms",
    "tqdm",
)
"""What is imported before the forks; of the package itself nothing."""


class Broken(Exception):  # noqa: N818
    """A command that did not end as a case wants it, or left out what is to be compared."""


class Checkout:
    """One checkout of the project, and the folder in which its commands run.

    Args:
        tree: the checkout.
        old: folder in which the base's commands have run: the run folders that both commits have to read.
    """

    def __init__(self, tree: Path, old: Path) -> None:
        self.tree, self.old = tree, old

    def has(self, path: str) -> bool:
        """Whether the checkout has a file or a folder."""
        return (self.tree / path).exists()

    def run(self, command: str, *arguments: str, log: str, code: int = 0, stop: int | None = None) -> None:
        """Run a command of the project to its end, in a fork.

        Args:
            command: ``train.py``, ``evaluate.py``, or the name of a module.
            arguments: of it.
            log: name of the files that get its output, in ``logs/``; its steps go to ``logs/LOG.jsonl``.
            code: the exit code that it has to have.
            stop: send SIGTERM to the process when this step is logged.

        Raises:
            Broken: another exit code.
        """
        logs = Path("logs", log)
        logs.parent.mkdir(parents=True, exist_ok=True)
        found = in_fork(lambda: self._command(command, list(arguments), logs, stop), logs)
        if found != code:
            told = logs.with_suffix(".err").read_text(errors="replace").strip().splitlines()
            raise Broken(f"{command} {' '.join(arguments)}: exit code {found}: {' | '.join(told[-3:])}")

    def _command(self, command: str, arguments: list[str], logs: Path, stop: int | None) -> int:
        script = str(self.tree / command) if command.endswith(".py") else command
        sys.argv = [script, *map(self._spelt, arguments)]
        sys.orig_argv = [sys.executable, *([] if command.endswith(".py") else ["-m"]), *sys.argv]
        sys.path.remove(str(Path(__file__).parent))
        trains = command == "train.py"
        try:
            with noted_steps(logs.with_suffix(".jsonl"), stop) if trains else contextlib.nullcontext():
                if command.endswith(".py"):
                    sys.path.insert(0, str(self.tree))
                    runpy.run_path(script, run_name="__main__")
                else:
                    runpy.run_module(command, run_name="__main__", alter_sys=True)
        except SystemExit as end:
            return end.code if isinstance(end.code, int) else int(end.code is not None)
        return 0

    def _spelt(self, argument: str) -> str:
        """An argument as the checkout has it: the keys of a logger did not always have its name in them."""
        by_name = "@package" in (self.tree / "conf" / "logger" / "tensorboard.yaml").read_text()
        return argument if by_name else argument.replace("logger.tensorboard.", "logger.")

    def collect(self, function: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """What a function finds, by key; it is called in a fork, since PyTorch must not compute in this process."""
        file = Path("logs", "collected.json")
        file.parent.mkdir(exist_ok=True)

        def collected() -> int:
            file.write_text(json.dumps(function()))
            return 0

        file.unlink(missing_ok=True)
        if in_fork(collected, Path("logs", "collect")) != 0:
            raise Broken(Path("logs", "collect.err").read_text().strip().splitlines()[-1])
        return json.loads(file.read_text())


def in_fork(function: Callable[[], int], logs: Path) -> int:
    """Call a function in a fork of this process whose output goes to files; its exit code."""
    if (pid := os.fork()) == 0:
        code = 70
        try:
            for number, name in ((1, ".out"), (2, ".err")):
                os.dup2(os.open(logs.with_suffix(name), os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644), number)
            signal.signal(signal.SIGINT, signal.default_int_handler)
            code = function()
        except BaseException:
            traceback.print_exc()
        finally:
            for stream in (sys.stdout, sys.stderr):
                stream.flush()
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


@contextlib.contextmanager
def noted_steps(file: Path, stop: int | None = None) -> Iterator[None]:
    """Within the block, what a training logs at a step goes to a file, with a digest of the images that were seen.

    Args:
        file: gets a JSON line for each step; what is there is replaced.
        stop: send SIGTERM to this process when this step is logged.
    """
    import torch
    from pytorch_lightning.loggers import TensorBoardLogger

    file.unlink(missing_ok=True)
    original, seen = TensorBoardLogger.log_metrics, SeenImages()

    def log_metrics(self: Any, metrics: dict[str, Any], step: int | None = None) -> Any:
        values = {name: float(value) for name, value in metrics.items() if name.startswith("step/")}
        if values:
            values = {name.removeprefix("step/"): value.hex() for name, value in values.items()}
            with file.open("a") as lines:
                lines.write(json.dumps({"step": step, "images": seen.digest(), **values}) + "\n")
            if step == stop:
                os.kill(os.getpid(), signal.SIGTERM)
        return original(self, metrics, step)

    hook = torch.nn.modules.module.register_module_forward_pre_hook(seen)
    TensorBoardLogger.log_metrics = log_metrics
    try:
        yield
    finally:
        TensorBoardLogger.log_metrics = original
        hook.remove()


class SeenImages:
    """A hook of all modules that digests every batch of levels, uint8 ``(B, 3, H, W)``, that one of them is given.

    A batch that comes again, as from a classifier to its stem, counts once.
    """

    def __init__(self) -> None:
        self._digests: dict[str, None] = {}
        self._last: Any = None

    def __call__(self, module: Any, arguments: tuple[Any, ...]) -> None:
        """Look at the arguments of a call."""
        import torch

        for value in arguments:
            if isinstance(value, torch.Tensor) and value.dtype == torch.uint8 and value.dim() == 4:
                if value is not self._last:
                    self._digests.setdefault(digest_of(value))
                self._last = value

    def digest(self) -> str:
        """Of the batches since the last call, in their order."""
        found, self._digests, self._last = "".join(self._digests), {}, None
        return hashlib.sha256(found.encode()).hexdigest()[:16]


def digest_of(array: Any) -> str:
    """Hexadecimal digits of the SHA-256 of a tensor's or an array's bytes, in the order of its indices."""
    import numpy as np
    import torch

    if isinstance(array, torch.Tensor):
        array = array.detach().cpu().contiguous()
        array = array.view(torch.int16).numpy() if array.dtype == torch.bfloat16 else array.numpy()
    return hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()[:16]


def fingerprint() -> dict[str, Any]:
    """What decides the last bits of a float: how PyTorch was built, the CPU, its instructions, the other libraries."""
    from importlib import metadata

    import torch

    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    libraries = ("numpy", "scipy", "numba", "opencv-python-headless", "pillow")
    return {
        "torch": f"{torch.__version__} {torch.version.git_version}",
        "cpu": names[0] if names else "unknown",
        "capability": torch.backends.cpu.get_cpu_capability(),
        "onednn": os.environ.get("ONEDNN_MAX_CPU_ISA", "default"),
        "threads": torch.get_num_threads(),
        "rounding": "of this CPU",
        **{name: metadata.version(name) for name in libraries},
    }


def main() -> None:
    """Import the libraries, then run the cases that are named on stdin, in the current folder."""
    tree, old = (Path(argument).absolute() for argument in sys.argv[1:3])
    out = os.fdopen(os.dup(1), "w")
    for name in LIBRARIES:
        importlib.import_module(name)
    import cv2
    import grid
    import torch

    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    gc.collect()
    gc.freeze()
    checkout = Checkout(tree, old)
    for line in sys.stdin:
        name = line.strip()
        try:
            answer = {"found": grid.CASES[name].run(checkout)}
        except grid.Skipped as reason:
            answer = {"skipped": str(reason)}
        except Broken as error:
            answer = {"broken": str(error)}
        except Exception as error:
            traceback.print_exc()
            answer = {"broken": f"{type(error).__name__}: {error}"}
        out.write(json.dumps({"case": name, **answer}) + "\n")
        out.flush()


if __name__ == "__main__":
    sys.modules["worker"] = sys.modules["__main__"]  # the grid raises this module's exceptions
    main()
