"""``python -m p2be_exp.export``: a trained classifier as one file that runs without this package, or as a folder."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from p2be_exp.commands.exit_codes import exit_code_of
from p2be_exp.commands.export_hub import check_keys, export_hub
from p2be_exp.commands.help import keys_of, version
from p2be_exp.commands.refusals import with_rank_in_refusals
from p2be_exp.config import check_config, compose_config, parse_overrides, to_plain
from p2be_exp.config.plugin_trust import allow_requested
from p2be_exp.config.quoting import read_arguments
from p2be_exp.config.schema import ExportConfig, TrainConfig
from p2be_exp.config.typed import plain, typed
from p2be_exp.errors import BadInput
from p2be_exp.runs.load import load_checkpoint, model_of
from p2be_exp.runs.provenance import provenance
from p2be_exp.runs.run import Run
from p2be_exp.system.paths import user_path
from p2be_exp.system.torchrun import check_one_process

if TYPE_CHECKING:
    from p2be_exp.export import StemForm

SUFFIXES = {"torch_export": ".pt2", "onnx": ".onnx"}

_HELP = """\
Write a trained classifier to one file: uint8 images (B, 3, H, W) in, float logits (B, classes) out; or to a folder that
can be shared on the Hugging Face hub.

  python -m p2be_exp.export run=RUN                              RUN/model.pt2, for torch.export.load
  python -m p2be_exp.export run=RUN format=onnx                  RUN/model.onnx, for ONNX Runtime and others
  python -m p2be_exp.export run=RUN format=onnx batch=1 out=classifier.onnx
  python -m p2be_exp.export run=RUN format=hub out=FOLDER        weights, configuration, results, card: docs/sharing.md

Keys, set with KEY=VALUE:
{keys}

The encoding is included; inputs must not be scaled or normalised. Height and width are those of the run's data set.
Before the file is written, its logits are compared with the run's. format=onnx needs pip install 'p2be-exp[export]',
format=hub needs pip install 'p2be-exp[hub]' and the results of an evaluation.

