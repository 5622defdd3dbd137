"""Anybody's network as a classifier: what attacks, evaluations and the sanity panel need to know of it.

The network is a module with an input of its own choice: images in [0, 1], levels, or the codes of a table. Its readers
make that input from levels, and its body is the module.
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Callable
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn

from p2be_exp.encodings import RGB, TableEncoding
from p2be_exp.encodings.given import GivenTable
from p2be_exp.errors import BadInput
from p2be_exp.models.classifier import Classifier
from p2be_exp.models.deployed_readers import DeployedForm, LookUp
from p2be_exp.models.readers import CodeReader

Input = Literal["unit", "levels"]

_WHITE = 255


class LevelsReader(CodeReader):
    """Levels themselves as floats, 0.0 to 255.0, for a network that is made for them.

    k / 255 times 255 is not always k in float32, and a network may floor what it gets.
    """

    def of_levels(self, levels: Tensor, table: Tensor) -> Tensor:
        """``(B, 3, H, W)`` in the table's dtype, channels-last as codes are."""
        return levels.to(table.dtype).contiguous(memory_format=torch.channels_last)

    def of_codes(self, codes: Tensor) -> Tensor:
        """Codes of RGB, in [0, 1], times 255."""
        return codes * _WHITE

    def level_gradient(self, gradient: Tensor, levels: Tensor, slopes: Tensor) -> Tensor:
        """See :class:`~p2be_exp.models.readers.Reader`."""
        return super().level_gradient(gradient * _WHITE, levels, slopes)

    def deployed(self, form: DeployedForm) -> nn.Module:
        """The look-up of the levels."""
        return LookUp(self.encoding.table().detach() * _WHITE)


class ModuleClassifier(Classifier):
    """A classifier whose body is somebody's module.

    Args:
        module: images to logits ``(B, classes)``, by its own pre-processing. It gets floats ``(B, 3, H, W)``, or codes
            ``(B, 3M, H, W)`` where there is an encoding (channel ``c * M + m``), in the dtype of its parameters. In
            memory they are channels-last at first; see :attr:`contiguous`.
        encoding: the pre-processing that the module leaves out, as a table ``(256, M)`` or an encoding of this package;
            None for none. Gradient attacks then use this package's surrogate gradients.
        surrogate: images in [0, 1], ``(B, 3, H, W)``, to logits ``(B, classes)``, differentiable: what gradient attacks
            climb instead of the module, for a pre-processing that has no gradient. Whether an image is wrong is judged
            on the module. Not with an encoding, which has surrogate gradients already.
        input: what the module expects without an encoding: ``unit``, images in [0, 1]; ``levels``, 0.0 to 255.0.

    Attributes:
        contiguous: whether the module gets its input in the usual order of memory instead, for one that flattens it by
            ``view``. The values are the same.

    Raises:
        BadInput: something else than a module, a table or a callable; two that exclude each other; parameters on
            several devices.
    """

    def __init__(
        self,
        module: nn.Module,
        encoding: Any = None,
        surrogate: Callable[[Tensor], Tensor] | None = None,
        input: Input = "unit",
    ) -> None:
        super().__init__()
        _check(module, encoding, surrogate, input)
        self.module, self.input = module, input
        self.own_surrogate = surrogate
        self.encoding: TableEncoding = RGB() if encoding is None else _as_encoding(encoding)
        self.encoded = encoding is not None
        self.contiguous = False
        devices = sorted({str(each.device) for each in (*module.parameters(), *module.buffers())})
        if len(devices) > 1:
            raise BadInput(f"model: parameters on several devices ({', '.join(devices)}); move them to one")
        if devices:
            self.encoding.to(devices[0])

    @property
    def device(self) -> torch.device:
        """Where the module's tensors are; one without any is where the table is."""
        tensors = itertools.chain(self.module.parameters(), self.module.buffers(), [self.encoding.table()])
        return next(tensors).device

    @property
    def readers(self) -> tuple[CodeReader]:
        """Of the codes: without an encoding those of RGB, which are images in [0, 1]."""
        return (LevelsReader(self.encoding) if self.input == "levels" else CodeReader(self.encoding),)

    def body(self, *features: Tensor) -> Tensor:
        """The module's logits; with a surrogate of its own the gradient is the surrogate's."""
        (given,) = features
        if self.own_surrogate is None or not (torch.is_grad_enabled() and given.requires_grad):
            return self._asked(given)
        logits, climbed = self.answers(given)
        return logits + (climbed - climbed.detach()).to(logits.dtype)

    def answers(self, *features: Tensor) -> tuple[Tensor, Tensor]:
        """See :class:`~p2be_exp.models.classifier.Classifier`: the module's logits and, to climb, the surrogate's."""
        if self.own_surrogate is None:
            return super().answers(*features)
        (given,) = features
        with torch.no_grad():
            logits = self._asked(given)
        return logits, self.climbed(given)

    def climbed(self, *features: Tensor) -> Tensor:
        """The logits that a gradient attack climbs; the module is not asked where there is a surrogate."""
        if self.own_surrogate is None:
            return super().climbed(*features)
        (given,) = features
        images = given / _WHITE if self.input == "levels" else given
        return self.own_surrogate(images.contiguous() if self.contiguous else images)

    def about(self) -> dict[str, Any]:
        """What results depend on: what the module reads, whether it has a surrogate, and the digest of the weights."""
        encoding = {"name": self.encoding.name, "M": self.encoding.M} if self.encoded else None
        given = "codes" if self.encoded else self.input
        surrogate = self.own_surrogate is not None
        return {"input": given, "encoding": encoding, "surrogate": surrogate, "weights": digest(self)}

    def _asked(self, given: Tensor) -> Tensor:
        dtype = next((each.dtype for each in self.module.parameters() if each.is_floating_point()), given.dtype)
        return self.module((given.contiguous() if self.contiguous else given).to(dtype))


def digest(module: nn.Module) -> str:
    """SHA-256 of the names, shapes and values of a module's weights and buffers.

    >>> digest(nn.Identity())[:8]
    'e3b0c442'
    """
    found = hashlib.sha256()
    for name, value in sorted(module.state_dict().items()):
        if isinstance(value, Tensor):  # a module may keep other things
            found.update(f"{name} {value.dtype} {tuple(value.shape)}\n".encode())
            found.update(value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return found.hexdigest()


def _as_encoding(encoding: Any) -> TableEncoding:
    return encoding if isinstance(encoding, TableEncoding) else GivenTable(encoding)


def _check(module: Any, encoding: Any, surrogate: Any, given: Any) -> None:
    if not isinstance(module, nn.Module):
        raise BadInput(f"model: {type(module).__name__}, must be a torch.nn.Module")
    if given not in get_args(Input):
        raise BadInput(f"input={given}: must be one of {', '.join(get_args(Input))}")
    if encoding is not None and given != "unit":
        raise BadInput(f"input={given}: not with an encoding, whose codes are the input")
    if surrogate is not None and not callable(surrogate):
        raise BadInput(f"surrogate: {type(surrogate).__name__}, must be callable: images in [0, 1] to logits")
    if surrogate is not None and encoding is not None:
        raise BadInput(
            "surrogate: not with an encoding, which has surrogate gradients of its own; give only one of them"
        )
