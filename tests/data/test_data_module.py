"""The data module: what Lightning is given, with and without a Trainer, and resuming through Lightning."""

from types import SimpleNamespace

import pytest
import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import ModelCheckpoint

from p2be_exp.data.module import ImageDataModule
from p2be_exp.errors import BadInput

DEFAULTS = {
    "batch_size": 25,
    "eval_batch_size": 40,
    "seed": 0,
    "limit_train": 110,
    "limit_test": 50,
    "val_size": 0,
    "split_seed": 0,
    "download": False,
}


def make(name="digits", data_dir=".", **changed) -> ImageDataModule:
    return ImageDataModule(name, data_dir, **{**DEFAULTS, **changed})


def ready(**changed) -> ImageDataModule:
    data = make(**changed)
    data.prepare_data()
    data.setup()
    return data


def served(loader) -> list[int]:
    return [int(index) for batch in loader for index in batch.indices[: batch.count]]


class Recorder(pl.LightningModule):
    """A model of one weight that notes the images of each stage, epoch by epoch."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(()))
        self.seen = {"train": [], "val": [], "test": []}

    def _note(self, stage, batch):
        self.seen[stage].append((self.current_epoch, *batch.indices.tolist()))

    def training_step(self, batch, batch_idx):
        self._note("train", batch)
        return batch.scale * (self.weight - batch.labels.float().mean()) ** 2

    def validation_step(self, batch, batch_idx):
        self._note("val", batch)

    def test_step(self, batch, batch_idx):
        self._note("test", batch)

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)


def trainer(tmp_path, *callbacks, **options) -> pl.Trainer:
    quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
    defaults = {"max_epochs": 3, "num_sanity_val_steps": 0, "accelerator": "cpu", "devices": 1}
    return pl.Trainer(
        default_root_dir=tmp_path,
        callbacks=list(callbacks),
        use_distributed_sampler=False,
        enable_checkpointing=any(isinstance(callback, ModelCheckpoint) for callback in callbacks),
        **{**defaults, **quiet, **options},
    )


def test_classes_and_image_size_are_known_before_any_data_is_read(tmp_path):
    data = make("cifar100", tmp_path / "empty")
    assert (data.num_classes, data.image_size) == (100, 32)


def test_without_a_trainer_it_serves_everything_on_the_host():
    data = ready(limit_train=None, limit_test=None)
    assert sorted(served(data.train_dataloader())) == list(range(1297))
    assert served(data.test_dataloader()) == list(range(500))
    assert data.val_dataloader() == []


def test_the_seed_moves_the_order_and_nothing_else():
    one, two = (ready(seed=seed, val_size=30) for seed in (1, 2))
    assert served(one.train_dataloader()) != served(two.train_dataloader())
    assert sorted(served(one.train_dataloader())) == sorted(served(two.train_dataloader()))
    assert served(one.val_dataloader()) == served(two.val_dataloader())
    assert served(one.test_dataloader()) == served(two.test_dataloader())


def test_limits_and_splits_have_their_sizes_and_do_not_overlap():
    data = ready(val_size=30)
    train, val = served(data.train_dataloader()), served(data.val_dataloader())
    assert (len(train), len(val), len(served(data.test_dataloader()))) == (110, 30, 50)
    assert not set(train) & set(val)
    assert len(data.train_dataloader()) == 5


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"val_size": 1297}, r"dataset\.val_size=1297"),
        ({"limit_train": 1298}, "limit_train=1298"),
        ({"limit_test": 501}, "limit_test=501"),
    ],
)
def test_asking_for_more_images_than_there_are_is_refused(changed, message):
    with pytest.raises(BadInput, match=message):
        ready(**changed)


def test_an_unknown_data_set_is_refused_at_once():
    with pytest.raises(BadInput, match="dataset=nope"):
        make("nope")


def test_missing_files_are_missed_when_the_data_is_prepared(tmp_path):
    with pytest.raises(BadInput, match="dataset=digits"):
        make("cifar10", tmp_path).prepare_data()


def test_the_trainer_decides_rank_and_device():
    shares = []
    for rank in range(3):
        data = ready(val_size=30)
        strategy = SimpleNamespace(root_device=torch.device("cpu"))
        data.trainer = SimpleNamespace(global_rank=rank, world_size=3, strategy=strategy)
        shares.append([served(getattr(data, f"{split}_dataloader")()) for split in ("train", "val", "test")])
    for (one, two, three), size in zip(zip(*shares, strict=True), (110, 30, 50), strict=True):
        assert len({*one, *two, *three}) == len(one) + len(two) + len(three) == size


def test_images_are_placed_once_for_all_loaders():
    data = ready()
    assert data.test_dataloader().data is data.test_dataloader().data


def test_lightning_validates_on_the_held_out_images_and_tests_on_the_test_images(tmp_path):
    data, model = make(val_size=30), Recorder()
    fit = trainer(tmp_path, max_epochs=2)
    fit.fit(model, datamodule=data)
    fit.test(model, datamodule=data, verbose=False)
    train, val, test = (ready(val_size=30)._sets[split].indices.tolist() for split in ("train", "val", "test"))
    for epoch in range(2):
        assert sorted(i for e, *batch in model.seen["train"] if e == epoch for i in batch) == train
        assert [i for e, *batch in model.seen["val"] if e == epoch for i in batch] == val
    assert [i for _, *batch in model.seen["test"] for i in batch] == test
    assert model.seen["train"][0][1:] != model.seen["train"][5][1:]


def test_without_a_validation_split_lightning_does_not_validate(tmp_path):
    data, model = make(), Recorder()
    fit = trainer(tmp_path, max_epochs=1, num_sanity_val_steps=2)
    fit.fit(model, datamodule=data)
    assert len(model.seen["train"]) == 5
    assert model.seen["val"] == []


@pytest.mark.parametrize("val_size", [0, 30])
def test_lightning_resumes_after_any_batch_with_exactly_the_rest(tmp_path, val_size):
    every_batch = ModelCheckpoint(tmp_path, "{step}", every_n_train_steps=1, save_top_k=-1)
    whole = Recorder()
    trainer(tmp_path, every_batch).fit(whole, datamodule=make(val_size=val_size))
    assert len(whole.seen["train"]) == 15
    for step in range(1, 15):
        rest = Recorder()
        checkpoint = tmp_path / f"step={step}.ckpt"
        trainer(tmp_path).fit(rest, datamodule=make(val_size=val_size), ckpt_path=checkpoint, weights_only=True)
        assert rest.seen["train"] == whole.seen["train"][step:], step
        assert rest.weight.equal(whole.weight), step


def test_lightning_resumes_after_an_epoch_with_the_next(tmp_path):
    every_epoch = ModelCheckpoint(tmp_path, "{epoch}", save_top_k=-1, save_on_train_epoch_end=True)
    whole = Recorder()
    trainer(tmp_path, every_epoch).fit(whole, datamodule=make())
    for epoch in range(2):
        rest = Recorder()
        checkpoint = tmp_path / f"epoch={epoch}.ckpt"
        trainer(tmp_path).fit(rest, datamodule=make(), ckpt_path=checkpoint, weights_only=True)
        assert rest.seen["train"] == whole.seen["train"][5 * (epoch + 1) :]
        assert rest.weight.equal(whole.weight)
