"""Checks of the sanity panel that ask the model: what an attack has to find, and what has to stay as it is."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from p2be_exp.attacks.attack import Attack, Search, attacked, predict
from p2be_exp.attacks.ball import bounds
from p2be_exp.attacks.random import AttackRandom
from p2be_exp.encodings import TableEncoding
from p2be_exp.evaluation.sanity.checks import Check, Verdict
from p2be_exp.evaluation.sanity.planted import PLANTED_LOGIT, planted_network


def forwards_agree(model: nn.Module, images: Tensor, times: int = 5) -> Check:
    """The same images give the same logits every time, to the bit: else queries and comparisons mean little."""
    name = "forwards agree exactly"
    with attacked(model), torch.no_grad():
        first = model(images)
        others = [model(images) for _ in range(times - 1)]
    classes = sum(int((logits.argmax(1) != first.argmax(1)).sum()) for logits in others)
    if all(torch.equal(logits, first) for logits in others):
        return Check(name, "ok", f"{times} forwards of {len(images)} images give the same logits.")
    largest = max(float((logits - first).abs().max()) for logits in others)
    verdict: Verdict = "failed" if classes or math.isnan(largest) else "suspicious"
    detail = f"{times} forwards of {len(images)} images differ by up to {largest:.2g} and change {classes} predictions."
    return Check(name, verdict, detail)


def zero_radius_is_clean(
    attack: Attack, model: nn.Module, images: Tensor, labels: Tensor, random: AttackRandom
) -> Check:
    """With a radius of 0 levels an attack finds the clean error exactly and returns the images.

    Raises:
        ValueError: the attack has another radius.
    """
    name = "radius 0 gives the clean error"
    if attack.eps_levels != 0:
        raise ValueError(f"{attack.id} has a radius of {attack.eps_levels} levels")
    with attacked(model):
        clean = predict(model, images) != labels
    found = attack(model, images, labels, random)
    differ, moved = int((found.broken != clean).sum()), int((found.images != images).flatten(1).any(1).sum())
    if differ or moved:
        detail = f"{attack.id} judges {differ} of {len(images)} images otherwise and changes {moved}."
        return Check(name, "failed", detail)
    return Check(name, "ok", f"{attack.id} leaves {int(clean.sum())} of {len(images)} images wrong, as they are.")


def planted_image_is_found(model: nn.Module, images: Tensor, labels: Tensor, eps_levels: int) -> Check:
    """An adversarial image that is known to be there is counted, and no other.

    One image inside the ball of the first image that the model gets right is given another class. An attack that
    proposes it in its second restart, and the images as they are otherwise, has to break that image and no further one.

    Args:
        eps_levels: 1 or more.
    """
    name = "a planted adversarial image is found"
    with attacked(model):
        wrong = predict(model, images) != labels
    if wrong.all():
        return Check(name, "not measured", "The model gets no image right.")
    place = int((~wrong).nonzero()[0])
    low, high = bounds(images[place], eps_levels)
    hidden = torch.where(images[place] == high, low, high)
    places = torch.arange(len(images), device=images.device)
    attack = _Proposal(eps_levels, place, hidden)
    found = attack(_Backdoor(model, hidden, labels[place]), images, labels, AttackRandom(0, places))
    differ = int((found.broken != (wrong | (places == place))).sum())
    if differ or not torch.equal(found.images[place], hidden):
        return Check(name, "failed", f"It is image {place}; {differ} of {len(images)} images are judged falsely.")
    return Check(name, "ok", f"It is image {place}, proposed in the second restart; no other was counted with it.")


class _Backdoor(nn.Module):
    """The model, except that the label is the last thing it says of one image."""

    def __init__(self, model: nn.Module, hidden: Tensor, label: Tensor) -> None:
        super().__init__()
        self.model, self.hidden, self.label = model, hidden, label

    def forward(self, images: Tensor) -> Tensor:
        logits = self.model(images).clone()
        hit = (images == self.hidden).flatten(1).all(1)
        logits[hit, self.label] = logits[hit].amin(1) - 1
        return logits


class _Proposal(Attack):
    """Proposes one image for one place in its second restart, and nothing new otherwise."""

    id = "planted"

    def __init__(self, eps_levels: int, place: int, hidden: Tensor) -> None:
        super().__init__(eps_levels, restarts=3)
        self.place, self.hidden = place, hidden

    def search(
        self, model: nn.Module, images: Tensor, labels: Tensor, random: AttackRandom, restart: int = 0
    ) -> Search:
        """See :meth:`Attack.search`."""
        mine = (random.images == self.place) & (restart == 1)
        return Search(torch.where(mine[:, None, None, None], self.hidden, images))


def planted_direction_is_found(attack: Attack, encoding: TableEncoding, image: Tensor, random: AttackRandom) -> Check:
    """An attack breaks a network that falls as soon as the image is moved halfway in one known direction.

    The network reads the mean level from the codes, by least squares on the table, and is right while it is below a
    threshold. The threshold lies halfway between the image and the best of the ball's corners, so every gradient points
    the way, and half of it is enough.

    Args:
        attack: as it was made for the evaluation, with the radius to test.
        encoding: the model's.
        image: uint8 ``(3, H, W)``.
        random: of that one image.
    """
    name = "a planted direction is found"
    planted = planted_network(encoding, image, attack.eps_levels)
    if planted is None:
        return Check(name, "not measured", f"No code changes within {attack.eps_levels} levels.")
    label = torch.zeros(1, dtype=torch.long, device=image.device)
    with torch.autocast(image.device.type, enabled=False):
        found = attack(planted, image[None], label, random)
    verdict: Verdict = "ok" if found.broken.all() else "failed"
    with torch.autocast(image.device.type, enabled=False), torch.no_grad():
        way = float(planted(found.images)[0, 1]) / (2 * PLANTED_LOGIT) + 0.5
    detail = f"{attack.id} at {attack.eps_levels} levels goes {round(100 * way)} % of the way; 50 % is enough."
    return Check(name, verdict, detail)


def planted_directions_are_found(
    attacks: Sequence[Attack], encoding: TableEncoding, image: Tensor, random: AttackRandom
) -> list[Check]:
    """:func:`planted_direction_is_found` of each attack of an evaluation, of one radius.

    One that does not find it is suspicious where another does: a surrogate may be a poor one for a table (``smooth``
    for one without order), and the evaluation does not hang on it.
    """
    checks = [planted_direction_is_found(attack, encoding, image, random) for attack in attacks]
    if all(check.verdict != "ok" for check in checks):
        return checks
    return [
        replace(check, verdict="suspicious", detail=f"{check.detail} Others find it.")
        if check.verdict == "failed"
        else check
        for check in checks
    ]
