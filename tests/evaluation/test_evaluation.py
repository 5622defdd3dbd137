"""Evaluation through Lightning: every image exactly once, and rows that equal a plain loop's."""

from dataclasses import replace
from types import SimpleNamespace
from typing import ClassVar

import numpy as np
import pytest
import torch
from torch import nn

from p2be_exp.backbones import build_backbone
from p2be_exp.config import compose_config, to_plain
from p2be_exp.config.schema import EvaluateConfig
from p2be_exp.config.typed import typed
from p2be_exp.data import Batch, ImageDataModule, ImageSet, ResidentLoader
from p2be_exp.errors import BadInput
from p2be_exp.evaluation import module as evaluation
from p2be_exp.evaluation.condition import CLEAN, Condition
from p2be_exp.evaluation.module import EvaluationModule, condition_loader, list_conditions
from p2be_exp.evaluation.results import Results
from p2be_exp.models.model import EncodedClassifier
from p2be_exp.system.trainer import build_trainer
from two_ranks import on_two_ranks
from usual import P2BE

FOG = Condition("corruption", "fog", severity=1)


def image_set(n: int, first: int = 0) -> ImageSet:
    """n random images in an order of their own: image p of this set is number (7 p) mod n + first as published."""
    generator = torch.Generator().manual_seed(first)
    images = torch.randint(256, (n, 3, 8, 8), generator=generator).to(torch.uint8)
    labels = torch.randint(10, (n,), generator=generator)
    return ImageSet(images, labels, tuple("0123456789"), indices=torch.arange(n) * 7 % n + first)


def small_model() -> EncodedClassifier:
    torch.manual_seed(0)
    return EncodedClassifier(P2BE(4), build_backbone("wrn16_1", 10))


def evaluate(model, conditions, sets, folder, batch_size=4) -> Results:
    results = Results(folder, {})
    config = typed(to_plain(compose_config("evaluate", ["run=x", "trainer=cpu"])), EvaluateConfig).trainer
    trainer = build_trainer(config, enable_checkpointing=False, enable_progress_bar=False, default_root_dir=folder)
    loaders = [ResidentLoader(data, batch_size, shuffle_seed=None) for data in sets]
    trainer.test(EvaluationModule(model, conditions, results), loaders, verbose=False)
    return results


@pytest.mark.parametrize("batch_size", [1, 4, 22, 50])
def test_a_row_is_that_of_a_plain_loop(tmp_path, batch_size):
    model, data = small_model(), image_set(22)
    results = evaluate(model, [CLEAN], [data], tmp_path, batch_size)
    model.eval()
    with torch.no_grad():
        predictions = [model(image[None]).argmax().item() for image in data.images]
    by_index = {
        index: (label, prediction)
        for index, label, prediction in zip(data.indices.tolist(), data.labels.tolist(), predictions, strict=True)
    }
    n_wrong = sum(label != prediction for label, prediction in by_index.values())
    assert 0 < n_wrong < 22
    row = results.rows["clean"]
    assert (row.n, row.n_wrong, row.error) == (22, n_wrong, round(100 * n_wrong / 22, 4))
    with np.load(tmp_path / "per_image" / "clean.npz") as saved:
        assert saved["index"].tolist() == list(range(22))  # each once, in the order of the data set as published
        assert list(zip(saved["label"].tolist(), saved["prediction"].tolist(), strict=True)) == [
            by_index[index] for index in range(22)
        ]
        assert saved["wrong"].tolist() == [by_index[index][0] != by_index[index][1] for index in range(22)]


def test_several_conditions_keep_their_own_images(tmp_path):
    model, sets = small_model(), [image_set(10), image_set(9, first=100)]
    results = evaluate(model, [CLEAN, FOG], sets, tmp_path)
    assert [(row.condition, row.n) for row in results.rows.values()] == [("clean", 10), ("corruption/fog/1", 9)]
    for name, numbers in (("clean", range(10)), ("corruption-fog-1", range(100, 109))):
        with np.load(tmp_path / "per_image" / f"{name}.npz") as saved:
            assert saved["index"].tolist() == list(numbers)


