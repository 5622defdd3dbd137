"""How fast trainings are side by side: their steps and predictions, for a few seconds, all at the same time.

One alone would say too little: on a fast GPU a step waits for Python, and several share what is idle.
"""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from benchmarks.gpu.dependencies import ROOT
from benchmarks.gpu.sizes import SIZES


class Speed(NamedTuple):
    """The slowest of those side by side: seconds to start a process, images a second in training and in predicting."""

    start_seconds: float
    trained: float
    predicted: float


def rehearse(encodings: Sequence[str], size: str, seconds: float, env: Mapping[str, str], limit: float) -> Speed:
    """Measure.

    Args:
        encodings: a process each.
        size: name of the size.
        seconds: of steps; predictions take half of it.
        env: of the processes.
        limit: seconds for all of it.

    Raises:
        RuntimeError: a process failed, or all of it took too long.
    """
    begin = time.monotonic()
    command = [sys.executable, "-m", "benchmarks.gpu.rehearsal"]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True, "cwd": ROOT, "env": dict(env)}
    workers = [subprocess.Popen([*command, each, size, str(seconds)], **pipes) for each in encodings]
    watch = threading.Timer(limit, lambda: [worker.kill() for worker in workers])
    watch.start()
    try:
        for worker in workers:
            worker.stdout.readline()  # it is warm
        start_seconds = time.monotonic() - begin
        for worker in workers:
            if worker.poll() is None:
                worker.stdin.write("go\n")
                worker.stdin.flush()
        told = [worker.communicate()[0].splitlines() for worker in workers]
    finally:
        watch.cancel()
        for worker in workers:
            worker.kill()
            worker.wait()
    if not all(told) or any(worker.returncode for worker in workers):
        codes = ", ".join(str(worker.returncode) for worker in workers)
        raise RuntimeError(f"the rehearsal of {', '.join(encodings)} ended with {codes}")
    rates = [json.loads(lines[-1]) for lines in told]
    return Speed(start_seconds, *(min(rate[which] for rate in rates) for which in ("trained", "predicted")))


def main(arguments: list[str]) -> None:
    """One of those side by side: warm up, say so, wait for a line, measure, print images a second."""
    import torch

    from benchmarks.hardware import set_precision
    from benchmarks.training_step import make_model, make_step

    encoding, name, seconds = arguments[0], arguments[1], float(arguments[2])
    size, device = SIZES[name], torch.device("cuda" if torch.cuda.is_available() else "cpu")
    images = torch.randint(256, (size.eval_batch_size, 3, 32, 32), dtype=torch.uint8, device=device)
    precision = "bf16" if device.type == "cuda" else "32"
    step = make_step(encoding, size.backbone, size.batch_size, "augmix", device, precision)
    model = make_model(encoding, size.backbone, device).eval()

    @torch.no_grad()
    def predict() -> None:
        model(images).argmax(dim=1)

    set_precision(precision, device)
    step()
    step()
    set_precision("32", device)
    predict()
    print("warm", flush=True)
    sys.stdin.readline()
    set_precision(precision, device)
    trained = size.batch_size * _rate(step, seconds, device)
    set_precision("32", device)
    predicted = size.eval_batch_size * _rate(predict, seconds / 2, device)
    print(json.dumps({"trained": trained, "predicted": predicted}), flush=True)


def _rate(call: Callable[[], None], seconds: float, device: object) -> float:
    """Calls a second."""
    from benchmarks.turns import synchronize

    synchronize(device)
    start, calls = time.monotonic(), 0
    while time.monotonic() - start < seconds:
        call()
        synchronize(device)
        calls += 1
    return calls / (time.monotonic() - start)


if __name__ == "__main__":
    main(sys.argv[1:])
