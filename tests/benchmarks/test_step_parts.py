"""A meter's amounts split among parts."""

import doctest

import pytest
import torch

from benchmarks import kernels
from benchmarks.step import parts as module
from benchmarks.step.parts import ATTACK, FRAMEWORK, LOSS, MARK, STEM, TRUNK, Parts, seconds


class Clock:
    """A meter that goes on as it is told."""

    now = 0.0

    def __call__(self) -> float:
        return self.now

    def work(self, amount: float) -> None:
        self.now += amount


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def parts():
    return Parts()


def test_a_part_inside_another_takes_from_it_and_nothing_is_lost(parts, clock):
    clock.work(100)  # before the beginning
    parts.begin(clock)
    clock.work(1)
    with parts.of(LOSS):
        clock.work(2)
        with parts.of(STEM):
            clock.work(4)
        with parts.of(TRUNK):
            clock.work(8)
        clock.work(16)
    clock.work(32)
    found = parts.end()
    assert found == {STEM: 4, TRUNK: 8, LOSS: 18, FRAMEWORK: 33}
    assert sum(found.values()) == 63
    assert list(found) == [STEM, TRUNK, LOSS, FRAMEWORK]


def test_nothing_is_told_apart_inside_a_whole(parts, clock):
    parts.begin(clock)
    with parts.of(ATTACK, whole=True):
        clock.work(1)
        with parts.of(STEM):
            clock.work(2)
        clock.work(4)
    with parts.of(STEM):
        clock.work(8)
    assert parts.end() == {ATTACK: 7, STEM: 8, FRAMEWORK: 0}


def test_a_part_that_fails_gives_back_to_the_one_around_it(parts, clock):
    def fail():
        clock.work(1)
        raise ValueError

    parts.begin(clock)
    with pytest.raises(ValueError):  # noqa: PT011
        parts.wrapped(STEM, fail)()
    clock.work(2)
    assert parts.end() == {STEM: 1, FRAMEWORK: 2}


def test_measuring_may_begin_and_end_inside_a_part(parts, clock):
    with parts.of(LOSS):
        parts.begin(clock)
        clock.work(1)
    assert parts.end() == {FRAMEWORK: 1}
    parts.begin(clock)
    with parts.of(LOSS):
        clock.work(2)
        assert parts.end() == {LOSS: 2, FRAMEWORK: 0}
        clock.work(4)
    parts.begin(clock)
    clock.work(8)
    assert parts.end() == {FRAMEWORK: 8}


def test_a_wrapped_function_is_the_function(parts):
    def add(a, b=1):
        """Adds."""
        return a + b

    wrapped = parts.wrapped(STEM, add)
    assert (wrapped(1, b=2), wrapped.__name__, wrapped.__wrapped__) == (3, "add", add)


def test_a_profile_shows_the_parts_where_it_is_asked_to(parts):
    for marking in (False, True):
        parts.marking = marking
        with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profiled:
            parts.begin(seconds(torch.device("cpu"), wait=True))
            with parts.of(STEM):
                torch.ones(3)
            parts.end()
        marks = [each.key for each in profiled.key_averages() if each.key.startswith(MARK)]
        assert marks == [MARK + STEM] * marking


def test_a_kernel_is_of_the_innermost_part():
    marks = [("part: loss", 0, 100), ("part: stem", 10, 20), ("others", 0, 1000)]
    events = [{"cat": "user_annotation", "name": name, "ts": ts, "dur": dur} for name, ts, dur in marks]
    events += [{"cat": "gpu_user_annotation", "name": "part: trunk forward", "ts": 0, "dur": 1000}]
    events += [{"cat": "kernel", "name": "k", "ts": ts, "dur": 3000.0} for ts in (5, 15, 16, 40, 500)]
    found = kernels.kernels_by_part({"traceEvents": events}, MARK, FRAMEWORK, calls=1)
    assert found == {"loss": (6.0, 2), "stem": (6.0, 2), FRAMEWORK: (3.0, 1)}


def test_the_example():
    done = doctest.testmod(module)
    assert (done.attempted, done.failed) == (1, 0)