def test_each_row_is_written_before_the_next_condition_starts(tmp_path):
    class Stopping(nn.Module):
        calls = 0

        def forward(self, images):
            self.calls += 1
            if self.calls == 4:  # the first batch of the second condition
                raise KeyboardInterrupt
            return torch.zeros(len(images), 10)

    with pytest.raises((KeyboardInterrupt, SystemExit)):
        evaluate(Stopping(), [CLEAN, FOG], [image_set(10), image_set(7)], tmp_path)
    again = Results(tmp_path, {})
    assert again.missing([CLEAN, FOG]) == [FOG]
    assert again.rows["clean"].n == 10


def test_the_model_is_in_eval_mode_and_left_unchanged(tmp_path):
    model = small_model().train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    evaluate(model, [CLEAN], [image_set(8)], tmp_path)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_images_that_only_fill_up_a_share_are_dropped(tmp_path):
    class Loader(ResidentLoader):
        """The last batch shows an image that another rank counts."""

        def __iter__(self):
            for number, batch in enumerate(super().__iter__()):
                yield batch._replace(count=0) if number == 2 else batch

    results = Results(tmp_path, {})
    config = typed(to_plain(compose_config("evaluate", ["run=x", "trainer=cpu"])), EvaluateConfig).trainer
    trainer = build_trainer(config, enable_checkpointing=False, enable_progress_bar=False, default_root_dir=tmp_path)
    trainer.test(
        EvaluationModule(small_model(), [CLEAN], results), Loader(image_set(9), 4, shuffle_seed=None), verbose=False
    )
    assert results.rows["clean"].n == 8


def test_ranks_without_results_write_nothing(tmp_path):
    seen = []

    class Watched(nn.Flatten):
        def forward(self, images):
            seen.append(len(images))
            return super().forward(images)

    module = EvaluationModule(Watched(), [CLEAN], None)
    config = typed(to_plain(compose_config("evaluate", ["run=x", "trainer=cpu"])), EvaluateConfig).trainer
    trainer = build_trainer(config, enable_checkpointing=False, enable_progress_bar=False, default_root_dir=tmp_path)
    trainer.test(module, ResidentLoader(image_set(5), 4, shuffle_seed=None), verbose=False)
    assert list(tmp_path.iterdir()) == []
    assert seen == [4, 1]


def test_every_rank_measures_with_the_batch_norms_of_the_first(tmp_path):
    """At the end of a training those of the others have seen other images; the first one's are saved."""
    data = image_set(22)

    def measure(rank: int) -> None:
        model = small_model()
        for name, buffer in model.named_buffers():
            if "running_mean" in name:
                buffer += rank
        config = typed(
            to_plain(compose_config("evaluate", ["run=x", "trainer=ddp", "trainer.accelerator=cpu"])), EvaluateConfig
        ).trainer
        trainer = build_trainer(config, enable_checkpointing=False, enable_progress_bar=False)
        results = Results(tmp_path / "two", {}) if rank == 0 else None
        loader = ResidentLoader(data, 4, shuffle_seed=None, rank=rank, world_size=2)
        trainer.test(EvaluationModule(model, [CLEAN], results), [loader], verbose=False)

    on_two_ranks(tmp_path, measure)
    evaluate(small_model(), [CLEAN], [data], tmp_path / "one", batch_size=2)
    two, one = (np.load(tmp_path / name / "per_image" / "clean.npz") for name in ("two", "one"))
    assert np.array_equal(two["index"], one["index"])
    assert np.abs(two["confidence"] - one["confidence"]).max() < 1e-5


def test_the_clean_condition_is_the_test_set(tmp_path):
    assert list_conditions(None) == [CLEAN]
    data = ImageDataModule(
        "digits",
        tmp_path,
        batch_size=8,
        eval_batch_size=20,
        seed=0,
        limit_train=None,
        limit_test=50,
        val_size=0,
        split_seed=0,
        download=False,
    )
    data.setup()
    batches = list(condition_loader(CLEAN, data))
    assert all(isinstance(batch, Batch) for batch in batches)
    seen = torch.cat([batch.images for batch in batches])
    assert torch.equal(seen, torch.cat([batch.images for batch in data.test_dataloader()]))
    assert len(seen) == 50


