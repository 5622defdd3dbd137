"""Readers: how a model takes levels in. An encoding looks them up, and what follows may be folded into that.

A reader is made from modules that the model owns and registers itself, so that it has no parameters of its own and
names none in a checkpoint. It is a view of them as they are now: ask the model for its readers where they are needed,
and keep none over a change of the weights.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

from torch import Tensor, nn

from p2be_exp.encodings import TableEncoding, encode
from p2be_exp.models.deployed_readers import DeployedForm, FoldedStem, LookUp, LookUpStem
from p2be_exp.models.stem import EncodedConv2d
from p2be_exp.models.surrogate import code_gradient, level_gradient


class Reader(ABC):
    """From levels to what a model's body gets of them, its features; and the way back, from their gradient.

    Attributes:
        encoding: gives the table.
        weights: the tensors beside table and slopes that :meth:`level_gradient` uses.
        owned: the modules that it reads with; a body makes no use of them, and is exported without them.
    """

    encoding: TableEncoding
    weights: tuple[Tensor, ...] = ()
    owned: tuple[nn.Module, ...]

    @abstractmethod
    def of_levels(self, levels: Tensor, table: Tensor) -> Tensor:
        """Features of images.

        Args:
            levels: uint8 ``(B, 3, H, W)``.
            table: the encoding's, ``(256, M)``, with or without its gradient.

        Returns:
            ``(B, ...)``, differentiable in the table and in the reader's weights.
        """

    @abstractmethod
    def of_codes(self, codes: Tensor) -> Tensor:
        """Features of codes ``(B, 3M, H, W)`` that are already there, for attacks that relax them; differentiable."""

    @abstractmethod
    def level_gradient(self, gradient: Tensor, levels: Tensor, slopes: Tensor) -> Tensor:
        """The gradient with respect to the levels, from that with respect to the features.

        Args:
            gradient: of the features, in their shape.
            levels: uint8 ``(B, 3, H, W)``, where it was taken.
            slopes: ``(256, M)``, see :func:`p2be_exp.models.surrogate.slopes`.

        Returns:
            ``(B, 3, H, W)``, in the dtype of the slopes.
        """

    @abstractmethod
    def deployed(self, form: DeployedForm) -> nn.Module:
        """The same features from constants and PyTorch's own operators: uint8 images in, features out; copies.

        Args:
            form: where there is a choice.
        """


class StemReader(Reader):
    """Codes and the first convolution in one: the features are the stem's, and no code tensor need be built.

    Args:
        encoding: gives the table.
        stem: reads it.
    """

    def __init__(self, encoding: TableEncoding, stem: EncodedConv2d) -> None:
        self.encoding, self.stem = encoding, stem
        self.weights, self.owned = (stem.weight,), (encoding, stem)

    def of_levels(self, levels: Tensor, table: Tensor) -> Tensor:
        """See :class:`Reader`; ``(B, out_channels, H', W')``."""
        return self.stem(levels, table)

    def of_codes(self, codes: Tensor) -> Tensor:
        """See :class:`Reader`."""
        return self.stem.convolve(codes)

    def level_gradient(self, gradient: Tensor, levels: Tensor, slopes: Tensor) -> Tensor:
        """See :class:`Reader`."""
        (weight,) = self.weights
        return level_gradient(gradient, levels, slopes, weight, self.stem.stride, self.stem.padding)

    def deployed(self, form: DeployedForm) -> nn.Module:
        """See :class:`Reader`."""
        table = self.encoding.table().detach().clone()
        return {"lookup": LookUpStem, "folded": FoldedStem}[form](self.stem, table)


class CodeReader(Reader):
    """Codes alone: the features are the codes ``(B, 3M, H, W)`` themselves, for a body that works on them.

    Args:
        encoding: gives the table.
    """

    def __init__(self, encoding: TableEncoding) -> None:
        self.encoding, self.owned = encoding, (encoding,)

    def of_levels(self, levels: Tensor, table: Tensor) -> Tensor:
        """See :class:`Reader`; channels-last."""
        return encode(levels, table)

    def of_codes(self, codes: Tensor) -> Tensor:
        """The codes as they are."""
        return codes

    def level_gradient(self, gradient: Tensor, levels: Tensor, slopes: Tensor) -> Tensor:
        """See :class:`Reader`."""
        return code_gradient(gradient, levels, slopes)

    def deployed(self, form: DeployedForm) -> nn.Module:
        """The look-up; nothing is there to be folded."""
        return LookUp(self.encoding.table().detach().clone())