Exit codes: 0 done, 1 failed, 2 bad input."""


def main() -> int:
    """Run the command with ``sys.argv``; return its exit code."""
    return exit_code_of(with_rank_in_refusals(_command))


def _command() -> None:
    if "--version" in sys.argv[1:]:
        print(version())
        return
    arguments = read_arguments(sys.argv[1:])
    if not arguments or {"-h", "--help"} & set(arguments):
        print(_HELP.format(keys=keys_of("export")))
        return
    check_one_process("p2be_exp.export")
    if flags := [argument for argument in arguments if argument.startswith("-")]:
        raise BadInput(f"{flags[0]}: not a flag of p2be_exp.export, which takes KEY=VALUE (see --help)")
    overrides = parse_overrides(arguments)
    allow_requested(arguments)
    if overrides.get("run", "null") == "null":
        raise BadInput("run: required; the run to export, run=FOLDER")
    # First, since composing imports the plug-ins that are named.
    run = Run.open(overrides["run"], or_shared=True)
    settings = typed(to_plain(compose_config("export", arguments)), ExportConfig)
    check_config("export", settings)
    check_keys(settings)
    if settings.format == "hub":
        export_hub(run, settings, image_size(run.config()))
        return
    file = _file(run, settings)
    checkpoint = load_checkpoint(run, settings.checkpoint)
    _export(run, file, settings, checkpoint)


def _file(run: Run, settings: ExportConfig) -> Path:
    suffix = SUFFIXES[settings.format]
    if settings.out is None and run.shared is not None:
        raise BadInput(f"run={run.place}: a shared network stays as it is; use out=FILE{suffix}")
    try:
        file = run.path / f"model{suffix}" if settings.out is None else user_path("out", settings.out)
        _check_location(file, suffix, settings)
    except OSError as error:  # a name that is too long
        raise BadInput(f"out={settings.out}: cannot be written ({error.strerror})") from error
    except RuntimeError as error:
        raise BadInput(f"out={settings.out}: no such home folder") from error
    return file


def _check_location(file: Path, suffix: str, settings: ExportConfig) -> None:
    if file.suffix != suffix:
        raise BadInput(f"out={file}: must end in {suffix} for format={settings.format}")
    if file.is_dir() or (file.exists() and not settings.overwrite):
        raise BadInput(f"out={file}: already exists; overwrite=true replaces a file")
    above = next(each for each in file.absolute().parents if each.exists())
    if not above.is_dir() or not os.access(above, os.W_OK):
        raise BadInput(f"out={file}: cannot be written ({above})")


def _export(run: Run, file: Path, settings: ExportConfig, checkpoint: dict[str, Any]) -> None:
    from p2be_exp import export
    from p2be_exp.export.deployment import FOLD_FROM_M

    if settings.format == "onnx":
        export.check_onnx()
    model = model_of(run, checkpoint, settings.checkpoint)
    size = (image_size(run.config()),) * 2
    batch = None if settings.batch == "dynamic" else settings.batch
    codes = [reader.encoding.M for reader in model.readers]
    folds = [settings.format == "torch_export" and M >= FOLD_FROM_M for M in codes]
    forms: list[StemForm] = ["folded" if each else "lookup" for each in folds]
    program = export.exported(model, forms, size, batch)
    batches = (1, 3) if batch is None else (batch,)
    of_readers: dict[str, list[Any]] = {"M": codes, "stem": forms}
    # Of one reader no list: who reads these files knows a number and a word.
    single = {key: values[0] if len(values) == 1 else values for key, values in of_readers.items()}
    metadata = {**description(run, settings, checkpoint, size[0]), **single}
    try:
        if settings.format == "onnx":
            proto = export.to_onnx(program)
            difference = export.largest_difference(export.onnx_runner(proto), model, size, batches)
            export.save_onnx(proto, file, metadata)
        else:
            difference = export.largest_difference(program.module(), model, size, batches)
            export.save_program(program, file, metadata)
    except OSError as error:
        raise BadInput(f"out={file}: cannot be written ({error.strerror})") from error
    except export.WrongLogits as error:
        print(f"error: run={run.place}: {error}", file=sys.stderr)
        sys.exit(1)
    images = f"uint8 ({settings.batch if batch else 'any'}, 3, {size[0]}, {size[1]})"
    print(
        f"{file}: {file.stat().st_size:,} bytes; {images} to {metadata['output']['classes']} logits, "
        f"which agree with the run's to {difference:.1e}"
    )


def image_size(config: TrainConfig) -> int:
    """Height and width in pixels of the images of a run's network."""
    from p2be_exp.data import source_class

    size = config.dataset.image_size or source_class(config.dataset.name).image_size
    assert size is not None  # either the data set or the configuration has one
    return size


def description(run: Run, settings: ExportConfig, checkpoint: dict[str, Any], size: int) -> dict[str, Any]:
    """The metadata of an exported file: inputs, outputs, and the run it was exported from."""
    config, info, here = run.config(), run.info(), provenance()
    return {
        "input": {
            "name": "images",
            "dtype": "uint8",
            "shape": [settings.batch, 3, size, size],
            "meaning": "levels 0 to 255, channels R, G, B; not scaled, not normalised",
        },
        "output": {
            "dtype": "float32",
            "shape": [settings.batch, "classes"],
            "classes": checkpoint["hyper_parameters"]["num_classes"],
            "names": info.get("classes"),
        },
        "encoding": plain(config.encoding),
        "backbone": config.network,
        "regime": config.regime.name,
        "dataset": config.dataset.name,
        "seed": config.seed,
        "checkpoint": settings.checkpoint,
        "step": checkpoint["global_step"],
        "trained": {key: info.get(key) for key in ("created", "git_commit", "versions")},
        "exported": {key: here[key] for key in ("created", "git_commit", "versions")},
    }
