"""Configuration: schemas, composition, checks. Nothing here imports torch, so that bad input is answered at once."""

from p2be_exp.config.checks import check_config
from p2be_exp.config.compose import compose_config, parse_overrides, to_plain, training_config
from p2be_exp.config.fields import choice, number
from p2be_exp.config.folders import CONF_DIR

__all__ = [
    "CONF_DIR",
    "check_config",
    "choice",
    "compose_config",
    "number",
    "parse_overrides",
    "to_plain",
    "training_config",
    "typed",
]
