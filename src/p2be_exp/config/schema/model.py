"""Keys of ``model=``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from omegaconf import MISSING

from p2be_exp.config.fields import choice, number, path
from p2be_exp.config.published_networks import PUBLISHED_NETWORKS
from p2be_exp.config.schema.encoding import EncodingConfig


@dataclass
class ModelConfig:
    """What every kind of model has."""

    name: str = MISSING

    @property
    def roles(self) -> tuple[str, ...]:
        """The keys that name the runs which it is made of; encoding and backbone are then theirs."""
        return ()

    @property
    def label(self) -> str:
        """What it is called in a run's name, with the setting that grids vary."""
        return self.name

    @property
    def gated(self) -> bool:
        """Whether it has a gate, which an attack with ``loss=mix`` climbs as well."""
        return False

    @property
    def hides_logits(self) -> bool:
        """Whether its outputs are behind a function with hardly a gradient: a suite then climbs them as well."""
        return False

    @property
    def needs_stages(self) -> bool:
        """Whether its parts need a backbone with stages."""
        return False

    @property
    def calibrated_on(self) -> str | None:
        """The images that its constants were found on, ``val`` or ``train``; None without such constants."""
        return None

    @property
    def fills_in(self) -> tuple[str, ...]:
        """The keys that a job fills in at its start."""
        return ("parts",) if self.roles else ()

    @property
    def parts(self) -> Any:
        """By role, the groups of the runs that it is made of, as :mod:`p2be_exp.config.parts` fills them in."""
        return None

    @property
    def brings(self) -> str | None:
        """Whose encoding and backbone it has, where no command line chooses them; None where one does."""
        return None

    def network_name(self, backbone: str) -> str:
        """What its network is called: the backbone, unless it has another.

        Args:
            backbone: name of the option that the configuration chooses.
        """
        return backbone

    def part_encodings(self) -> dict[str, tuple[str, ...]]:
        """Names of the encodings of each of its parts, by role, in the order of its readers; empty without parts."""
        return {}

    def encoding_names(self, encoding: EncodingConfig) -> tuple[str, ...]:
        """Names of the encodings that its readers look levels up in, from the option that the configuration chooses."""
        return (encoding.name,)


@dataclass
class PlainModelConfig(ModelConfig):
    name: str = "plain"


@dataclass
class FPDModelConfig(ModelConfig):
    """A backbone between a pyramid that restores images and a tanh; each part can be switched off."""

    name: str = "fpd"
    width: int = number(1, 4096)
    dropout: float = number(0, below=1)
    tanh: bool = MISSING
    denoise: bool = MISSING
    image_denoise: bool = MISSING
    restoration: bool = MISSING
    statistics: str = choice("shared", "by_pass")

    @property
    def label(self) -> str:
        """With the parts that are switched off, and with statistics that are not shared."""
        off = [key for key in ("tanh", "denoise", "image_denoise", "restoration") if not getattr(self, key)]
        return "-no-".join([self.name, *off]) + ("" if self.statistics == "shared" else f"-{self.statistics}")

    @property
    def hides_logits(self) -> bool:
        """Behind its tanh."""
        return self.tanh


@dataclass
class MixtureConfig(ModelConfig):
    """Base of the models that are made of an accurate run and a robust one."""

    accurate: str | None = path()
    robust: str | None = path()
    accurate_scale: float = number(above=0)
    parts: Any = MISSING  # null at first

    @property
    def roles(self) -> tuple[str, ...]:
        """Its two parts."""
        return ("accurate", "robust")

    @property
    def brings(self) -> str | None:
        """Its parts'."""
        return "whose encodings and backbones are those of its parts"

    def network_name(self, backbone: str) -> str:
        """The robust part's, once it is known."""
        return backbone if self.parts is None else self.parts["robust"]["model"].get("network") or backbone

    def encoding_names(self, encoding: EncodingConfig) -> tuple[str, ...]:
        """The robust part's, then the accurate part's, once they are known."""
        return sum(self.part_encodings().values(), ()) or (encoding.name,)

    def part_encodings(self) -> dict[str, tuple[str, ...]]:
        """See :class:`ModelConfig`."""
        if self.parts is None:
            return {}
        return {role: (self.parts[role]["encoding"]["name"],) for role in ("robust", "accurate")}


@dataclass
class MixModelConfig(MixtureConfig):
    name: str = "mix"
    robust_scale: float = number(above=0)
    alpha: float = number(0, 1)

    @property
    def label(self) -> str:
        """See :class:`ModelConfig`."""
        return f"mix-alpha{self.alpha:g}"


@dataclass
class AdaptiveMixModelConfig(MixtureConfig):
    name: str = "adaptive_mix"
    robust_scale: float = number(above=0)
    widths: list[int] = number(1, 4096)
    alpha_low: float = number(0, 1)
    alpha_high: float = number(0, 1)
    gate_std: float = number(above=0)
    gate_mean: float = number(-100, 100)

    @property
    def gated(self) -> bool:
        """See :class:`ModelConfig`."""
        return True

    @property
    def needs_stages(self) -> bool:
        """The gate reads what is between them."""
        return True


@dataclass
class NutsMixModelConfig(MixtureConfig):
    name: str = "nuts_mix"
    scale: float | None = number(above=0)
    shift: float | None = number(-100, 100)
    power: float | None = number(1)
    alpha: float | None = number(0, 1)
    surrogate_alpha: float | None = number(0, 1)
    calibration_images: int = number(10)
    calibration_levels: int = number(1, 255)
    calibration_steps: int = number(1)
    calibrate_on: str = choice("val", "train")
    calibration: Any = MISSING  # null at first

    @property
    def calibrated_on(self) -> str | None:
        """See :class:`ModelConfig`."""
        return self.calibrate_on if self.scale is None else None

    @property
    def constants(self) -> dict[str, float | None]:
        """Those that the search finds, as they are given."""
        return {key: getattr(self, key) for key in NUTS_CONSTANTS}

    @property
    def fills_in(self) -> tuple[str, ...]:
        """See :class:`ModelConfig`."""
        return ("parts", "calibration")


NUTS_CONSTANTS = ("scale", "shift", "power", "alpha", "surrogate_alpha")
"""What MixedNUTS finds by its search."""


@dataclass
class PublishedModelConfig(ModelConfig):
    """A network of the literature; it reads RGB."""

    name: str = "published"
    network: str | None = choice(*PUBLISHED_NETWORKS, None)
    weights: str | None = path()

    @property
    def brings(self) -> str | None:
        """Its own."""
        return "which reads RGB with the network of model.network"

    def network_name(self, backbone: str) -> str:
        """The published network's."""
        return self.network or backbone

    def encoding_names(self, encoding: EncodingConfig) -> tuple[str, ...]:
        """RGB alone."""
        return ("rgb",)
