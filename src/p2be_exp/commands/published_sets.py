"""``python -m p2be_exp.corruptions fetch`` and ``verify``: the published CIFAR-10-C and CIFAR-100-C."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from p2be_exp.commands.job import check_writable
from p2be_exp.config import check_config, compose_config, to_plain
from p2be_exp.config.schema import CorruptionsConfig
from p2be_exp.config.typed import typed as typed_config
from p2be_exp.corruptions.official import OFFICIAL_FOLDERS
from p2be_exp.corruptions.published import ARCHIVES
from p2be_exp.errors import BadInput, Interrupted
from p2be_exp.system.command_line import typed
from p2be_exp.system.output import print_result
from p2be_exp.system.paths import user_path
from p2be_exp.system.signals import raising
from p2be_exp.system.suggestions import did_you_mean


def fetch(arguments: list[str]) -> None:
    """Download a published set, or verify it if it exists (see :func:`p2be_exp.corruptions.fetch.fetch_set`).

    Args:
        arguments: the data set, and optionally ``data_dir=DIR``.

    Raises:
        BadInput: other arguments; a folder that cannot be written, or holds other files.
        ResourceError: the download failed or is not the published file; a full disk.
    """
    expected = f"{' or '.join(ARCHIVES)}, and data_dir=DIR"
    overrides = [each for each in arguments if each.startswith("data_dir=")]
    names = [each for each in arguments if each not in overrides]
    if not names:
        raise BadInput(f"fetch: a data set is required; fetch takes {expected}")
    if names[0] not in ARCHIVES:
        raise BadInput(f"{names[0]}: fetch takes {expected}{did_you_mean(names[0].removeprefix('dataset='), ARCHIVES)}")
    if len(names) > 1:
        raise BadInput(f"{names[1]}: fetch takes one data set, {expected}")
    config = typed_config(to_plain(compose_config("corruptions", overrides)), CorruptionsConfig)
    check_config("corruptions", config)
    data_dir = user_path("data_dir", config.data_dir)
    if not os.path.lexists(data_dir / OFFICIAL_FOLDERS[names[0]]):
        check_writable(data_dir, "data_dir")
    from p2be_exp.corruptions.fetch import fetch_set

    try:
        with raising():
            fetch_set(names[0], data_dir)
    except (Interrupted, KeyboardInterrupt):
        command = typed("python", "-m", "p2be_exp.corruptions", *sys.argv[1:])
        print(f"\nstopped; to continue: {command}", file=sys.stderr, flush=True)
        raise


def verify(arguments: list[str]) -> None:
    """Print which files of a folder are the published ones.

    Args:
        arguments: the folder.

    Raises:
        BadInput: other arguments, or no such folder.
        SystemExit: with 1 if not all of them are.
    """
    if len(arguments) != 1:
        raise BadInput(f"verify: takes exactly one folder, not {len(arguments)}")
    folder = user_path("verify", arguments[0])
    from p2be_exp.corruptions.verify import bytes_of, verify_set
    from p2be_exp.system.progress_lines import ByteProgress

    with raising(), ByteProgress(f"verifying {folder}", bytes_of(folder)) as progress:
        verdicts = verify_set(Path(folder), progress=progress.more)
    print_result(verdicts.table())
    if not verdicts.complete:
        raise SystemExit(1)
