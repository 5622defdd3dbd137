"""Results of a CPU that nobody has: every sum of products, mean and transcendental function rounded in another way.

``P2BE_TEST_ROUNDING=SEED python -m pytest ...`` runs the tests with it: one that decides by the last bit of a float
fails under some seed.
"""

import torch
from torch.utils._python_dispatch import TorchDispatchMode

# What a kernel is free to round as it likes: the order of a sum and the fused products in it, ...
# fmt: off
SUMS = {
    "convolution", "convolution_backward", "mm", "addmm", "bmm", "baddbmm", "mv", "addmv", "dot", "native_batch_norm",
    "native_batch_norm_backward", "_native_batch_norm_legit", "sum", "mean", "var", "std", "linalg_vector_norm",
    "_embedding_bag", "_embedding_bag_forward_only", "embedding_dense_backward", "index_add_", "cumsum", "avg_pool2d",
    "avg_pool2d_backward", "_softmax_backward_data", "_log_softmax_backward_data",
}
# ... and the polynomials of a function.
FUNCTIONS = {
    "_softmax", "_log_softmax", "exp", "log", "sin", "cos", "tanh", "sigmoid", "erf", "sqrt", "rsqrt", "pow",
}
# fmt: on


class OtherRounding(TorchDispatchMode):
    """Changes the last bits of what these operations return.

    The change is a function of the result's shape, of the place in it and of the value there: the same computation done
    twice gives the same bits; the same image at another place of a batch, or in a batch of another size, need not. It
    is at most a unit in the last place of the value, for a sum in that of the root mean square of all results: where
    its terms cancel, many units of what is left. Kept are zeros, short binary fractions, and sums of one term, which
    every CPU gets exactly.
    """

    def __init__(self, seed: int) -> None:
        super().__init__()
        self.seed = seed

    def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
        out = operation(*args, **(kwargs or {}))
        name = operation.overloadpacket.__name__
        if name in SUMS or name in FUNCTIONS:
            one_term = _has_one_term(name, operation, args)
            for each in out if isinstance(out, tuple | list) else [out]:
                if isinstance(each, torch.Tensor) and each.dtype in (torch.float32, torch.float64) and each.numel():
                    size = each.square().mean().sqrt().nan_to_num(0.0, 0.0, 0.0) if name in SUMS else each.abs()
                    each += torch.where(one_term | ~each.isfinite(), 0, self._change(each) * size)
        return out

    def _change(self, values: torch.Tensor) -> torch.Tensor:
        """Numbers from -1 to 1 in units of the last place of 1; 0 for values with few bits."""
        bits = values.contiguous().view(torch.int32 if values.dtype == torch.float32 else torch.int64).long()
        mixed = bits * 0x9E3779B1 + torch.arange(values.numel(), device=values.device).view(values.shape) * 0x85EBCA77
        mixed = mixed + (self.seed * 0xC2B2AE3D + values.numel() * 0x27D4EB2F)
        for shift, factor in ((29, 0x2545F491), (31, 0x165667B1), (32, 1)):
            mixed = (mixed ^ (mixed >> shift)) * factor
        change = ((mixed & 0xFFFF).to(values.dtype) / 0x8000 - 1) * torch.finfo(values.dtype).eps
        return torch.where(bits & 0xFF == 0, 0, change)


def _has_one_term(name: str, operation, args) -> torch.Tensor | bool:
    """Where a sum has one term that is not 0, or none: counted by the same sum of ones in the place of its terms."""
    if name in ("mm", "bmm", "_embedding_bag", "_embedding_bag_forward_only"):
        found = operation(*(_ones(each) for each in args))
        return (found[0] if isinstance(found, tuple) else found) <= 1
    if name in ("sum", "mean"):
        terms, dim, keepdim = (*args, None, None)[:3]
        return (terms != 0).sum(dim or tuple(range(terms.dim())), bool(keepdim)) <= 1
    return False


def _ones(value):
    is_term = isinstance(value, torch.Tensor) and value.is_floating_point()
    return (value != 0).to(value.dtype) if is_term else value
