"""The published mixtures of CIFAR-10 and CIFAR-100: parts, files and constants, as their authors published them.

Sources: RobustBench's ``model_info`` and the authors' repositories, github.com/Bai-YT/AdaptiveSmoothing (its
``run_robustbench.py`` and readme) and github.com/Bai-YT/MixedNUTS (its ``optimal_spca.yaml`` and readme). Nothing here
was measured by this package. ImageNet's entries are left out.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Accuracy:
    """Published accuracy on the test set in percent.

    Attributes:
        clean: on clean images.
        robust: under AutoAttack, Linf 8/255.
        external: under the strongest attack that RobustBench knows, where that is another one; else None.
    """

    clean: float
    robust: float
    external: float | None = None

    def __str__(self) -> str:
        external = "" if self.external is None else f" (external {self.external:.2f})"
        return f"{self.clean:.2f} / {self.robust:.2f}{external}"


@dataclass(frozen=True)
class Part:
    """A network of a system, and its file.

    Attributes:
        role: ``accurate`` or ``robust``, as a mixture has it.
        network: one of :data:`~p2be_exp.config.published_networks.PUBLISHED_NETWORKS`.
        file: its name where it is published.
        source: where that is.
        published: its accuracy alone; None where none was found.
    """

    role: str
    network: str
    file: str
    source: str
    published: Accuracy | None = None


@dataclass(frozen=True)
class System:
    """A published mixture.

    Attributes:
        paper: its authors' name for it, and RobustBench's.
        dataset: the data set, which decides the number of classes.
        model: the kind of model here, an option of ``model``.
        parts: the accurate and the robust one.
        constants: of the mixture as evaluated, by the model's keys (``model.KEY=VALUE``).
        published: its accuracy.
        gate: the file of the mixing network (a state dict in ``model``, its batch norm in ``bn``); "" for none.
    """

    paper: str
    dataset: str
    model: str
    parts: tuple[Part, Part]
    constants: Mapping[str, float]
    published: Accuracy
    gate: str = ""


CLASSES = {"cifar10": 10, "cifar100": 100}

_DM_IMPROVES_AT = "Hugging Face wzekai99/DM-Improves-AT, checkpoint/; RobustBench Wang2023Better_WRN-70-16"
_DEEPMIND = "deepmind-research, adversarial_robustness; RobustBench Gowal2020Uncovering_extra"


def _bit(dataset: str) -> Part:
    source = "readme of Bai-YT/MixedNUTS and of Bai-YT/AdaptiveSmoothing"
    return Part("accurate", "bit_resnet152x2", f"{dataset}_std_rn152.pt", source)


_EDM_10 = Part(
    "robust", "wrn70_16_silu", "cifar10_linf_wrn70-16.pt", _DM_IMPROVES_AT, Accuracy(clean=93.25, robust=70.69)
)
_EDM_100 = Part(
    "robust", "wrn70_16_silu", "cifar100_linf_wrn70-16.pt", _DM_IMPROVES_AT, Accuracy(clean=75.22, robust=42.66)
)
_TRADES_100 = Part(
    "robust", "wrn70_16_silu", "cifar100_linf_wrn70-16_with.pt", _DEEPMIND, Accuracy(clean=69.15, robust=36.88)
)
_PENG_10 = Part("robust", "ra_wrn70_16", "Peng2023Robust.pt", "RobustBench", Accuracy(clean=93.27, robust=71.07))

_GATED = "adaptive_mix"
_NUTS = "nuts_mix"

SYSTEMS = {
    "adaptive_smoothing_cifar10_edm": System(
        "Adaptive Smoothing (Bai et al. 2024), Bai2023Improving_edm",
        "cifar10",
        _GATED,
        (_bit("cifar10"), _EDM_10),
        {
            **{"accurate_scale": 1.2, "robust_scale": 0.3, "alpha_low": 0.96, "alpha_high": 1.0},
            **{"gate_std": 2.0, "gate_mean": 1.05},
        },
        Accuracy(clean=95.23, robust=68.06),
        gate="cifar10_edm_best.pt",
    ),
    "adaptive_smoothing_cifar100_edm": System(
        "Adaptive Smoothing (Bai et al. 2024), Bai2023Improving_edm",
        "cifar100",
        _GATED,
        (_bit("cifar100"), _EDM_100),
        {
            **{"accurate_scale": 2.0, "robust_scale": 1.0, "alpha_low": 0.84, "alpha_high": 0.99},
            **{"gate_std": 2.0, "gate_mean": 1.3},
        },
        Accuracy(clean=85.21, robust=38.72),
        gate="cifar100_edm_best.pt",
    ),
    "adaptive_smoothing_cifar100_trades": System(
        "Adaptive Smoothing (Bai et al. 2024), Bai2023Improving_trades",
        "cifar100",
        _GATED,
        (_bit("cifar100"), _TRADES_100),
        {
            **{"accurate_scale": 2.0, "robust_scale": 1.0, "alpha_low": 0.815, "alpha_high": 0.915},
            **{"gate_std": 2.0, "gate_mean": 1.0},
        },
        Accuracy(clean=80.18, robust=35.15),
        gate="cifar100_trades_best.pt",
    ),
    "mixednuts_cifar10": System(
        "MixedNUTS (Bai et al. 2024), Bai2024MixedNUTS",
        "cifar10",
        _NUTS,
        (_bit("cifar10"), _PENG_10),
        {
            **{"scale": 5.0, "shift": -1.1, "power": 4.0, "alpha": 0.9987500602493457},
            **{"surrogate_alpha": 0.9570535356459247, "accurate_scale": 1e6},
        },
        Accuracy(clean=95.19, robust=70.08, external=69.71),
    ),
    "mixednuts_cifar100": System(
        "MixedNUTS (Bai et al. 2024), Bai2024MixedNUTS",
        "cifar100",
        _NUTS,
        (_bit("cifar100"), _EDM_100),
        {
            **{"scale": 0.6115753843212784, "shift": -15 / 7, "power": 25 / 7, "alpha": 0.9860300534207915},
            **{"surrogate_alpha": 0.9706995384302841, "accurate_scale": 1e6},
        },
        Accuracy(clean=83.08, robust=41.91, external=41.80),
    ),
}
"""By name: the method, the data set, and which robust part where there are several."""

ALONE = {
    "trades_cifar10": Part(
        "robust",
        "wrn34_10",
        "model_cifar_wrn.pt",
        "readme of yaodongyu/TRADES; RobustBench Zhang2019Theoretically",
        Accuracy(clean=84.92, robust=53.08),
    )
}
"""Parts that no published system here has, by a name: of them and others a user makes a mixture."""


def roles_of(network: str, classes: int) -> list[str]:
    """What a network with a number of classes is in the systems, ``ROLE part of SYSTEM``, in their order."""
    return [
        f"{part.role} part of {name}"
        for name, system in SYSTEMS.items()
        for part in system.parts
        if part.network == network and CLASSES[system.dataset] == classes
    ]
