"""Configuration: schemas, composition, checks. Nothing here imports torch, so that bad input is answered at once."""

from p2be_exp.config.checks import check_config
from p2be_exp.config.compose import CONF_DIR, compose_config, parse_overrides, to_plain

__all__ = ["CONF_DIR", "check_config", "compose_config", "parse_overrides", "to_plain"]
