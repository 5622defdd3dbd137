"""What the evaluation of a stored -C set costs beside the bare forward passes, and how much memory it takes.

    python benchmarks/evaluation.py                        # WRN-16-1, RGB, 2,000 images a cell, 15 cells
    python benchmarks/evaluation.py --images 10000 --cells 75 --backbone wrn40_2
    python benchmarks/evaluation.py --device cuda --backbone wrn40_2 --images 10000 --cells 75
    python benchmarks/evaluation.py --ahead --data-dir DIR # the next cell's images meanwhile, or one after the other

A -C set of random images is written to a temporary folder. In turn, for every cell, an EvaluationModule measures it in
full (reading, predicting, gathering, intervals, writing rows and per-image files), and a bare loop runs the same model
over the same images, which are in memory as one tensor; each cell's ratio is printed. Then all cells are measured in
one evaluation. The peak of the process's memory is reported after the clean test set alone and after everything.

With ``--ahead`` the same cells, stored and generated, are evaluated in turn as ``evaluate.py`` does it, images prepared
while the model runs, and the plain way, images and model taking turns; the ratio is the median of the rounds'. With
``--data-dir`` the images are CIFAR-10's. ``--wait-ms`` puts a wait in the place of the network, so many milliseconds a
batch: a device that computes while the host has its cores for the images.
"""

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path

import numpy as np
import torch

from p2be_exp.config import training_config
from p2be_exp.corruptions import TEST
from p2be_exp.data import ImageDataModule, ImageSet
from p2be_exp.evaluation.corrupted.condition_loader import Ahead
from p2be_exp.evaluation.corrupted.generated import GeneratedImages
from p2be_exp.evaluation.corrupted.images import CorruptedImages
from p2be_exp.evaluation.corrupted.own_files import OwnFiles
from p2be_exp.evaluation.module import EvaluationModule, condition_loader, list_conditions
from p2be_exp.evaluation.results import CLEAN, Condition, Results
from p2be_exp.models.model import build_model
from p2be_exp.system.trainer import build_trainer

if not __package__:  # run as a file: the package that it belongs to is found from the folder above
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.hardware import hardware
from benchmarks.memory import resident_peak
from benchmarks.turns import synchronize


def random_data(images: int, batch_size: int) -> ImageDataModule:
    """A made-up test set in the shape of CIFAR-100."""
    data = ImageDataModule(
        "cifar100", "", batch_size=128, eval_batch_size=batch_size, seed=0, limit_train=None, limit_test=None,
        val_size=0, split_seed=0, download=False,
    )  # fmt: skip
    levels = torch.randint(0, 256, (images, 3, 32, 32), dtype=torch.uint8)
    data._total_test = images
    data._sets["test"] = ImageSet(levels, torch.arange(images) % 100, tuple(map(str, range(100))))
    return data


def cifar10(folder: Path, images: int, batch_size: int) -> ImageDataModule:
    """Some of CIFAR-10's test images."""
    data = ImageDataModule(
        "cifar10", folder, batch_size=128, eval_batch_size=batch_size, seed=0, limit_train=None, limit_test=images,
        val_size=0, split_seed=0, download=False, test_only=True,
    )  # fmt: skip
    data.prepare_data()
    data.setup()
    return data


class Waiting(torch.nn.Module):
    """A network that takes its time and no processor; its logits are means of an image's rows."""

    def __init__(self, ms: float) -> None:
        super().__init__()
        self.ms = ms

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        time.sleep(self.ms / 1000)
        return images.float().mean(dim=(1, 3))[:, :10]


def write_set(folder: Path, names: tuple[str, ...], clean: ImageSet) -> None:
    """Random images in the layout of CIFAR-100-C, beside the labels and numbers of the clean ones."""
    numbers = np.random.default_rng(0)
    for name in names:
        np.save(folder / f"{name}.npy", numbers.integers(256, size=(5 * len(clean), 32, 32, 3), dtype=np.uint8))
    np.save(folder / "labels.npy", np.tile(clean.labels.numpy(), 5).astype(np.uint8))
    np.save(folder / "indices.npy", clean.indices.numpy())


@torch.no_grad()
def bare(model: torch.nn.Module, images: torch.Tensor, batch_size: int, device: torch.device) -> float:
    """Seconds of the forward passes over images that are where the model is."""
    start = time.perf_counter()
    for batch in images.split(batch_size):
        model(batch)
    synchronize(device)
    return time.perf_counter() - start


