"""How many kernels a call would launch on a GPU, counted on any device from the operators that PyTorch dispatches.

A launch is a call of an operator that computes or copies: an arithmetic operation, a look-up, a convolution, a fill, a
copy between devices or types. What counts is what reaches the device, below autograd and autocast: the operators of a
backward pass and the casts of an autocast are in it.

* **0**: views of memory (``view``, ``expand``, ``transpose``, ``detach``, a slice), allocations without a value
  (``empty``), questions that a tensor answers on the host, and ``item()``, which is a copy to the host and a wait:
  those are counted by themselves, as :attr:`Launches.waits`.
* **1**: any other operator, also one that a GPU does in two or three kernels (a sum in two passes, the backward of a
  convolution): the count is a lower bound of what a profiler finds, by which forms of the same work can be compared.
* an operator over lists of tensors (``_foreach_add_``, ``_fused_sgd_``): as many as the lists need with the number of
  tensors that fits into a launch, or one a tensor where the lists differ in strides, as PyTorch has it on a GPU.
* a Triton kernel: 1 a launch, also in Triton's interpreter, whose own operators do not count. An operator of a library
  (``torch.library``) counts as the Triton kernels that it starts, or 1.

So that a CPU takes the way of a GPU, choose it before: :func:`gpu_optimizers` has the optimizers step over lists.
"""

from __future__ import annotations

import contextlib
import math
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer
from torch.utils._python_dispatch import TorchDispatchMode

_ALLOCATIONS = {"empty", "empty_like", "empty_strided", "empty_permuted", "new_empty", "new_empty_strided", "resize_"}
_UNMARKED_VIEWS = {"_unsafe_view", "_reshape_alias", "lift_fresh", "set_"}
_WAITS = {"_local_scalar_dense", "nonzero", "is_nonzero", "equal", "_unique2", "masked_select"}
_TENSORS_A_LAUNCH = {1: 110, 2: 64, 3: 48, 4: 36, 5: 30}
"""By the number of lists (ATen's MultiTensorApply)."""


