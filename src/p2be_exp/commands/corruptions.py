"""``python -m p2be_exp.corruptions``: make a -C set, fetch or verify a published one, preview one image, list all."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from p2be_exp.commands.early_checks import check_data
from p2be_exp.commands.exit_codes import exit_code_of
from p2be_exp.commands.help import keys_of, version
from p2be_exp.commands.job import check_writable
from p2be_exp.commands.published_sets import fetch, verify
from p2be_exp.commands.refusals import with_rank_in_refusals
from p2be_exp.config import check_config, compose_config, to_plain
from p2be_exp.config.compose import options_of
from p2be_exp.config.quoting import read_arguments
from p2be_exp.config.schema import CorruptionsConfig
from p2be_exp.config.typed import typed as typed_config
from p2be_exp.corruptions.constants import FAMILIES
from p2be_exp.corruptions.names import ALL, SEVERITIES, category_of, select_names, select_severities
from p2be_exp.errors import BadInput, Interrupted
from p2be_exp.system.command_line import typed
from p2be_exp.system.output import print_result
from p2be_exp.system.paths import user_path
from p2be_exp.system.suggestions import did_you_mean
from p2be_exp.system.torchrun import check_one_process

if TYPE_CHECKING:
    from p2be_exp.corruptions.source import DatasetSource

_HELP = """\
Corrupted test images in the layout of CIFAR-10-C: made from any data set, or the published ones.

  python -m p2be_exp.corruptions make dataset=cifar100 out=data/cifar100-c-generated
  python -m p2be_exp.corruptions make folder=my_pictures size=224 out=my_pictures-c names=[fog,snow]
  python -m p2be_exp.corruptions fetch cifar10
  python -m p2be_exp.corruptions fetch cifar100 data_dir=/shared/data
  python -m p2be_exp.corruptions verify data/CIFAR-10-C
  python -m p2be_exp.corruptions preview dataset=digits out=preview.png
  python -m p2be_exp.corruptions list

make      writes NAME.npy (severity by severity), labels.npy and manifest.json; stopped, it continues where it was
fetch     downloads CIFAR-10-C or CIFAR-100-C into data_dir (2.9 GB, needs 5.9 GB free), checked; stopped, it continues
verify    checks by md5 which files of a folder are the published ones; exit code 1 unless all twenty are
preview   draws one image: one row per corruption, one column per severity
list      prints the corruptions with their constants

Options, chosen with GROUP=OPTION:
  dataset     {datasets}

Keys, set with KEY=VALUE:
{keys}

Frost overlays textures that are not part of this project: they come from the package imagecorruptions, if installed
(pip install --no-deps imagecorruptions), or from frost_dir; without them frost is left out, and the manifest says so.
For CIFAR-10 and CIFAR-100 the eight deterministic ones are bit-identical to the published files, and such files are
listed; the other eleven are random, made with the published constants, and are not the published files.

