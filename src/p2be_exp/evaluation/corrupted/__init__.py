"""Where an evaluation's corrupted images come from: published files, own files, a set made before, made on the fly."""

from p2be_exp.evaluation.corrupted.images import CorruptedImages

__all__ = ["CorruptedImages"]
