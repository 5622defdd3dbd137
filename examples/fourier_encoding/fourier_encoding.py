"""Fourier features of a level: cosines and sines of doubling frequencies, a positional encoding of one value."""

import math
from dataclasses import dataclass

import torch

from p2be_exp import register_encoding
from p2be_exp.config import choice, number
from p2be_exp.encodings import TableEncoding


@dataclass
class FourierConfig:
    """Keys of ``encoding=fourier``."""

    name: str = "fourier"
    frequencies: int = number(1, 8)
    spacing: str = choice("octaves", "harmonics")


@register_encoding("fourier", FourierConfig)
class Fourier(TableEncoding):
    """Row k: cos(pi f k / 255), then sin(pi f k / 255), for each frequency f.

    Args:
        frequencies: how many; M is twice as many.
        spacing: ``octaves`` are f = 1, 2, 4, ...; ``harmonics`` are f = 1, 2, 3, ...
    """

    binary = False

    def __init__(self, frequencies: int, spacing: str) -> None:
        super().__init__(2 * frequencies)
        place = torch.arange(frequencies, dtype=torch.float64)
        frequency = 2**place if spacing == "octaves" else 1 + place
        angles = math.pi * frequency * torch.arange(256, dtype=torch.float64).unsqueeze(1) / 255
        self.register_buffer("codes", torch.cat([angles.cos(), angles.sin()], 1).float(), persistent=False)

    def table(self) -> torch.Tensor:
        """The codes, float ``(256, M)``."""
        return self.codes