class StoredCells:
    """A network and a stored -C set of random images, to be evaluated cell by cell.

    Args:
        folder: an empty one, for the set and the results.
        encoding, backbone: names.
        images: a cell.
        cells: how many, in the published order.
        batch_size: images a batch.
        device: of the evaluation.
        data: the clean test images; None for random ones.
        wait_ms: of a batch, in the place of the network; None for the network.

    Attributes:
        cells: their conditions.
        images: a cell.
    """

    def __init__(
        self,
        folder: Path,
        encoding: str,
        backbone: str,
        images: int,
        cells: int,
        batch_size: int,
        device: torch.device,
        data: ImageDataModule | None = None,
        wait_ms: float | None = None,
    ) -> None:
        trainer = "gpu" if device.type == "cuda" else "cpu"
        overrides = [f"encoding={encoding}", f"backbone={backbone}", f"trainer={trainer}"]
        self._config = training_config(overrides)
        self._model = build_model(self._config, 100).eval() if wait_ms is None else Waiting(wait_ms)
        self._data = random_data(images, batch_size) if data is None else data
        names = TEST[: -(-cells // 5)]
        write_set(folder, names, self._data.test_set())
        self._corrupted = OwnFiles(folder, self._data.name, names, (1, 2, 3, 4, 5), key="dir")
        self._folder, self._device, self._batch_size = folder, device, batch_size
        self.images = images
        self.cells = list_conditions(self._corrupted)[1:][:cells]

    def evaluate(
        self, conditions: Sequence[Condition], name: str, ahead: bool = True, corrupted: CorruptedImages | None = None
    ) -> float:
        """Seconds of an evaluation, whose results go into a folder of this name.

        Args:
            conditions: to be measured.
            name: of the folder.
            ahead: whether the next images are prepared while the model runs, as in every evaluation.
            corrupted: the images; None for the stored ones.
        """
        corrupted = self._corrupted if corrupted is None else corrupted
        results = Results(self._folder / name, {}, plan=corrupted.plan)
        trainer = build_trainer(
            self._config.trainer, precision="32-true", enable_checkpointing=False, enable_progress_bar=False
        )
        self._data.trainer = trainer
        loaders = [condition_loader(condition, self._data, corrupted) for condition in conditions]
        start = time.perf_counter()
        with Ahead(loaders) if ahead else nullcontext():
            trainer.test(EvaluationModule(self._model, conditions, results), loaders, verbose=False)
        return time.perf_counter() - start

    def in_turn(self, rounds: int) -> Iterator[tuple[str, float, float]]:
        """Stored and generated cells in each round: their seconds images and model in turn, and images ahead."""
        generated = GeneratedImages(self._data.name, self._corrupted.plan.names, self._corrupted.plan.severities, 0)
        sources: dict[str, CorruptedImages] = {"stored": self._corrupted, "generated": generated}
        for number in range(-1, rounds):  # the first one compiles generators, and does not count
            for source, corrupted in sources.items():
                cells = [cell for cell in self.cells if (cell.name, cell.severity) in corrupted.plan.cells]
                plain, ahead = (self.evaluate(cells, f"{source}{number}{a}", a, corrupted) for a in (False, True))
                if number >= 0:
                    yield source, plain, ahead

    def ratios(self) -> Iterator[tuple[Condition, float]]:
        """Each cell with the time of its evaluation over that of the bare passes before and after it."""
        for number, cell in enumerate(self.cells):
            block = torch.from_numpy(np.array(self._corrupted.stored.block(cell.name, cell.severity)))
            images = block.permute(0, 3, 1, 2).contiguous().to(self._device)
            alone = [self._bare(images)]
            full = self.evaluate([cell], f"cell{number}")
            alone.append(self._bare(images))
            yield cell, full / statistics.mean(alone)

    def _bare(self, images: torch.Tensor) -> float:
        self._model.to(self._device)  # an evaluation brings it back to the host
        return bare(self._model, images, self._batch_size, self._device)


@contextmanager
def stored_cells(*settings: object) -> Iterator[StoredCells]:
    """:class:`StoredCells` in a temporary folder, after a first evaluation of the clean images."""
    with tempfile.TemporaryDirectory() as folder:
        stored = StoredCells(Path(folder), *settings)
        stored.evaluate([CLEAN], "clean")
        yield stored


def print_ahead(stored: StoredCells, rounds: int) -> None:
    """The rounds and their ratios."""
    ratios: dict[str, list[float]] = {}
    for source, plain, ahead in stored.in_turn(rounds):
        ratios.setdefault(source, []).append(ahead / plain)
        print(f"{source}: {plain:.2f} s in turn, {ahead:.2f} s ahead", flush=True)
    for source, each in ratios.items():
        low, middle, high = statistics.quantiles(each, n=4) if len(each) > 1 else each * 3
        print(f"{source}: images ahead over in turn {middle:.3f} (quartiles {low:.3f} to {high:.3f})")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=2000)
    parser.add_argument("--cells", type=int, default=15)
    parser.add_argument("--backbone", default="wrn16_1")
    parser.add_argument("--encoding", default="rgb")
    parser.add_argument("--batch-size", type=int, default=1000)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--ahead", action="store_true", help="images prepared meanwhile against one after the other")
    parser.add_argument("--rounds", type=int, default=7, help="with --ahead")
    parser.add_argument("--data-dir", type=Path, help="that holds CIFAR-10; default: random images")
    parser.add_argument("--wait-ms", type=float, help="a wait a batch in the place of the network")
    arguments = parser.parse_args()
    device = torch.device(arguments.device)
    print(hardware(device))
    print(
        f"{arguments.backbone}, {arguments.encoding}, {arguments.cells} cells of {arguments.images} images", flush=True
    )
    settings = (arguments.encoding, arguments.backbone, arguments.images, arguments.cells, arguments.batch_size, device)
    data = arguments.data_dir and cifar10(arguments.data_dir, arguments.images, arguments.batch_size)
    with stored_cells(*settings, data, arguments.wait_ms) as stored:
        if arguments.ahead:
            print_ahead(stored, arguments.rounds)
            return
        after_clean, ratios = resident_peak(), []
        for cell, ratio in stored.ratios():
            ratios.append(ratio)
            print(f"{cell.id}: {ratio:.3f} times its bare forward passes", flush=True)
        whole = stored.evaluate(stored.cells, "whole")
        print(f"all cells in one evaluation: {whole:.1f} s, {len(ratios) * stored.images / whole:,.0f} images/s")
    low, middle, high = statistics.quantiles(ratios, n=4) if len(ratios) > 1 else ratios * 3
    print(f"a cell's evaluation over its bare forward passes: {middle:.3f} (quartiles {low:.3f} to {high:.3f})")
    print(f"peak memory: {after_clean:.2f} GiB after the clean images, {resident_peak():.2f} GiB after all cells")


if __name__ == "__main__":
    main()