class Launches(TorchDispatchMode):
    """A context that counts what is launched in it, in this thread and in the backward passes that it starts.

    Attributes:
        by_name: launches by operator (``aten.add``) or Triton kernel (``triton.NAME``).
        waits: calls on which the host waits for the device (``item()``, ``nonzero``, a mask as an index).

    >>> with Launches() as launches:
    ...     doubled = 2 * torch.ones(3).view(3, 1)
    >>> launches.total, dict(launches.by_name), launches.waits
    (2, {'aten.ones': 1, 'aten.mul': 1}, 0)
    """

    def __init__(self) -> None:
        super().__init__()
        self.by_name: Counter[str] = Counter()
        self.waits = 0
        self._inside_kernel = False
        self._patches = contextlib.ExitStack()

    @property
    def total(self) -> int:
        """All launches."""
        return self.by_name.total()

    def __enter__(self) -> Launches:
        self._patches.enter_context(_triton_told(self._kernel))
        return super().__enter__()

    def __exit__(self, *error: Any) -> None:
        super().__exit__(*error)
        self._patches.close()

    def __torch_dispatch__(
        self,
        func: Any,
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Call the operator and count it."""
        before = self._triton_launches()
        result = func(*args, **(kwargs or {}))
        if not self._inside_kernel:
            waits = _waits(func, args)
            self.waits += waits
            number = launches_of(func, args, result)
            if func.namespace != "aten" and self._triton_launches() > before:
                number = 0
            if number:
                self.by_name[f"{func.namespace}.{_name(func)}"] += number
        return result

    def _triton_launches(self) -> int:
        return sum(number for name, number in self.by_name.items() if name.startswith("triton."))

    def _kernel(self, name: str, launch: Callable[[], Any]) -> Any:
        """Count a Triton kernel, and none of the operators by which the interpreter carries it out."""
        self.by_name[f"triton.{name}"] += 1
        outside, self._inside_kernel = self._inside_kernel, True
        try:
            return launch()
        finally:
            self._inside_kernel = outside


def count_launches(call: Callable[[], object]) -> int:
    """The launches of one call, after which everything is as the call leaves it.

    >>> count_launches(lambda: torch.arange(4).float().sum())
    3
    """
    with Launches() as launches:
        call()
    return launches.total


def launches_of(func: Any, args: Sequence[Any], result: Any) -> int:
    """The launches of one call of an operator.

    Args:
        func: the overload (``torch.ops.aten.add.Tensor``).
        args: that it was called with.
        result: what it gave.
    """
    name = _name(func)
    if name in _ALLOCATIONS | _UNMARKED_VIEWS or name == "_local_scalar_dense" or _is_view(func):
        return 0
    if name.startswith(("_foreach_", "_fused_")) and (lists := [each for each in args if _is_tensor_list(each)]):
        return _launches_over_lists(lists)
    return 1 if _has_tensor(result) or _writes(func) else 0


@contextlib.contextmanager
def gpu_optimizers(optimizer: Optimizer) -> Iterator[None]:
    """Let an optimizer step over lists of tensors meanwhile, which PyTorch chooses by itself on GPUs alone.

    Args:
        optimizer: groups that say ``foreach`` or ``fused`` themselves stay as they are.
    """
    groups = [group for group in optimizer.param_groups if group.get("foreach") is None and not group.get("fused")]
    for group in groups:
        group["foreach"] = True
    try:
        yield
    finally:
        for group in groups:
            group["foreach"] = None


def _name(func: Any) -> str:
    return func.overloadpacket.__name__


def _is_view(func: Any) -> bool:
    """Whether what is given shares the memory of an argument that is not written."""
    aliases = [each.alias_info for each in func._schema.returns]
    return bool(aliases) and all(each is not None and not each.is_write for each in aliases)


def _writes(func: Any) -> bool:
    return any(each.alias_info is not None and each.alias_info.is_write for each in func._schema.arguments)


def _waits(func: Any, args: Sequence[Any]) -> int:
    if _name(func) in ("index", "index_put_", "index_put"):
        masks = (torch.bool, torch.uint8)
        return sum(isinstance(each, Tensor) and each.dtype in masks for each in args[1])
    return int(_name(func) in _WAITS)


def _is_tensor_list(value: Any) -> bool:
    return isinstance(value, list | tuple) and bool(value) and all(isinstance(each, Tensor) for each in value)


def _has_tensor(value: Any) -> bool:
    return isinstance(value, Tensor) or (isinstance(value, list | tuple) and any(map(_has_tensor, value)))


def _launches_over_lists(lists: Sequence[Sequence[Tensor]]) -> int:
    tensors = len(lists[0])
    together = [each for each in lists if len(each) == tensors]
    alike = all(
        len({(each.dtype, each.shape, each.stride()) for each in of_one}) == 1 for of_one in zip(*together, strict=True)
    )
    return math.ceil(tensors / _TENSORS_A_LAUNCH[min(len(together), 5)]) if alike else tensors


@contextlib.contextmanager
def _triton_told(launched: Callable[[str, Callable[[], Any]], Any]) -> Iterator[None]:
    """Have every launch of a Triton kernel go through ``launched``; nothing to do where nobody has imported Triton."""
    runtime = [sys.modules.get(f"triton.runtime.{name}") for name in ("jit", "interpreter")]
    classes = [
        getattr(module, name)
        for module, name in zip(runtime, ("JITFunction", "InterpretedFunction"), strict=True)
        if module is not None
    ]
    originals = [cls.run for cls in classes]

    def told(original: Callable[..., Any]) -> Callable[..., Any]:
        def run(kernel: Any, *args: Any, grid: Any, warmup: bool, **kwargs: Any) -> Any:
            def launch() -> Any:
                return original(kernel, *args, grid=grid, warmup=warmup, **kwargs)

            return launch() if warmup else launched(kernel.__name__, launch)

        return run

    for cls, original in zip(classes, originals, strict=True):
        cls.run = told(original)
    try:
        yield
    finally:
        for cls, original in zip(classes, originals, strict=True):
            cls.run = original
