"""Several optimizers that step as one, so that a trainer in automatic mode holds two without knowing it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, MutableMapping
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer


class CombinedOptimizer(Optimizer):
    """Named optimizers over disjoint parameters, stepped in their order.

    ``param_groups`` and ``state`` are live views over the members: a schedule that sets ``group["lr"]`` sets the
    member's. Every group carries its member's name under ``"name"``. The weights are bit-identical to stepping the
    members by hand.

    Args:
        members: optimizers by name.
        parameters: all parameters that ought to be trained; checked against the members.

    Raises:
        ValueError: no member, a parameter in two members, or one of ``parameters`` in none.
    """

    def __init__(self, members: Mapping[str, Optimizer], parameters: Iterable[Tensor] | None = None) -> None:
        if not members:
            raise ValueError("a combined optimizer has at least one member")
        self.members = dict(members)
        _check_cover(self.members, parameters)
        self._name_groups()
        # Sets up the hooks and counters that schedulers and trainers look for; our views ignore its own lists.
        super().__init__([p for group in self.param_groups for p in group["params"]], {})

    @property
    def param_groups(self) -> list[dict[str, Any]]:
        """The members' groups, one after another; the dictionaries are theirs."""
        return [group for member in self.members.values() for group in member.param_groups]

    @param_groups.setter
    def param_groups(self, value: list[dict[str, Any]]) -> None:
        """Ignored: the base class assigns an empty list while it is built."""

    @property
    def state(self) -> MutableMapping[Tensor, Any]:
        """The members' states, by parameter."""
        return _JointState(self.members)

    @state.setter
    def state(self, value: Mapping[Tensor, Any]) -> None:
        """Ignored: the base class assigns an empty dictionary while it is built."""

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Only the base class's own call while it is built is let through; groups belong to a member.

        Raises:
            TypeError: called after that.
        """
        if self.__dict__.get("_built"):
            raise TypeError("add the group to one of the members")
        self._built = True

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Evaluate ``closure`` once with gradients on, then step every member; returns what the closure returned."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for member in self.members.values():
            member.step()
        return loss

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget the gradients of every member's parameters."""
        for member in self.members.values():
            member.zero_grad(set_to_none)

    def state_dict(self) -> dict[str, Any]:
        """``{"members": {name: its state_dict}}``."""
        return {"members": {name: member.state_dict() for name, member in self.members.items()}}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Load what :meth:`state_dict` gave, also on another kind of device: kernels are chosen as for this one.

        Raises:
            ValueError: the members' names differ.
        """
        states = state_dict["members"]
        if list(states) != list(self.members):
            raise ValueError(f"the saved optimizers are {list(states)}, these are {list(self.members)}")
        for name, member in self.members.items():
            member.load_state_dict(_with_kernels_of(member, states[name]))
            _lay_out_as_parameters(member)
        self._name_groups()

    def _name_groups(self) -> None:
        for name, member in self.members.items():
            for group in member.param_groups:
                group["name"] = name


class _JointState(MutableMapping):
    """The members' ``state`` as one mapping; a write goes to the member that holds the parameter."""

    def __init__(self, members: Mapping[str, Optimizer]) -> None:
        self._states = [member.state for member in members.values()]
        self._owner = {
            id(parameter): member.state
            for member in members.values()
            for group in member.param_groups
            for parameter in group["params"]
        }

    def __getitem__(self, parameter: Tensor) -> Any:
        return self._owner[id(parameter)][parameter]

    def __setitem__(self, parameter: Tensor, value: Any) -> None:
        self._owner[id(parameter)][parameter] = value

    def __delitem__(self, parameter: Tensor) -> None:
        del self._owner[id(parameter)][parameter]

    def __contains__(self, parameter: object) -> bool:
        return any(parameter in state for state in self._states)

    def __iter__(self) -> Iterator[Tensor]:
        for state in self._states:
            yield from list(state)

    def __len__(self) -> int:
        return sum(len(state) for state in self._states)


def _with_kernels_of(member: Optimizer, state: dict[str, Any]) -> dict[str, Any]:
    """A saved state whose groups step by the kernels that a member's groups have."""
    saved = state["param_groups"]
    if len(saved) != len(member.param_groups):
        return state  # which the member refuses
    groups = [
        theirs | {key: ours[key] for key in ("foreach", "fused") if key in ours}
        for theirs, ours in zip(saved, member.param_groups, strict=True)
    ]
    return {**state, "param_groups": groups}


def _lay_out_as_parameters(member: Optimizer) -> None:
    """Give loaded states the strides of their parameters, which fused kernels ask for."""
    for group in member.param_groups:
        for parameter in group["params"] if group.get("fused") else ():
            state = member.state.get(parameter, {})
            for key, value in state.items():
                if isinstance(value, Tensor) and value.shape == parameter.shape:
                    state[key] = torch.empty_like(parameter).copy_(value)


def _check_cover(members: Mapping[str, Optimizer], parameters: Iterable[Tensor] | None) -> None:
    owner: dict[int, str] = {}
    for name, member in members.items():
        for group in member.param_groups:
            for parameter in group["params"]:
                if id(parameter) in owner:
                    raise ValueError(
                        f"a parameter of shape {tuple(parameter.shape)} is in {owner[id(parameter)]} and in {name}"
                    )
                owner[id(parameter)] = name
    missing = [tuple(p.shape) for p in parameters or () if id(p) not in owner]
    if missing:
        raise ValueError(f"parameters in no optimizer, by shape: {missing}")
