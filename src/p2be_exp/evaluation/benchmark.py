"""``benchmark()``: the whole evaluation for anybody's network, in the manner of RobustBench's function of this name."""

from __future__ import annotations

import signal
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from p2be_exp.config.checks import check_config, check_radii
from p2be_exp.config.compose import compose_config, to_plain
from p2be_exp.config.folders import options_of
from p2be_exp.config.module_evaluation import module_evaluation_config
from p2be_exp.config.schema import EvaluateModelConfig, TrainConfig
from p2be_exp.config.typed import typed
from p2be_exp.data import ImageDataModule
from p2be_exp.errors import BadInput, Interrupted
from p2be_exp.evaluation.data import build_data
from p2be_exp.evaluation.job import Output, evaluate
from p2be_exp.evaluation.module_plan import climbs, module_plan
from p2be_exp.evaluation.out_folder import check_out_folder
from p2be_exp.evaluation.plan import EvaluationPlan
from p2be_exp.evaluation.table import results_table
from p2be_exp.models.module_checks import check_module
from p2be_exp.models.module_classifier import Input, ModuleClassifier
from p2be_exp.runs.run import Run
from p2be_exp.system.job_process import job_process
from p2be_exp.system.paths import user_path
from p2be_exp.system.suggestions import did_you_mean
from p2be_exp.system.trainer import on_gpu

PROBED = 4
"""Test images on which a network is checked before it is evaluated."""

Option = str | Mapping[str, Any]
"""An option of a group: its name, or a mapping with ``name`` and values of its keys."""


def benchmark(
    model: nn.Module,
    dataset: Option,
    threat: int | Sequence[int] = 8,
    attacks: Option | None = "suite",
    corruptions: Option | Sequence[str] | None = None,
    encoding: Any = None,
    surrogate: Callable[[Tensor], Tensor] | None = None,
    *,
    input: Input = "unit",
    n_examples: int | None = None,
    batch_size: int | None = None,
    data_dir: str | Path | None = None,
    device: str | torch.device | None = None,
    seed: int = 0,
    out: str | Path | None = None,
    name: str | None = None,
    verbose: bool = False,
) -> dict[str, Any]:
    """Evaluate anybody's network: clean images, corruptions, attacks, the worst case, intervals, the sanity panel.

    It is the evaluation of this package's own runs, on the same images with the same random numbers: a network that
    computes what a run's RGB network computes gets the same rows. The network is in eval mode meanwhile; afterwards its
    mode and device are as they were. To be called from the main thread: a first interrupt stops it.

    Args:
        model: any module, images to logits ``(B, classes)``, with its pre-processing inside.
        dataset: an option of ``dataset=``, such as ``cifar10``; ``{"name": "image_folder", "dir": FOLDER}``.
        threat: radius of the Linf ball in whole levels (8 is 8/255), or several.
        attacks: an option of ``attack=``: ``suite``, ``suite_short``, ``pgd``, ``square``, ...;
            ``{"name": "suite", "steps": 100, "source": RUN}``; None for none.
        corruptions: None; an option of ``corruption=``: ``auto``, ``cifar_c``, ``generated``, ...; names of
            corruptions, which ``auto`` then gives; or ``{"name": "generated", "names": ["fog"], "severities": [3]}``.
        encoding: a pre-processing by table that the module leaves out, since it has no gradient: the table,
            ``(256, M)``, row k the code of level k, or an encoding of :mod:`p2be_exp.encodings`. The module then gets
            codes ``(B, 3M, H, W)``, channel ``c * M + m``, and attacks use this package's surrogate gradients.
        surrogate: images in [0, 1] to logits, differentiable: what gradient attacks climb where any other
            pre-processing has no gradient. Success is judged on the model. Rows name the gradient ``surrogate``.
        input: what the model gets without an encoding: ``unit``, floats in [0, 1]; ``levels``, floats 0.0 to 255.0.
        n_examples: number of test images, chosen at random, the same in every evaluation; None for all. (RobustBench
            takes the first.)
        batch_size: None for 1000 on a GPU, 100 on a CPU.
        data_dir: folder of the data sets; None for P2BE_DATA_DIR, else ``./data``.
        device: ``cpu`` or ``cuda``; None for where the model is.
        seed: of the attacks.
        out: folder for ``results.csv``, ``results.json``, ``per_image/`` and ``figures/``. The same call continues
            there after a stop; other settings or weights are refused. None: nothing is kept.
        name: of the network, in results and figures; default its class's.
        verbose: print the progress and, at the end, the table.

    Returns:
        The content of ``results.json`` (docs/benchmark.md): ``clean_error``, ``mean_corruption_error``, ``attacks``,
        ``worst_case_error`` by radius, ``conditions`` with intervals, ``sanity``, and ``settings`` with the digest of
        the weights; errors in percent.

    Raises:
        BadInput: an argument that is not allowed, data that is missing, a model whose outputs are not logits of the
            classes, or through which no gradient reaches the image although an attack climbs it.
        KeyboardInterrupt: stopped; with ``out`` the finished rows are there.
    """
    classifier = ModuleClassifier(model, encoding, surrogate, input)
    settings = _settings(dataset, threat, attacks, corruptions, device, classifier)
    settings |= {"limit_test": n_examples, "eval_batch_size": batch_size, "seed": seed}
    settings["trainer"]["progress"] = verbose
    if data_dir is not None:
        settings["data_dir"] = str(data_dir)
    checked = typed(settings, EvaluateModelConfig)
    check_config("evaluate_model", checked)
    config = module_evaluation_config(checked)
    about = {"name": type(model).__name__ if name is None else name}
    with _folder(out) as folder, _interruptible(), job_process(config.trainer, folder, "out"):
        output = Output(folder, "out", title=about["name"], prints=verbose and out is not None, draws=out is not None)
        results = evaluate_module(config, classifier, about, output)
        if verbose and out is None:
            print(results_table(results), flush=True)
        return results