Exit codes: 0 done, 1 failed (verify: not as published), 2 bad input, 129, 130 and 143 stopped by SIGHUP, SIGINT and
SIGTERM (the same command continues)."""


def main() -> int:
    """Run the command with ``sys.argv``; return its exit code."""
    return exit_code_of(with_rank_in_refusals(_command))


def _command() -> None:
    if "--version" in sys.argv[1:]:
        print(version())
        return
    arguments = read_arguments(sys.argv[1:])
    if not arguments or {"-h", "--help"} & set(arguments):
        print(_HELP.format(datasets=" ".join(options_of("dataset")), keys=keys_of("corruptions")))
        return
    commands: dict[str, Callable[[CorruptionsConfig], None]] = {"make": _make, "preview": _preview, "list": _list}
    of_published: dict[str, Callable[[list[str]], None]] = {"fetch": fetch, "verify": verify}
    if arguments[0] not in (known := ("make", *of_published, "preview", "list")):
        raise BadInput(
            f"{arguments[0]}: not a command; available: {', '.join(known)}{did_you_mean(arguments[0], known)}"
        )
    if flags := [argument for argument in arguments[1:] if argument.startswith("-")]:
        raise BadInput(f"{flags[0]}: not a flag; the command takes KEY=VALUE (see --help)")
    check_one_process(f"p2be_exp.corruptions {arguments[0]}")
    if arguments[0] in of_published:
        of_published[arguments[0]](arguments[1:])
        return
    config = typed_config(to_plain(compose_config("corruptions", arguments[1:])), CorruptionsConfig)
    check_config("corruptions", config)
    for key in ("folder", "frost_dir", "out"):
        if (value := getattr(config, key)) is not None:
            setattr(config, key, str(user_path(key, value)))
    commands[arguments[0]](config)


def _list(config: CorruptionsConfig) -> None:
    names = select_names(config.names) if config.names != "test" else ALL
    lines: list[str] = []
    for family, images in (("cifar", "32 x 32"), ("imagenet", "224 x 224")):
        lines.append(f"{'corruption':<20}{'category':<10}constants for {images}, severity 1 to 5")
        for name in names:
            constants = "  ".join(_text(each) for each in FAMILIES[family][name])
            lines.append(f"{name:<20}{category_of(name):<10}{constants}")
        lines.append("")
    print_result("\n".join(lines))


def _text(constants: tuple[float, ...]) -> str:
    if len(constants) > 7:  # zoom's factors
        return f"{constants[0]:.2f}..{constants[-1]:.2f}"
    return ",".join(f"{constant:g}" for constant in constants)


def _make(config: CorruptionsConfig) -> None:
    if config.out is None:
        raise BadInput("out: required; the folder to write to, out=FOLDER")
    names, severities = select_names(config.names), select_severities(config.severities)
    check_writable(Path(config.out), "out")
    _check_source(config)
    textures = _textures(config, names)
    from p2be_exp.corruptions.make import make_set
    from p2be_exp.system.progress_lines import BlockProgress
    from p2be_exp.system.stop_signals import StopSignals
    from p2be_exp.system.threads import usable_cpus

    with StopSignals():
        workers = config.workers or usable_cpus()
        source = _source(config)
        if source.fingerprint:  # picture files: decoding tens of thousands takes minutes
            print(f"{source.name}: {len(source.labels):,} pictures; each is read once first", flush=True)
        source = source.readable(workers)
        out = Path(config.out)
        height, width = source.size
        print(
            f"{source.name}: {len(source.labels):,} images of {height} x {width}, {len(names)} corruptions, "
            f"severities {', '.join(map(str, severities))}, into {out}",
            flush=True,
        )
        try:
            with BlockProgress(len(names) * len(severities) * len(source.labels)) as progress:
                manifest = make_set(
                    source,
                    out,
                    names,
                    severities,
                    seed=config.seed,
                    textures=textures,
                    workers=workers,
                    progress=progress,
                )
        except (Interrupted, KeyboardInterrupt):
            command = typed("python", "-m", "p2be_exp.corruptions", *sys.argv[1:])
            print(f"\nstopped; to continue: {command}", file=sys.stderr, flush=True)
            raise
    for name, why in manifest["left_out"].items():
        print(f"{name} left out: {why}; give frost_dir=FOLDER, or pip install --no-deps imagecorruptions")
    _print_published(source, names, severities, manifest)
    print(f"{out}: {len(manifest['blocks'])} blocks of {len(source.labels):,} images; {manifest['notice']}")


def _print_published(
    source: DatasetSource, names: tuple[str, ...], severities: tuple[int, ...], manifest: dict[str, Any]
) -> None:
    """Print which files of this call are identical to the published ones, and which should be but are not."""
    from p2be_exp.corruptions.make import GENERATOR_VERSION
    from p2be_exp.corruptions.published import reproduces

    whole = severities == SEVERITIES and len(source.labels) == source.total
    for name in (*names, "labels"):
        if name in manifest["identical_to_the_published_file"]:
            print(f"{name}.npy: identical to the published file")
        elif whole and reproduces(source.name, name, GENERATOR_VERSION):
            why = "other versions of the packages in manifest.json reproduced it"
            print(f"{name}.npy: not the published file ({why})")


def _preview(config: CorruptionsConfig) -> None:
    names = ALL if config.names == "test" else select_names(config.names)
    out = Path(config.out or "corruptions.png")
    check_writable(out.absolute().parent, "out")
    _check_source(config)
    textures, source = _textures(config, names), _source(config)
    if config.image >= len(source.labels):
        raise BadInput(f"image={config.image}: must be between 0 and {len(source.labels) - 1}")
    from p2be_exp.corruptions.apply import corrupt
    from p2be_exp.evaluation.figures.preview import draw_preview

    position = config.image
    clean = source.read(position, position + 1)
    pictures = {
        name: {
            severity: corrupt(
                clean,
                name,
                severity,
                dataset=source.name,
                indices=source.indices[position : position + 1],
                seed=config.seed,
                textures=textures,
            )[0]
            for severity in select_severities(config.severities)
        }
        for name in names
        if name != "frost" or textures is not None
    }
    try:
        draw_preview(clean[0], pictures, f"{source.name}, image {source.indices[position]}", out)
    except OSError as error:
        raise BadInput(f"out={out}: cannot be written ({error.strerror})") from error
    left_out = "" if len(pictures) == len(names) else " (frost left out: no textures)"
    print(f"{out}: {len(pictures)} corruptions of image {source.indices[position]} of {source.name}{left_out}")


def _textures(config: CorruptionsConfig, names: tuple[str, ...]) -> Any:
    from p2be_exp.corruptions.textures import find_textures

    folder = None if config.frost_dir is None else Path(config.frost_dir)
    textures = find_textures(folder) if "frost" in names else None
    exists = config.out is not None and (Path(config.out) / "frost.npy").is_file()
    if names == ("frost",) and textures is None and not exists:
        raise BadInput("names=[frost]: no textures; give frost_dir=FOLDER, or pip install --no-deps imagecorruptions")
    return textures


def _check_source(config: CorruptionsConfig) -> None:
    """Checks that need no PyTorch, whose import takes seconds."""
    if config.folder is None:
        if config.size is not None:
            raise BadInput(f"size={config.size}: requires folder=; data sets are corrupted as they are")
        check_data(config)
    elif not Path(config.folder).is_dir():
        raise BadInput(f"folder={config.folder}: no such folder")


def _source(config: CorruptionsConfig) -> DatasetSource:
    from p2be_exp.corruptions.source import DatasetSource, FolderSource

    if config.folder is not None:
        return FolderSource(Path(config.folder), config.size, config.limit_test)
    from p2be_exp.data import FolderSettings, load_dataset
    from p2be_exp.data.split import limit_test

    dataset = config.dataset
    download, folder = dataset.download, FolderSettings.of(dataset)
    _, test = load_dataset(dataset.name, config.data_dir, download, folder)
    chosen = test.subset(limit_test(len(test), config.limit_test, dataset.split_seed))
    return DatasetSource(dataset.name, chosen, len(test))
