"""The text of ``--help``: examples, options, keys and results."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

from p2be_exp import __version__
from p2be_exp.commands.group_help import SWEEPS
from p2be_exp.config.compose import CONF_DIR, options_of
from p2be_exp.config.schema import GROUP_SCHEMAS
from p2be_exp.sweeps import list_sweeps
from p2be_exp.system.program import words_of

_TRAIN = """\
Train a network on encoded pixels, then evaluate it on the test set.

{examples}

Options, chosen with GROUP=OPTION (with their keys: --help GROUP):
{groups}

Keys, set with KEY=VALUE (those of a group: GROUP.KEY=VALUE; all of them: --cfg job):
{keys}

A run is a folder, logs/train/runs/<time>, with config.yaml, run.json, status.json, metrics.csv, checkpoints/,
results.csv, results.json, per_image/ and figures/. Another folder: hydra.run.dir=FOLDER.

Exit codes: 0 done, 1 failed, 2 bad input, 129, 130 and 143 stopped by SIGHUP, SIGINT and SIGTERM, all saved.
HYDRA_FULL_ERROR=1 shows the traceback of bad input. --version, and --hydra-help, which lists Hydra's own flags."""

_TRAIN_EXAMPLES = (
    ("experiment=quickstart", "embedded data, CPU, under two minutes"),
    ("encoding=p2be backbone=wrn40_2 regime=augmix", "the paper's recipe on CIFAR-100"),
    ("-m encoding.M=16,32 encoding.lambda_smooth=0,1", "one job for each combination"),
    ("resume=RUN", "resume a run that was stopped"),
)

_EVALUATE = """\
Evaluate a trained run, or anybody's network.

{examples}

Options, chosen with GROUP=OPTION (with their keys: --help GROUP):
{groups}

Keys, set with KEY=VALUE:
{keys}

model=FILE.py:NAME takes the place of run: NAME() in that file returns a torch.nn.Module, images in [0, 1] to logits
(docs/benchmark.md). The defaults are then dataset=cifar10, attack=suite and corruption=none; dataset is one of
{datasets}

The results are in RUN/evaluations/NAME, of a model in
logs/evaluate/FILE/NAME (or out=FOLDER): results.csv, results.json, per_image/, figures/. The same name
and settings continue where they stopped; the same name with other settings is refused.

Exit codes: 0 done, 1 failed, 2 bad input, 129, 130 and 143 stopped by SIGHUP, SIGINT and SIGTERM."""

_EVALUATE_EXAMPLES = (
    ("run=RUN", "clean and corrupted images, LS-PGA"),
    ("run=RUN corruption=none attack=none", "clean images only"),
    ("run=RUN corruption=none attack=suite limit_test=1000 attack.source=RGB_RUN", ""),
    ("run=RUN corruption=cifar_c corruption.names=[fog,noise] corruption.severities=[1,3,5]", ""),
    ("run=RUN corruption=own corruption.dir=FOLDER", "your own files in the layout of CIFAR-10-C"),
    ("run=RUN checkpoint=best limit_test=1000 name=first_thousand", ""),
    ("run=/shared/RUN out=my_evaluation", "a run in a read-only folder"),
    ("run=zoo:digits_p2be out=my_evaluation", "a shared network: docs/sharing.md"),
    ("model=my_model.py:build dataset=cifar10 attack=suite attack.eps_levels=8", "anybody's network"),
)


TRAIN_GROUPS = (*GROUP_SCHEMAS, "experiment", SWEEPS)
EVALUATE_GROUPS = ("corruption", "attack", "trainer")


def train_help() -> str:
    """The help of ``train.py``."""
    groups = _groups(TRAIN_GROUPS)
    return _TRAIN.format(examples=_examples("train", _TRAIN_EXAMPLES), groups=groups, keys=keys_of("train"))


def evaluate_help() -> str:
    """The help of ``evaluate.py``."""
    groups = _groups(EVALUATE_GROUPS)
    examples, datasets = _examples("evaluate", _EVALUATE_EXAMPLES), f"  {' '.join(options_of('dataset'))}"
    return _EVALUATE.format(examples=examples, groups=groups, keys=keys_of("evaluate"), datasets=datasets)


def version() -> str:
    """The text of ``--version``."""
    return f"p2be-exp {__version__}"


def _examples(command: str, examples: Sequence[tuple[str, str]]) -> str:
    """One line per example, as it is typed, with its description if it has one."""
    program = " ".join(words_of(command))
    width = max(len(arguments) for arguments, description in examples if description)
    return "\n".join(
        f"  {program} {arguments:<{width}}   {description}".rstrip() for arguments, description in examples
    )


def _groups(names: Sequence[str]) -> str:
    options = {name: list_sweeps() if name == SWEEPS else options_of(name) for name in names}
    return "\n".join(_wrapped(f"  {name:<12}", each) for name, each in options.items())


def _wrapped(head: str, words: Sequence[str]) -> str:
    return textwrap.fill(" ".join(words), 118, initial_indent=head, subsequent_indent=" " * len(head))


def keys_of(command: str) -> str:
    """The lines of a command's own keys in its YAML file, with defaults and comments."""
    lines = (CONF_DIR / f"{command}.yaml").read_text(encoding="utf-8").splitlines()
    own = lines[lines.index("") + 1 :]
    end = own.index("hydra:") if "hydra:" in own else len(own)
    return "\n".join(f"  {line}" for line in own[:end] if line.strip())
