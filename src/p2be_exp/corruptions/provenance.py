"""Where corrupted images are from, in words: what is called published has been verified to be."""

from __future__ import annotations

from collections.abc import Collection

SOURCES = {"cifar_c": "official", "imagenet_c": "given", "own": "own", "generated": "generated"}
"""The source (see :class:`~p2be_exp.evaluation.measures.Plan`) that each option of the group ``corruption`` is."""


def provenance(source: str, names: Collection[str], identical: Collection[str], dataset: str = "") -> str:
    """Where the corrupted images of an evaluation are from.

    Args:
        source: see :class:`~p2be_exp.evaluation.measures.Plan`; older results call ImageNet-C ``official`` as well.
        names: the corruptions that were measured.
        identical: those of them whose images are known to be the published ones; older results do not say.
        dataset: name of the data set, where it is known.

    >>> provenance("generated", ["fog", "contrast"], ["contrast"])
    '1 of 2 corruptions identical to the published files, 1 made here'
    """
    same = len([name for name in names if name in identical])
    if source == "own":
        return "own files"
    if source == "generated":
        if not same:
            return "made here, not the published files"
        made = f", {len(names) - same} made here" if same < len(names) else ", made here"
        return f"{same} of {len(names)} corruptions identical to the published files{made}"
    if source == "official" and same == len(names):
        return "the published files"
    published = "ImageNet-C" if source == "given" or dataset == "imagenet" else "the published files"
    return f"given as {published}, not verified"
