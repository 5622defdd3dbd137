"""Sources of an evaluation's corrupted images: published files, own files, a set made earlier, generated on the fly."""

from p2be_exp.evaluation.corrupted.images import CorruptedImages

__all__ = ["CorruptedImages"]
