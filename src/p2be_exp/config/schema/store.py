"""The schemas in Hydra's store, where the YAML files of ``conf/`` name them."""

from __future__ import annotations

from hydra.core.config_store import ConfigStore

from p2be_exp.config.schema.commands import COMMAND_SCHEMAS
from p2be_exp.config.schema.groups import GROUP_SCHEMAS


def register_schemas() -> None:
    """Register the schemas with Hydra; it may be called repeatedly."""
    store = ConfigStore.instance()
    for name, schema in COMMAND_SCHEMAS.items():
        store.store(group="schema", name=name, node=schema)
    for group, options in GROUP_SCHEMAS.items():
        for name, schema in options.items():
            store.store(group=f"schema/{group}", name=name, node=schema)
