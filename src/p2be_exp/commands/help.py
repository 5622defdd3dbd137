"""``--help`` for a person: what to type, which options there are, what comes out."""

from __future__ import annotations

from p2be_exp.config.compose import CONF_DIR, options_of
from p2be_exp.config.schema import GROUP_SCHEMAS

_TRAIN = """\
Train a network on encoded pixels, then evaluate it on the test set.

  python train.py experiment=quickstart                          embedded data, CPU, under two minutes
  python train.py encoding=p2be backbone=wrn40_2 regime=augmix   the paper's recipe on CIFAR-100
  python train.py -m encoding.M=16,32 encoding.lambda_smooth=0,1 one job for each combination
  python train.py resume=RUN                                     go on with a run that was stopped

Options, chosen with GROUP=OPTION:
{groups}

Keys, set with KEY=VALUE (those of a group: GROUP.KEY=VALUE; all of them: --cfg job):
{keys}

A run is a folder, logs/train/runs/<time>, with config.yaml, run.json, status.json, metrics.csv, checkpoints/,
results.csv, results.json, per_image/ and figures/. Elsewhere: hydra.run.dir=FOLDER.

Exit codes: 0 done, 1 failed, 2 bad input, 129, 130 and 143 stopped by SIGHUP, SIGINT and SIGTERM, all saved.
HYDRA_FULL_ERROR=1 shows the traceback of bad input. --hydra-help lists Hydra's own flags."""

_EVALUATE = """\
Evaluate a trained run.

  python evaluate.py run=RUN                                     clean and corrupted images, LS-PGA
  python evaluate.py run=RUN corruption=none attack=none         clean images alone
  python evaluate.py run=RUN corruption=none attack=suite limit_test=1000 attack.source=RGB_RUN
  python evaluate.py run=RUN corruption=cifar_c corruption.names=[fog,noise] corruption.severities=[1,3,5]
  python evaluate.py run=RUN corruption=own corruption.dir=FOLDER   anybody's files in the layout of CIFAR-10-C
  python evaluate.py run=RUN checkpoint=best limit_test=1000 name=first_thousand
  python evaluate.py run=/shared/RUN out=my_evaluation           of a run that cannot be written

Options, chosen with GROUP=OPTION:
{groups}

Keys, set with KEY=VALUE:
{keys}

The results are in RUN/evaluations/NAME (or out=FOLDER): results.csv, results.json, per_image/, figures/. The same name
and settings go on where they stopped; the same name with other settings is refused.

Exit codes: 0 done, 1 failed, 2 bad input, 129, 130 and 143 stopped by SIGHUP, SIGINT and SIGTERM."""


def train_help() -> str:
    """The help of ``train.py``."""
    return _TRAIN.format(groups=_groups([*GROUP_SCHEMAS, "experiment"]), keys=keys_of("train"))


def evaluate_help() -> str:
    """The help of ``evaluate.py``."""
    return _EVALUATE.format(groups=_groups(["corruption", "attack", "trainer"]), keys=keys_of("evaluate"))


def _groups(names: list[str]) -> str:
    return "\n".join(f"  {name:<12}{' '.join(options_of(name))}" for name in names)


def keys_of(command: str) -> str:
    """The lines of a command's own keys in its YAML file, which hold the defaults and what they mean."""
    lines = (CONF_DIR / f"{command}.yaml").read_text(encoding="utf-8").splitlines()
    own = lines[lines.index("") + 1 :]
    end = own.index("hydra:") if "hydra:" in own else len(own)
    return "\n".join(f"  {line}" for line in own[:end] if line.strip())
