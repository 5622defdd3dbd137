"""Images that are prepared while the condition before is measured: the plain form's rows, and never many in memory."""

import itertools
import threading
import weakref
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from p2be_exp.config import training_config
from p2be_exp.data import ImageDataModule, ImageSet, ResidentLoader
from p2be_exp.data.batch import Part
from p2be_exp.errors import BadInput
from p2be_exp.evaluation import module as evaluation
from p2be_exp.evaluation.condition import CLEAN, Condition
from p2be_exp.evaluation.corrupted.condition_loader import Ahead, ConditionLoader
from p2be_exp.evaluation.corrupted.generated import GeneratedImages
from p2be_exp.evaluation.module import EvaluationModule, condition_loader, list_conditions
from p2be_exp.evaluation.results import Results
from p2be_exp.system.trainer import build_trainer
from two_ranks import on_two_ranks

NAMES = ("gaussian_noise", "fog", "contrast")
CPU = torch.device("cpu")
PATIENCE = 60


class Mean(nn.Module):
    """A network that takes no time: its ten logits are means of an image's rows."""

    def forward(self, images):
        return images.float().mean(dim=(1, 3))[:, :10] / 100


def digits(batch_size=7, limit=20):
    data = ImageDataModule(
        "digits", "", batch_size=8, eval_batch_size=batch_size, seed=0, limit_train=None, limit_test=limit, val_size=0,
        split_seed=0, download=False, test_only=True,
    )  # fmt: skip
    data.setup()
    return data


def measure(folder, conditions, loaders, ahead=True, model=None, main=True, trainer="cpu"):
    results = Results(folder, {}) if main else None
    settings = {"enable_checkpointing": False, "enable_progress_bar": False, "default_root_dir": folder}
    test = build_trainer(training_config([f"trainer={trainer}"]).trainer, **settings).test
    module = EvaluationModule(model or Mean(), conditions, results)
    if not ahead:
        test(module, loaders(), verbose=False)
        return
    with Ahead(made := loaders()):
        test(module, made, verbose=False)
    assert not preparing()


def preparing():
    return [each for each in threading.enumerate() if each.name.startswith("corruptions")]


def arrays(folder):
    found = {}
    for file in sorted((folder / "per_image").iterdir()):
        with np.load(file) as saved:
            found |= {f"{file.stem} {name}": saved[name].tolist() for name in saved}
    return found


def of_digits(data):
    made = GeneratedImages("digits", NAMES, (1, 5), seed=0, workers=3)
    conditions = list_conditions(made)
    return conditions, lambda: [condition_loader(each, data, made) for each in conditions]


def test_every_array_is_that_of_images_and_model_in_turn(tmp_path):
    conditions, loaders = of_digits(digits())
    for ahead in (False, True):
        measure(tmp_path / str(ahead), conditions, loaders, ahead)
    plain = arrays(tmp_path / "False")
    assert len(plain) == 7 * 5
    assert arrays(tmp_path / "True") == plain


def test_two_ranks_have_the_same_arrays(tmp_path):
    conditions, loaders = of_digits(digits())
    measure(tmp_path / "plain", conditions, loaders, ahead=False)

    def share(rank):
        data = digits()
        data.trainer = SimpleNamespace(
            strategy=SimpleNamespace(root_device=CPU), global_rank=rank, world_size=2, num_devices=2
        )
        conditions, loaders = of_digits(data)
        ranks = SimpleNamespace(world_size=2, num_test_batches=[len(each) for each in loaders()])
        results = Results(tmp_path / "two", {}) if rank == 0 else None
        module = EvaluationModule(Mean(), conditions, results)
        module._trainer = ranks
        type(module).trainer = property(lambda self: self._trainer)
        with Ahead(made := loaders()):
            module.on_test_start()
            for number, loader in enumerate(made):
                for index, batch in enumerate(loader):
                    module.test_step(batch, index, number)
        return len(preparing())

    assert [each.value for each in on_two_ranks(tmp_path, share)] == [0, 0]
    assert arrays(tmp_path / "two") == arrays(tmp_path / "plain")


def loader(images_of, n=6, batch_size=2, workers=1):
    return ConditionLoader(
        images_of, "images", torch.zeros(n, dtype=torch.int64), torch.arange(n), batch_size, device=CPU, workers=workers
    )


def black(positions):
    return Part.whole(np.zeros((len(positions), 3, 16, 8), np.uint8))


def cells(n):
    return [Condition("corruption", "fog", severity=each + 1) for each in range(n)]


