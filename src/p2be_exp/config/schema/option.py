"""The types of keys that hold an option of a group, or several of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, TypeVar

if TYPE_CHECKING:
    Base = TypeVar("Base")
    Group = Annotated[Base, "an option of a group"]
    Groups = Annotated[dict[str, Base], "options of a group, by name"]
else:

    class Group:
        """The type of a key that holds an option of a group: the group's base class for type checkers.

        For OmegaConf it is any node, so a plug-in's schema need not be derived from the base.
        """

        def __class_getitem__(cls, base: type) -> Any:
            return Any

    class Groups(Group):
        """The type of a key that holds several options of a group: a dictionary of them for type checkers."""
