"""The data of a run for Lightning: training images, a validation split of them, test images."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytorch_lightning as pl
import torch
from torch import Tensor

from p2be_exp.data.by_name import data_source
from p2be_exp.data.file_loader import FileLoader
from p2be_exp.data.files import AnySet, FileSet
from p2be_exp.data.image_folder import FolderSettings
from p2be_exp.data.loader import EpochLoader, ResidentLoader
from p2be_exp.data.placement import place
from p2be_exp.data.split import limit_test, split_train
from p2be_exp.system.threads import usable_cpus


class ImageDataModule(pl.LightningDataModule):
    """Loaders over one data set. Works with a Trainer (device and ranks are the Trainer's) and without one.

    The Trainer needs `use_distributed_sampler=False`: the loaders share batches among ranks themselves. The
    test images are in `test_dataloader` only, never among those that choose a checkpoint.

    Args:
        name: one of `list_datasets()`.
        data_dir: the folder that holds the folders of the data sets.
        batch_size: training images in a global batch, over all ranks.
        eval_batch_size: validation or test images in a global batch, over all ranks.
        seed: of the order of the training images in each epoch.
        limit_train: number of images to train on; None is all that are not held out.
        limit_test: number of test images; None is all.
        val_size: number of training images held out for validation; 0 is none.
        split_seed: of the choice of images for the three above; `seed` plays no part in it.
        download: fetch missing files.
        folder: of a data set of picture files: where it is, and how its pictures become images.
        test_only: load only the test images; of picture files no others need exist.

    Raises:
        BadInput: no such data set; in `prepare_data` and `setup`: files are missing or damaged, or more
            images are asked for than there are.
    """

    name: str

    def __init__(
        self,
        name: str,
        data_dir: str | Path,
        *,
        batch_size: int,
        eval_batch_size: int,
        seed: int,
        limit_train: int | None,
        limit_test: int | None,
        val_size: int,
        split_seed: int,
        download: bool,
        folder: FolderSettings | None = None,
        test_only: bool = False,
    ) -> None:
        super().__init__()
        self.name = name
        self.batch_size = batch_size
        self.eval_batch_size = eval_batch_size
        self.seed = seed
        self.limit_train = limit_train
        self.limit_test = limit_test
        self.val_size = val_size
        self.split_seed = split_seed
        self.download = download
        self.folder = replace(folder, test_only=True) if folder is not None and test_only else folder
        self.test_only = test_only
        self.source = data_source(name, data_dir, self.folder)
        self._sets: dict[str, AnySet] = {}
        self._with_workers: list[FileLoader] = []
        self._total_test = 0
        self._test_files: FileSet | None = None  # all of them
        self.stop: Callable[[], int | None] = lambda: None
        """The stop signal that has come, None before; to be set by who listens to them."""

    def prepare_data(self) -> None:
        """Fetch missing files. Lightning calls this in one process a machine, before any `setup`."""
        self.source.fetch(self.download)

    def setup(self, stage: str | None = None) -> None:
        """Read and split the data, once: Lightning calls this again for each of fit, validate and test."""
        if self._sets:
            return
        train, test = self.source.load()
        if not self.test_only:
            assert train is not None  # they were asked for
            kept, held_out = split_train(len(train), self.val_size, self.limit_train, self.split_seed)
            self._sets["train"] = train.subset(kept)
            if len(held_out):
                self._sets["val"] = train.subset(held_out)
        self._total_test = len(test)
        self._test_files = test if isinstance(test, FileSet) else None
        self._sets["test"] = test.subset(limit_test(len(test), self.limit_test, self.split_seed))

    @property
    def num_classes(self) -> int:
        """Number of classes; of picture files known after `setup`, of other data sets before any data is read."""
        known = self.source.num_classes
        return len(self.classes) if known is None else known

    @property
    def image_size(self) -> int:
        """Height and width in pixels, known before any data is read."""
        return cast("int", self.source.image_size)

    @property
    def classes(self) -> tuple[str, ...]:
        """The names of the classes, in the order of their labels; known after `setup`."""
        return self._sets["test"].classes

    @property
    def total_test(self) -> int:
        """Number of test images of the data set, of which `limit_test` may leave some out; known after `setup`."""
        return self._total_test

    def files_digest(self) -> str | None:
        """SHA-256 of the names and labels of the test pictures; None where the data set is not one of picture files.

        It differs where the pictures of a folder have changed, and between two folders.
        """
        test = self._sets["test"]
        return test.digest() if isinstance(test, FileSet) else None

    def digests(self) -> dict[str, str]:
        """The same of the pictures of each split (``train``, ``val``, ``test``); empty for other data sets."""
        return {split: data.digest() for split, data in self._sets.items() if isinstance(data, FileSet)}

    def fingerprint(self, indices: Tensor) -> dict[str, Any]:
        """What distinguishes test pictures from others of the same name, see :meth:`FileSet.fingerprint`.

        Args:
            indices: int64 `(n,)`, ascending, of the pictures that are meant, whether they are used here or not; those
                that the data set does not have are skipped.

        Returns:
            Empty where the data set is not one of picture files.
        """
        if self._test_files is None:
            return {}
        positions = torch.isin(self._test_files.indices, indices).nonzero().squeeze(1)
        return self._test_files.subset(positions).fingerprint()

    def test_set(self) -> AnySet:
        """The test images that are used, on the device, on the host, or in their files."""
        return self._sets["test"]

    def placement(self) -> tuple[torch.device, int, int]:
        """The device of the batches, this process's rank, and the number of processes that share each batch."""
        if self.trainer is None:
            return torch.device("cpu"), 0, 1
        return self.trainer.strategy.root_device, self.trainer.global_rank, self.trainer.world_size

    def train_dataloader(self) -> EpochLoader:
        return self._loader("train", self.batch_size, shuffle_seed=self.seed)

    def val_dataloader(self) -> EpochLoader | list[EpochLoader]:
        """The held-out images in order; without any an empty list, which tells Lightning not to validate."""
        return self._loader("val", self.eval_batch_size) if "val" in self._sets else []

    def test_dataloader(self) -> EpochLoader:
        return self._loader("test", self.eval_batch_size)

    def close(self) -> None:
        """End the processes that decode images; later loaders start their own."""
        for loader in self._with_workers:
            loader.close()
        self._with_workers.clear()

    def _loader(self, split: str, batch_size: int, shuffle_seed: int | None = None) -> EpochLoader:
        device, rank, world_size = self.placement()
        where: dict[str, Any] = {"shuffle_seed": shuffle_seed, "device": device, "rank": rank, "world_size": world_size}
        data = self._sets[split]
        if isinstance(data, FileSet):
            training, folder = split == "train", self.folder
            assert folder is not None  # picture files have settings
            loader = FileLoader(
                data,
                batch_size,
                workers=self._workers(),
                crop_seed=self.seed if training and folder.resized_crop else None,
                keep_workers=training,
                timeout=folder.timeout,
                # In training only: in the middle of a validation there is nothing that could be saved.
                stop=(lambda: self.stop()) if training else (lambda: None),
                **where,
            )
            self._with_workers.append(loader)
            return loader
        # Kept as placed, so that the next loader over these images copies nothing.
        data = self._sets[split] = place(data, device)
        return ResidentLoader(data, batch_size, **where)

    def _workers(self) -> int:
        """Processes that decode for this one: the cores are shared with the other processes on this machine."""
        if self.folder is not None and self.folder.workers is not None:
            return self.folder.workers
        return max(1, usable_cpus() // (1 if self.trainer is None else self.trainer.num_devices))
