"""The decorators with which a plug-in registers its classes as options, as if they were part of this package."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any, TypeVar

from p2be_exp.config.plugin_digests import keep_digest
from p2be_exp.config.plugin_files import is_part
from p2be_exp.config.plugins import loading
from p2be_exp.registry import register

Made = TypeVar("Made", bound=Callable[..., Any])


def register_encoding(name: str, schema: type) -> Callable[[Made], Made]:
    """Register a class as ``encoding=NAME``.

    The class gets the keys of its schema as arguments, apart from ``name`` and ``lambda_smooth`` (the weight of its
    ``smoothness()``, which a learned table needs).

    Args:
        name: lower-case letters, digits and underscores; it is set on the class.
        schema: a dataclass with a field ``name`` and one field per key (:func:`p2be_exp.config.number`, ``choice``).

    Returns:
        The decorator of a :class:`~p2be_exp.encodings.TableEncoding`.

    Raises:
        BadInput: the name is taken or not allowed, the schema is not a dataclass, or the class has the wrong base.
    """
    return _register("encoding", name, schema)


def register_backbone(name: str, schema: type) -> Callable[[Made], Made]:
    """Register a class or function as ``backbone=NAME``; it gets ``num_classes`` and the keys of its schema.

    Args, raises: see :func:`register_encoding`.

    Returns:
        The decorator of a :class:`~p2be_exp.backbones.Backbone`.
    """
    return _register("backbone", name, schema)


def register_model(name: str, schema: type) -> Callable[[Made], Made]:
    """Make a class known as ``model=NAME``; it gets ``encoding`` and ``backbone``, both built, and its schema's keys.

    A class that is made of something else overrides ``from_config``. Where its readers look levels up in other
    encodings than the configuration's, its schema, then a subclass of
    :class:`p2be_exp.config.schema.ModelConfig`, says so with ``encoding_names``.

    Args, raises: see :func:`register_encoding`.

    Returns:
        The decorator of a :class:`~p2be_exp.models.classifier.Classifier`.
    """
    return _register("model", name, schema)


def register_regime(name: str, schema: type) -> Callable[[Made], Made]:
    """Register a class as ``regime=NAME``; it gets ``seed``, ``augment`` and the keys of its schema.

    A key ``attack`` is an inner attack, which is passed as a built object.

    Args, raises: see :func:`register_encoding`.

    Returns:
        The decorator of a :class:`~p2be_exp.regimes.Regime`.
    """
    return _register("regime", name, schema)


def register_attack(name: str, schema: type, for_training: bool = True) -> Callable[[Made], Made]:
    """Register a class as ``attack=NAME``; it gets one radius as ``eps_levels`` and the keys of its schema.

    Args:
        name: see :func:`register_encoding`. The attack's ``id`` starts with it, and defaults to it.
        schema: a subclass of :class:`p2be_exp.config.schema.AttackConfig`.
        for_training: whether a regime may train against it.

    Returns:
        The decorator of an :class:`~p2be_exp.attacks.Attack`.

    Raises:
        BadInput: see :func:`register_encoding`.
    """
    return _register("attack", name, schema, for_training)


def _register(group: str, name: str, schema: type, trains: bool = False) -> Callable[[Made], Made]:
    def decorate(made: Made) -> Made:
        owner = _owner_of(made, schema)
        register(group, name, schema, made, owner, trains)
        keep_digest(owner)
        if isinstance(made, type):
            made.name = name  # type: ignore[attr-defined]
            if group == "attack" and "id" not in vars(made):
                made.id = name  # type: ignore[attr-defined]
        return made

    return decorate


def _owner_of(made: Any, schema: type) -> str:
    """The module that registers a class: its own, or its schema's if the class comes from another package."""
    modules = [str(getattr(each, "__module__", "")) for each in (made, schema)]
    excluded = ("", "p2be_exp", *sys.stdlib_module_names)
    outside = [module for module in modules if module.partition(".")[0] not in excluded]
    now = loading()
    return next((module for module in outside if is_part(module, now)), [*outside, now][0])
