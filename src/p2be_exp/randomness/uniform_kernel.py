"""The counter-based generator of :mod:`p2be_exp.randomness.draws` as one Triton kernel."""

import torch
import triton
import triton.language as tl
from torch import Tensor

_BLOCKS_A_PROGRAM = 128


def uniform(
    images: Tensor, key0: int, key1: int, stream: int, purpose: int, n: int, start: int, held: Tensor | None = None
) -> Tensor:
    """Draws ``start`` to ``start + n - 1`` of every image.

    Args:
        images: int64 ``(B,)``, the first word of the counter; of larger numbers the lower 32 bits.
        key0: the lower 32 bits of the seed.
        key1: the upper 32 bits.
        stream: the second word (the epoch).
        purpose: the third word; the fourth counts the blocks of two draws.
        n: number of draws per image.
        start: first draw.
        held: int64, of no dimension: holds the second word, in place of ``stream``.

    Returns:
        float64 ``(B, n)``, equal to :class:`~p2be_exp.randomness.draws.ImageRandom` to the bit.
    """
    out = torch.empty(len(images), n, dtype=torch.float64, device=images.device)
    blocks = (start + n + 1) // 2 - start // 2  # of an image
    total = len(images) * blocks
    if n and total:
        grid = (triton.cdiv(total, _BLOCKS_A_PROGRAM),)
        _uniform[grid](
            images.contiguous(),
            out,
            held,
            total,
            blocks,
            n,
            start,
            stream,
            purpose,
            key0,
            key1,
            SIZE=_BLOCKS_A_PROGRAM,
        )
    return out


@triton.jit(do_not_specialize=["total", "blocks", "n", "start", "stream", "purpose", "key0", "key1"])
def _uniform(images, out, held, total, blocks, n, start, stream, purpose, key0, key1, SIZE: tl.constexpr):
    """Each lane makes one block of an image: four words, two draws."""
    lane = tl.program_id(0).to(tl.int64) * SIZE + tl.arange(0, SIZE)
    inside = lane < total
    row = lane // blocks
    block = start // 2 + lane % blocks
    image = tl.load(images + row, mask=inside, other=0)
    second = stream.to(tl.uint32)
    if held is not None:
        second = tl.load(held).to(tl.uint32)
    seed = key1.to(tl.uint64) << 32 | key0.to(tl.uint64)
    w0, w1, w2, w3 = tl.philox(seed, image.to(tl.uint32), second, purpose.to(tl.uint32), block.to(tl.uint32))
    column = 2 * block - start
    place = out + row * n + column
    tl.store(place, _to_unit(w0, w1), mask=inside & (column >= 0))
    tl.store(place + 1, _to_unit(w2, w3), mask=inside & (column + 1 < n))


@triton.jit
def _to_unit(high, low):
    """[0, 1) from the upper 27 bits of one word and the upper 26 of another."""
    bits = ((high >> 5).to(tl.int64) << 26) + (low >> 6).to(tl.int64)
    return bits.to(tl.float64) * 1.1102230246251565e-16  # 2**-53
