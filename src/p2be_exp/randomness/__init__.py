"""Random numbers as a function of (seed, epoch, image, purpose), and random orders."""

from p2be_exp.randomness.draws import ImageRandom, Purpose, philox4x32

__all__ = ["ImageRandom", "Purpose", "philox4x32"]
