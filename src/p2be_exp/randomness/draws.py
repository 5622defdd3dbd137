"""Counter-based random numbers: each is a function of (seed, epoch, image, purpose), with no state to save.

The generator is Philox4x32-10 (Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3"), one Triton kernel
on GPUs and int64 tensor arithmetic elsewhere. The seed is the key; image, epoch, purpose and block number are the words
of the counter. So an image gets the same numbers in any batch, order and rank, on any device, and after a resume.
"""

from enum import IntEnum, unique

import torch
from torch import Tensor

from p2be_exp.system.device_kernels import device_operator, kernels_serve

_WORD = 0xFFFFFFFF  # the largest 32-bit word, and the mask for one
_MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)
_WEYL = (0x9E3779B9, 0xBB67AE85)  # what is added to the key after each round
_ROUNDS = 10
_INTEGERS = (torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64)


@unique
class Purpose(IntEnum):
    """The purpose of random numbers: two purposes never share a draw.

    The values are part of every published result: add new ones at the end, never renumber.
    """

    FLIP_CROP = 1
    AUGMIX = 2
    CORRUPTION = 3  # drawn in p2be_exp.corruptions.draws
    ATTACK = 4
    TRAINING_ATTACK = 5
    DROPOUT = 6
    RESIZED_CROP = 7
    TENET_GROUPS = 8
    NOISE = 9
    MIXING = 10
    MIXED_BATCH = 11  # of a batch, by its number
    MIXING_PARTNER = 12
    FEATURE_NOISE = 13


def philox4x32(counter: tuple[Tensor, Tensor, Tensor, Tensor], key: tuple[int, int]) -> tuple[Tensor, ...]:
    """Philox4x32-10: four random 32-bit words for a counter of four words under a key of two.

    Args:
        counter: four int64 tensors of values 0..2**32-1 whose shapes broadcast with each other.
        key: two integers in 0..2**32-1.

    Returns:
        Four int64 tensors of values 0..2**32-1, of the broadcast shape.

    Source: Salmon et al. 2011; the constants and the known answers are those of Random123.
    """
    c0, c1, c2, c3 = counter
    k0, k1 = key
    for _ in range(_ROUNDS):
        # int64 multiplication wraps modulo 2**64, so the bits are those of the unsigned product; the mask
        # removes the sign bits that the shift copies down.
        product0, product1 = c0 * _MULTIPLIERS[0], c2 * _MULTIPLIERS[1]
        c0, c2 = (product1 >> 32 & _WORD) ^ c1 ^ k0, (product0 >> 32 & _WORD) ^ c3 ^ k1
        c1, c3 = product1 & _WORD, product0 & _WORD
        k0, k1 = k0 + _WEYL[0] & _WORD, k1 + _WEYL[1] & _WORD
    return c0, c1, c2, c3


class ImageRandom:
    """The random numbers of the images of one batch, for one seed, epoch and purpose.

    Drawing changes no state: the same call returns the same numbers, and ``start`` is the position in an image's
    sequence. The numbers are equal to the bit on every device.

    Args:
        seed: 0..2**64-1.
        epoch: 0..2**32-1, or an int64 tensor of no dimension on the images' device that holds it (and is not checked):
            a CUDA graph reads it anew in every replay.
        images: ``(B,)`` integers, the indices of the images in their data set, 0..2**32-1 (checked only
            on the CPU: reading them back would stall a GPU). The numbers are generated on their device.
        purpose: a ``Purpose``, or any unused number in 0..2**32-1.

    Raises:
        ValueError: an argument outside its range, or ``images`` not a vector of integers.

    >>> random = ImageRandom(seed=0, epoch=3, images=torch.tensor([7, 1]), purpose=Purpose.AUGMIX)
    >>> alone = ImageRandom(seed=0, epoch=3, images=torch.tensor([1]), purpose=Purpose.AUGMIX)
    >>> torch.equal(random.uniform(4)[1:], alone.uniform(4))
    True
    """

    def __init__(self, seed: int, epoch: int | Tensor, images: Tensor, purpose: int):
        self._key = _key(seed)
        if images.ndim != 1 or images.dtype not in _INTEGERS:
            raise ValueError(f"images must be a vector of integers, not {images.dtype} of shape {tuple(images.shape)}")
        images = images.to(torch.int64)
        if images.device.type == "cpu" and len(images) and not 0 <= images.min() <= images.max() <= _WORD:
            raise ValueError(f"images must be between 0 and {_WORD}")
        self._images = images
        self._epoch = epoch if isinstance(epoch, Tensor) else _word("epoch", epoch)
        self._purpose = _word("purpose", purpose)

    def __len__(self) -> int:
        return len(self._images)

    def uniform(self, n: int, start: int = 0) -> Tensor:
        """Draws ``start`` to ``start + n - 1`` of every image.

        Args:
            n: number of draws per image.
            start: first draw: ``uniform(n, start)`` equals ``uniform(start + n)[:, start:]``.

        Returns:
            float64 ``(B, n)`` in [0, 1), multiples of 2**-53, on the device of the images.

        Raises:
            ValueError: ``n`` or ``start`` is negative, or a draw is beyond the 2**33 of an image.
        """
        if n < 0 or start < 0 or start + n > 2 * (_WORD + 1):
            raise ValueError(f"draws {start}..{start + n - 1} are not among the 2**33 of an image")
        draw = _uniform if kernels_serve(self._images.device) else _uniform_plain
        epoch, held = (0, self._epoch) if isinstance(self._epoch, Tensor) else (self._epoch, None)
        return draw(self._images, *self._key, epoch, self._purpose, n, start, held)


def _uniform_plain(
    images: Tensor, key0: int, key1: int, epoch: int, purpose: int, n: int, start: int, held: Tensor | None = None
) -> Tensor:
    first, last = start // 2, (start + n + 1) // 2  # a block of four words gives two draws
    block = torch.arange(first, last, device=images.device)
    epochs = torch.full_like(block, epoch) if held is None else held.expand_as(block)
    words = epochs, torch.full_like(block, purpose)
    w0, w1, w2, w3 = philox4x32((images[:, None] & _WORD, *words, block), (key0, key1))
    draws = torch.stack([_to_unit(w0, w1), _to_unit(w2, w3)], dim=-1).flatten(1)
    return draws[:, start - 2 * first :][:, :n]


def _uniform_empty(
    images: Tensor, key0: int, key1: int, epoch: int, purpose: int, n: int, start: int, held: Tensor | None = None
) -> Tensor:
    return images.new_empty(len(images), n, dtype=torch.float64)


_uniform = device_operator(
    "uniform_of_images("
    "Tensor images, int key0, int key1, int epoch, int purpose, int n, int start, Tensor? held=None) -> Tensor",
    "p2be_exp.randomness.uniform_kernel:uniform",
    _uniform_plain,
    _uniform_empty,
)


def _to_unit(high: Tensor, low: Tensor) -> Tensor:
    """[0, 1) from the upper 27 bits of one word and the upper 26 of another: 53 bits, exact in float64."""
    return ((high >> 5 << 26) + (low >> 6)).to(torch.float64) * 2.0**-53


def _key(seed: int) -> tuple[int, int]:
    if not 0 <= seed < 1 << 64:
        raise ValueError(f"seed={seed}: must be between 0 and 2**64 - 1")
    return seed & _WORD, seed >> 32


def _word(name: str, value: int) -> int:
    if not 0 <= value <= _WORD:
        raise ValueError(f"{name}={value}: must be between 0 and 2**32 - 1")
    return int(value)