def evaluate_module(
    config: TrainConfig,
    model: ModuleClassifier,
    about: Mapping[str, Any],
    output: Output,
    key: str = "model",
    source: Run | None = None,
) -> dict[str, Any]:
    """Check a network on a few images and evaluate it; the process has been set up by ``job_process``.

    Args:
        config: of :func:`p2be_exp.config.module_evaluation.module_evaluation_config`.
        model: the network; mode and device are as before afterwards.
        about: what the settings of the results say of it, beside :meth:`ModuleClassifier.about`.
        output: where the results go.
        key: names the network in messages.
        source: the run that its attacks transfer from, if it is already open.

    Returns:
        The content of ``results.json``.

    Raises:
        BadInput: see :func:`benchmark`.
    """
    with _as_before(model):
        plan = module_plan(config, model, source)
        data = build_data(config)
        data.prepare_data()
        data.setup()
        plan.check(data)
        model.to("cuda" if on_gpu(config.trainer) else "cpu")  # a surrogate that stays elsewhere is found now
        check_on_images(model, data, plan, key)
        return evaluate(plan, model, data, {"model": {**about, **model.about()}}, output)


def check_on_images(model: ModuleClassifier, data: ImageDataModule, plan: EvaluationPlan, key: str = "model") -> None:
    """Check a network on the first test images of a data set that has been set up.

    Raises:
        BadInput: see :func:`p2be_exp.models.module_checks.check_module`.
    """
    images = data.test_set().first(PROBED).images.to(model.device)
    check_module(model, images, data.num_classes, climbs(plan), key)


def _settings(
    dataset: Option,
    threat: int | Sequence[int],
    attacks: Option | None,
    corruptions: Option | Sequence[str] | None,
    device: str | torch.device | None,
    classifier: ModuleClassifier,
) -> dict[str, Any]:
    """The configuration of the options, each with the values of its keys."""
    radii = [threat] if isinstance(threat, int | float) else list(threat)
    check_radii("threat", radii)
    chosen = {
        "dataset": _option("dataset", dataset),
        "attack": _option("attack", "none" if attacks is None else attacks, "attacks"),
        "corruption": _option("corruption", _corruption(corruptions), "corruptions"),
        "trainer": {"name": _trainer(classifier.device if device is None else device)},
    }
    composed = to_plain(compose_config("evaluate_model", [f"{group}={each['name']}" for group, each in chosen.items()]))
    for group, keys in chosen.items():
        # An option that is another with other values has that one's name.
        composed[group] = {**composed[group], **keys, "name": composed[group]["name"]}
    if chosen["attack"]["name"] != "none":
        if "eps_levels" in chosen["attack"]:
            raise BadInput("attacks: eps_levels is given as threat=")
        composed["attack"]["eps_levels"] = radii if len(radii) > 1 else radii[0]
    return composed


def _option(group: str, wanted: Any, argument: str = "") -> dict[str, Any]:
    """An option's name and keys.

    Raises:
        BadInput: no option of the group.
    """
    found = {"name": wanted} if isinstance(wanted, str) else dict(wanted) if isinstance(wanted, Mapping) else {}
    name, options = found.get("name"), options_of(group)
    if found and name is None:
        raise BadInput(f"{argument or group}={wanted}: 'name' is required, one of {', '.join(options)}")
    if name not in options:
        given = name if found else type(wanted).__name__
        raise BadInput(
            f"{argument or group}={given}: must be one of {', '.join(options)}{did_you_mean(str(given), options)}"
        )
    return found


def _corruption(wanted: Option | Sequence[str] | None) -> Option:
    """The option that a user means, who may name corruptions alone."""
    if wanted is None:
        return "none"
    if isinstance(wanted, Mapping):
        return {"name": "auto", **wanted}
    if isinstance(wanted, str) and wanted in options_of("corruption"):
        return wanted
    return {"name": "auto", "names": wanted if isinstance(wanted, str) else list(wanted)}


def _trainer(device: str | torch.device) -> str:
    try:
        kind = torch.device(device).type
    except (RuntimeError, TypeError) as error:
        raise BadInput(f"device={device}: must be cpu or cuda") from error
    if kind not in ("cpu", "cuda"):
        raise BadInput(f"device={device}: must be cpu or cuda")
    return "gpu" if kind == "cuda" else "cpu"


@contextmanager
def _folder(out: str | Path | None) -> Iterator[Path]:
    """The folder of the results, or one that is there while the block runs."""
    if out is None:
        with tempfile.TemporaryDirectory(prefix="p2be_benchmark_") as temporary:
            yield Path(temporary)
        return
    folder = user_path("out", out)
    check_out_folder(folder)
    yield folder


@contextmanager
def _interruptible() -> Iterator[None]:
    """An interrupt is what it is elsewhere in Python."""
    try:
        yield
    except Interrupted as stopped:
        if stopped.signal == signal.SIGINT:
            raise KeyboardInterrupt from stopped
        raise


@contextmanager
def _as_before(model: ModuleClassifier) -> Iterator[None]:
    """Eval mode while the block runs; mode and device are as before afterwards."""
    modes, device = [(module, module.training) for module in model.modules()], model.device
    try:
        model.eval()
        yield
    finally:
        model.to(device)
        for module, mode in modes:
            module.training = mode