# -- images of which some cannot be read, and ranks -------------------------------------------------------------------


class Changed(ResidentLoader):
    """Batches of which some are changed, by their number."""

    changes: ClassVar[dict[int, dict]] = {}

    def __iter__(self):
        for number, batch in enumerate(super().__iter__()):
            yield batch._replace(**self.changes.get(number, {}))


class Brighter:
    """An attack: every level one higher."""

    id, eps_levels, gradient = "brighter", 1, None

    def __call__(self, model, images, labels, random):
        return SimpleNamespace(images=images + 1, zero_gradient=None, losses=None, broken_at=labels.float(),
                               clamped=None, lost=None)  # fmt: skip


def attacked_examples(tmp_path, changes, batch_size):
    data = image_set(22)
    data = replace(data, indices=2 * data.indices)  # even numbers
    results = Results(tmp_path, {})
    loader = Changed(data, batch_size, shuffle_seed=None)
    loader.changes = changes
    condition = Condition("attack", "brighter", eps_levels=1)
    config = typed(to_plain(compose_config("evaluate", ["run=x", "trainer=cpu"])), EvaluateConfig).trainer
    trainer = build_trainer(config, enable_checkpointing=False, enable_progress_bar=False, default_root_dir=tmp_path)
    module = EvaluationModule(small_model(), [condition], results, {condition.id: Brighter()})
    trainer.test(module, loader, verbose=False)
    return data, results.images(condition.id)["examples"]


def first_of(data, positions):
    """The adversarial images at some positions, in the order of their numbers as published; the first eight."""
    positions = sorted(positions, key=lambda place: int(data.indices[place]))[:8]
    return data.images[positions].numpy() + 1


def test_examples_are_the_first_images_that_count(tmp_path):
    black = {0: {"count": 0}, 1: {"count": 2}}
    data, examples = attacked_examples(tmp_path, black, 4)
    assert np.array_equal(examples, first_of(data, [4, 5, 8, 9, 10, 11, 12, 13]))


def test_examples_of_several_ranks_are_in_the_order_of_the_data_set(tmp_path, monkeypatch):
    other = {}

    def gather(shares, mine):  # the other rank: the same images again, each with the number before it
        (tensors, fault) = mine
        other.update({**tensors, "index": tensors["index"] - 1, "example_index": tensors["example_index"] - 1})
        shares[:] = [mine, (other, fault)]

    monkeypatch.setattr(torch.distributed, "all_gather_object", gather)
    monkeypatch.setattr(evaluation, "_gather", lambda *mine, gather=evaluation._gather: gather(*mine[:2], 2))
    data, examples = attacked_examples(tmp_path, {}, 22)
    numbers = [*data.indices[:8].tolist(), *(data.indices[:8] - 1).tolist()]
    order = np.argsort(numbers)[:8]
    assert np.array_equal(examples, data.images[:8].numpy()[order % 8] + 1)


def test_a_fault_of_another_rank_ends_this_one_too(tmp_path, monkeypatch):
    def gather(shares, mine):
        shares[:] = [mine, (mine[0], "fog/1/x.JPEG: cannot be read")]

    monkeypatch.setattr(torch.distributed, "all_gather_object", gather)
    monkeypatch.setattr(evaluation, "_gather", lambda *mine, gather=evaluation._gather: gather(*mine[:2], 2))
    with pytest.raises(BadInput, match=r"^fog/1/x\.JPEG: cannot be read$"):
        evaluate(small_model(), [CLEAN], [image_set(8)], tmp_path)
    assert Results(tmp_path, {}).rows == {}


def test_a_fault_ends_its_condition(tmp_path):
    with pytest.raises(BadInput, match=r"^x: cannot be read$"):
        attacked_examples(tmp_path, {2: {"fault": "x: cannot be read"}}, 4)
