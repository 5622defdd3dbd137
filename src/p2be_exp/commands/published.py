"""``python -m p2be_exp.published``: systems of the literature, and whether a file has the weights of one's part."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from p2be_exp.commands.exit_codes import exit_code_of
from p2be_exp.commands.help import keys_of, version
from p2be_exp.commands.refusals import with_rank_in_refusals
from p2be_exp.config import check_config, compose_config, to_plain
from p2be_exp.config.published_networks import PUBLISHED_NETWORKS
from p2be_exp.config.quoting import read_arguments
from p2be_exp.config.schema import PublishedConfig
from p2be_exp.config.typed import typed
from p2be_exp.errors import BadInput
from p2be_exp.published.systems import roles_of
from p2be_exp.published.table import published_table
from p2be_exp.system.output import print_result
from p2be_exp.system.paths import user_path
from p2be_exp.system.suggestions import did_you_mean
from p2be_exp.system.torchrun import check_one_process

if TYPE_CHECKING:
    from p2be_exp.models.published.image_network import ImageNetwork

_HELP = """\
Networks of the literature whose weights can be downloaded, and the systems that they are parts of.

  python -m p2be_exp.published list
  python -m p2be_exp.published check network=bit_resnet152x2 weights=cifar10_std_rn152.pt

list      prints networks, systems, files, constants and published accuracies
check     reads a file and says whether it has the names and shapes of a network, and what it can be

Keys of check, set with KEY=VALUE:
{keys}

Nothing is downloaded, and nothing in a file is executed. Weights of ImageNet's entries are left out.

Exit codes: 0 done, 1 failed, 2 bad input, another file among it."""


def main() -> int:
    """Run the command with ``sys.argv``; return its exit code."""
    return exit_code_of(with_rank_in_refusals(_command))


def _command() -> None:
    if "--version" in sys.argv[1:]:
        print(version())
        return
    arguments = read_arguments(sys.argv[1:])
    if not arguments or {"-h", "--help"} & set(arguments):
        print(_HELP.format(keys=keys_of("published")))
        return
    command, *rest = arguments
    if command not in (known := ("list", "check")):
        raise BadInput(f"{command}: not a command; available: {', '.join(known)}{did_you_mean(command, known)}")
    if flags := [argument for argument in rest if argument.startswith("-")]:
        raise BadInput(f"{flags[0]}: not a flag; the command takes KEY=VALUE (see --help)")
    check_one_process(f"p2be_exp.published {command}")
    if command == "check":
        print_result(_checked(rest))
    elif rest:
        raise BadInput(f"{rest[0]}: list takes no arguments")
    else:
        print_result(published_table())


def _checked(arguments: list[str]) -> str:
    config = typed(to_plain(compose_config("published", arguments)), PublishedConfig)
    check_config("published", config)
    if config.network is None:
        raise BadInput(f"network: required; one of {', '.join(PUBLISHED_NETWORKS)}")
    if config.weights is None:
        raise BadInput("weights: required; the file, as published")
    if not user_path("weights", config.weights).is_file():  # before PyTorch is imported, which takes seconds
        raise BadInput(f"weights={config.weights}: no such file")
    from p2be_exp.models.published.weights import load_published

    return _described(config.network, load_published(config.network, config.weights, key="weights"), config.weights)


def _described(name: str, network: ImageNetwork, file: str) -> str:
    from p2be_exp.models.published.networks import RECIPES

    classes = len(network.get_parameter(RECIPES[name].head))
    parameters = sum(each.numel() for each in network.parameters())
    roles = roles_of(name, classes) or ["no part of a published system"]
    return "\n".join(
        [
            f"{file}: names and shapes are those of {name}",
            f"  {PUBLISHED_NETWORKS[name].what}",
            f"  {classes} classes (CIFAR-{classes}), {parameters:,} parameters, {_normalisation(network)}",
            *(f"  {role}" for role in roles),
            "Whether the values are the published ones, an evaluation shows.",
        ]
    )


def _normalisation(network: ImageNetwork) -> str:
    if network.mean is None or network.std is None:
        return "images are not normalised"
    mean, std = (" ".join(f"{value:.4g}" for value in each.flatten().tolist()) for each in (network.mean, network.std))
    return f"images normalised by mean {mean} and deviation {std}"
