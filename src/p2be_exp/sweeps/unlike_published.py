"""What keeps the results of a sweep from standing beside published ones, told before anything is trained."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from p2be_exp.config.schema import SomeCorruptionConfig, TrainConfig
from p2be_exp.corruptions.names import select_names
from p2be_exp.corruptions.official import OFFICIAL_FOLDERS, resolved, why_generated
from p2be_exp.corruptions.textures import find_textures
from p2be_exp.system.command_line import as_override
from p2be_exp.system.paths import user_path
from p2be_exp.system.program import name_of

ZENODO = {"imagenet": "https://zenodo.org/records/2235448"}
"""Where the published corrupted images are that no command of ours fetches."""


def unlike_published(configs: Iterable[TrainConfig]) -> list[str]:
    """Lines about corrupted images that will not be the published ones, and how to get these; none where all are.

    Args:
        configs: of the jobs; looked at is what is on this machine.
    """
    found: dict[str, None] = {}  # in their order, each once
    for config in configs:
        corruption, dataset = config.corruption, config.dataset.name
        if not isinstance(corruption, SomeCorruptionConfig) or dataset not in OFFICIAL_FOLDERS:
            continue
        folder = user_path("data_dir", config.data_dir)
        if (why := why_generated(corruption, dataset, folder)) is not None:
            found[f"the corrupted images are made here, since there is {why}; {_source(dataset, folder)}"] = None
        made_here = resolved(corruption, dataset, folder).name == "generated"
        if made_here and "frost" in select_names(corruption.names) and _no_textures(corruption.frost_dir):
            found[
                "frost is left out of every mean, since its textures are not here: "
                "pip install --no-deps imagecorruptions, or corruption.frost_dir=FOLDER"
            ] = None
    return list(found)


def _source(dataset: str, folder: Path) -> str:
    official = folder / OFFICIAL_FOLDERS[dataset]
    if dataset in ZENODO:
        return f"the published ones are at {ZENODO[dataset]}, to be unpacked as {official}"
    return f"for the published ones: {name_of('corruptions')} fetch {dataset} {as_override('data_dir', folder)}"


def _no_textures(frost_dir: str | None) -> bool:
    return find_textures(user_path("corruption.frost_dir", frost_dir) if frost_dir else None) is None