def test_the_next_conditions_images_are_made_while_this_one_runs(tmp_path):
    """Clean images, then two cells; a network that waits until the images of the one after are asked for."""
    asked = [threading.Event() for _ in range(3)]

    def images_of(number):
        def made(positions):
            asked[number].set()
            return black(positions)

        return made

    class Waiting(Mean):
        batches = 0

        def forward(self, images):
            following = min(self.batches // 3 + 1, 2)  # three batches a condition
            assert asked[following].wait(PATIENCE)
            self.batches += 1
            return super().forward(images)

    clean = ImageSet(torch.zeros(6, 3, 16, 8, dtype=torch.uint8), torch.zeros(6, dtype=torch.int64), tuple("ab"))
    measure(
        tmp_path,
        [CLEAN, *cells(2)],
        lambda: [ResidentLoader(clean, 2, shuffle_seed=None), loader(images_of(1)), loader(images_of(2))],
        model=Waiting(),
    )
    assert {row.n for row in Results(tmp_path, {}).rows.values()} == {6}


@pytest.mark.parametrize("workers", [1, 3])
def test_the_images_of_many_cells_are_never_all_in_memory(workers):
    """75 cells of 6 images: of what was made, no more is alive than what is on its way and what was just joined."""
    alive, numbers, most = set(), itertools.count(), 0

    def images_of(positions):
        part = black(positions)
        alive.add(number := next(numbers))
        weakref.finalize(part.images, alive.discard, number)
        return part

    loaders = [loader(images_of, workers=workers) for _ in range(75)]
    with Ahead(loaders) as ahead:
        for each in loaders:
            for _ in each:
                most = max(most, len(alive))
    assert most <= max(2 * workers, 2) + 1 + 2
    assert most >= 2
    assert next(numbers) == 75 * 3
    assert ahead._most == max(2 * workers, 2) + 1
    assert not preparing()


def test_what_cannot_be_read_ends_its_own_condition_with_its_own_error(tmp_path):
    """Found while the first cell runs, said when the second one's second batch is due: the first one's row is there."""

    def damaged(positions):
        if 2 in positions:
            raise BadInput("fog.npy has changed since the evaluation began")
        return black(positions)

    with pytest.raises(BadInput, match=r"^fog\.npy has changed since the evaluation began$"):
        measure(tmp_path, cells(3), lambda: [loader(black), loader(damaged), loader(black)])
    assert not preparing()
    assert list(Results(tmp_path, {}).rows) == ["corruption/fog/1"]


def test_a_stop_in_the_middle_ends_the_threads_and_the_rest_is_measured_later(tmp_path):
    class Stopping(Mean):
        batches = 0

        def forward(self, images):
            self.batches += 1
            if self.batches == 5:
                raise KeyboardInterrupt
            return super().forward(images)

    conditions, loaders = of_digits(digits(batch_size=10))
    measure(tmp_path / "whole", conditions, loaders)
    with pytest.raises((KeyboardInterrupt, SystemExit)):
        measure(tmp_path / "stopped", conditions, loaders, model=Stopping())
    assert not preparing()
    missing = Results(tmp_path / "stopped", {}).missing(conditions)
    assert missing == conditions[2:]
    data = digits(batch_size=10)
    made = GeneratedImages("digits", NAMES, (1, 5), seed=0)
    measure(tmp_path / "stopped", missing, lambda: [condition_loader(each, data, made) for each in missing])
    assert arrays(tmp_path / "stopped") == arrays(tmp_path / "whole")


def test_a_set_that_is_not_on_the_host_is_copied_there_once(monkeypatch):
    """The loaders of all cells exist at a time: a copy for each would be 75 test sets."""
    data, copies = digits(), []
    whole = data.test_set()
    monkeypatch.setattr(ImageSet, "to", lambda self, device: copies.append(self.subset(range(len(self)))) or copies[-1])
    made = GeneratedImages("digits", NAMES, (1, 2, 3, 4, 5), seed=0)
    loaders = [condition_loader(each, data, made) for each in list_conditions(made)[1:]]
    assert (len(loaders), len(copies)) == (15, 1)
    assert torch.equal(copies[0].images, whole.images)


def test_the_host_is_at_most_two_batches_ahead_of_a_gpu(monkeypatch):
    """Events of a device that ends a batch only when it is waited for."""
    running = []

    class Event:
        def record(self):
            running.append(self)

        def synchronize(self):
            del running[: running.index(self) + 1]

    monkeypatch.setattr(torch.cuda, "Event", Event)
    pace, ahead = evaluation._Pace(), []
    for _ in range(6):
        pace.begin(torch.device("cuda"))
        ahead.append(len(running))
        pace.end()
    assert ahead == [0, 1, 1, 1, 1, 1]
