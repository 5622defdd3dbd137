"""Training steps that run as one CUDA graph, and the same without a graph, by which they are tested on a CPU."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

import torch

from p2be_exp.data import Batch
from p2be_exp.optim import CombinedOptimizer
from p2be_exp.training.graph_check import check_outcomes, outcomes
from p2be_exp.training.set_back import unchanged
from p2be_exp.training.whole_step import WholeStep

if TYPE_CHECKING:
    from p2be_exp.training.module import TrainingModule

WARM_UP = 3
"""Steps before a capture, which choose convolutions, build kernels and copy constants; nothing of them remains."""


class EagerTwin:
    """Takes batches of one shape through a :class:`WholeStep`, operator by operator.

    Args:
        module, optimizer, forward_context: of :class:`WholeStep`.
        batch_size: images of the batches that are taken; others are left to the ordinary way.

    Attributes:
        step: made with the first batch; what it holds is of the last batch that was taken.
    """

    def __init__(
        self,
        module: TrainingModule,
        optimizer: CombinedOptimizer,
        forward_context: Callable[[], AbstractContextManager[Any]],
        batch_size: int,
    ) -> None:
        self.batch_size = batch_size
        self._parts = module, optimizer, forward_context
        self.step: WholeStep | None = None

    def take(self, batch: Batch, epoch: int) -> bool:
        """Train on a batch, if it is one of those that are taken; say whether it was."""
        if self.step is None:
            if not len(batch.labels) == batch.count == self.batch_size:
                return False
            self.step = WholeStep(*self._parts, batch)
        if not self.step.serves(batch):
            return False
        self.step.fill(batch, epoch)
        return self._run(self.step)

    def _run(self, step: WholeStep) -> bool:
        step.run()
        return True


class CapturedStep(EagerTwin):
    """Takes batches through one CUDA graph, captured with the first of them.

    Where the capture fails, as with an operator that reads a value back, or where a replay is not the ordinary step
    (:mod:`~p2be_exp.training.graph_check`), a line says why, and every batch is left to the ordinary way.

    Args:
        module, optimizer, forward_context, batch_size: of :class:`EagerTwin`.
        say: is told in one line what the capture took, or why there is none.
    """

    def __init__(
        self,
        module: TrainingModule,
        optimizer: CombinedOptimizer,
        forward_context: Callable[[], AbstractContextManager[Any]],
        batch_size: int,
        say: Callable[[str], None],
    ) -> None:
        super().__init__(module, optimizer, forward_context, batch_size)
        self.say = say
        self._graph: torch.cuda.CUDAGraph | None = None
        self._failed = False

    def take(self, batch: Batch, epoch: int) -> bool:
        """See :class:`EagerTwin`."""
        return not self._failed and super().take(batch, epoch)

    def _run(self, step: WholeStep) -> bool:
        if self._graph is None:
            try:
                self._graph = self._checked(step)
            except RuntimeError as error:  # what PyTorch raises, out of memory included
                self._failed, self.step = True, None
                step.optimizer.zero_grad()
                reason = str(error).strip().partition("\n")[0]
                self.say(f"compile: steps cannot be captured as a CUDA graph, so trainer.compile=off it is ({reason})")
                return False
        self._graph.replay()
        return True

    def _checked(self, step: WholeStep) -> torch.cuda.CUDAGraph:
        ordinary = outcomes(step, step.run)
        graph = self._captured(step)
        check_outcomes(ordinary, outcomes(step, graph.replay))
        return graph

    def _captured(self, step: WholeStep) -> torch.cuda.CUDAGraph:
        device = step.device
        before, begin = torch.cuda.memory_reserved(device), time.perf_counter()
        graph = torch.cuda.CUDAGraph()
        # What has been queued is done before, and what comes after waits: a stream of its own is what a capture needs.
        stream, current = torch.cuda.Stream(device), torch.cuda.current_stream(device)
        stream.wait_stream(current)
        with torch.cuda.stream(stream):
            warm_up(step)
        current.wait_stream(stream)
        # Other threads (of loaders, say) may allocate meanwhile.
        try:
            with torch.cuda.graph(graph, stream=stream, capture_error_mode="thread_local"):
                step.run(capturing=True)
        finally:
            torch.cuda.set_stream(current)  # which a capture that fails leaves at its own
        torch.cuda.synchronize(device)
        seconds = time.perf_counter() - begin
        memory = (torch.cuda.memory_reserved(device) - before) / 2**30
        self.say(
            f"compile: steps of {step.images} images are one CUDA graph from now on; to start took {seconds:.1f} s and "
            f"{memory:.1f} GiB (trainer.compile=off: none)"
        )
        return graph


def warm_up(step: WholeStep, times: int = WARM_UP) -> None:
    """Make steps on what the buffers hold, after which weights, buffers and states are as before.

    States of the optimizers that were not there are 0 afterwards, from which a first step goes on as from none. Nothing
    is given a new place in memory, but gradients, of which there are none.
    """
    device = step.device
    cuda = [device.index or 0] if device.type == "cuda" else []
    with unchanged(step.module, step.optimizer), torch.random.fork_rng(devices=cuda):
        for _ in range(times):
            step.run()
    step.optimizer.zero_grad()
