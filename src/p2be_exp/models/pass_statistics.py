"""Running statistics by pass: a second set for the batch norms of a part that runs twice in one forward pass.

What the two passes read may have other means and variances. One set of running statistics is then a mixture that
serves neither of them in eval mode; weight and bias of a norm are the same for both in any case.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

RUNNING = ("running_mean", "running_var", "num_batches_tracked")
"""The buffers of a batch norm."""


def norms_that_run(network: nn.Module, call: Callable[[], object]) -> list[str]:
    """Names of the batch norms with running statistics that a call goes through, in the order of the network.

    Args:
        network: they are its own.
        call: does the forward pass.
    """
    seen: set[nn.Module] = set()
    norms = {name: each for name, each in network.named_modules() if isinstance(each, _BatchNorm)}
    norms = {name: norm for name, norm in norms.items() if norm.running_mean is not None}
    handles = [norm.register_forward_pre_hook(lambda norm, _: seen.add(norm)) for norm in norms.values()]
    try:
        call()
    finally:
        for handle in handles:
            handle.remove()
    return [name for name, norm in norms.items() if norm in seen]


def second_statistics(network: nn.Module, names: list[str]) -> nn.Module:
    """A second set of running statistics, equal to the first: buffers under the names that they have in the network.

    They are beside the norms, not in them: a norm stays PyTorch's own, and one that PyTorch makes anew for several GPUs
    takes along the buffers that PyTorch knows, no others.

    Args:
        network: has the norms.
        names: of these.
    """
    second = nn.Module()
    for name in names:
        norm, held = network.get_submodule(name), second
        for part in name.split("."):
            if part not in dict(held.named_children()):
                held.add_module(part, nn.Module())
            held = held.get_submodule(part)
        for key in RUNNING:
            held.register_buffer(key, getattr(norm, key).clone())
    return second


@contextmanager
def in_use(network: nn.Module, second: nn.Module) -> Iterator[None]:
    """While this lasts, a network's batch norms read and update the second set.

    The buffers change hands, nothing is copied: whatever reads a norm's buffers when it runs has the right ones, be it
    an attack, a trace, or a captured step, which keeps their addresses. Both sets are looked up anew each time, since a
    trace has other tensors in their places, and several GPUs other norms. Two threads must not run one model.

    Args:
        network: the one that :func:`second_statistics` was given.
        second: what it gave.
    """
    pairs = [(network.get_submodule(name), each) for name, each in second.named_modules() if hasattr(each, RUNNING[0])]
    first = [{key: getattr(norm, key) for key in RUNNING} for norm, _ in pairs]
    try:
        for norm, held in pairs:
            for key in RUNNING:
                setattr(norm, key, getattr(held, key))
        yield
    finally:
        for (norm, _), buffers in zip(pairs, first, strict=True):
            for key, buffer in buffers.items():
                setattr(norm, key, buffer)
