"""The jobs of a grid are those that Hydra runs, in its order."""

import pytest
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.override_parser.overrides_parser import OverridesParser

from p2be_exp.errors import BadInput
from p2be_exp.sweeps import labelled, plan_jobs


@pytest.mark.parametrize(
    "arguments",
    [
        ["encoding=rgb,p2be", "dataset=digits", "seed=range(3)"],
        ["seed=0,1", "dataset=digits", "epochs=1,2", "seed=5,6"],
        ["corruption=generated", "corruption.names=[fog],[snow,noise]", "dataset=digits"],
        ["encoding.M=choice(8,16)", "task_name='a, b'", "limit_test=null,10"],
    ],
)
def test_numbers_and_overrides_are_hydras(arguments):
    parsed = OverridesParser.create().parse_overrides(arguments)
    (theirs,) = BasicSweeper.split_arguments(parsed, max_batch_size=None)
    mine = plan_jobs(arguments)
    assert [list(job.overrides) for job in mine] == theirs
    assert [job.folder for job in mine] == [str(number) for number in range(len(theirs))]


def test_configurations_are_resolved_and_checked():
    one, other = plan_jobs(["encoding=p2be", "encoding.M=8,16", "preset=paper", "dataset=digits"])
    assert (one.config.encoding.M, other.config.encoding.M) == (8, 16)
    assert one.config.encoding.smoothness == "sum"
    with pytest.raises(BadInput, match=r"encoding\.M=0: must be between 1 and 1024"):
        plan_jobs(["encoding.M=8,0"])
    with pytest.raises(BadInput, match="no such encoding"):
        plan_jobs(["encoding=rgb,cmyk"])


def test_a_label_says_what_tells_a_job_from_the_others():
    jobs = plan_jobs(["encoding=rgb,p2be", "dataset=digits", "seed=0,1"])
    assert [label for _, label in labelled(jobs)] == [
        "encoding=rgb seed=0",
        "encoding=rgb seed=1",
        "encoding=p2be seed=0",
        "encoding=p2be seed=1",
    ]
    assert [label for _, label in labelled(jobs[:1])] == [""]


def test_a_folder_may_be_named_by_a_jobs_number():
    jobs = plan_jobs(["dataset=digits", "seed=0,1", "hydra.sweep.subdir=tenet-${hydra.job.num}"])
    assert [job.folder for job in jobs] == ["tenet-0", "tenet-1"]
    assert [label for _, label in labelled(jobs)] == ["seed=0", "seed=1"]
