"""What the evaluation of a stored -C set costs beside the bare forward passes, and how much memory it takes.

    python benchmarks/evaluation.py                        # WRN-16-1, RGB, 2,000 images a cell, 15 cells
    python benchmarks/evaluation.py --images 10000 --cells 75 --backbone wrn40_2
    python benchmarks/evaluation.py --device cuda --backbone wrn40_2 --images 10000 --cells 75

A -C set of random images is written to a temporary folder. In turn, for every cell, an EvaluationModule measures it in
full (reading, predicting, gathering, intervals, writing rows and per-image files), and a bare loop runs the same model
over the same images, which are in memory as one tensor. The peak of the process's memory is reported after the clean
test set alone and after everything.
"""

import argparse
import platform
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

from p2be_exp.config import compose_config, to_plain
from p2be_exp.corruptions import TEST
from p2be_exp.corruptions.images import OfficialCifarC
from p2be_exp.data import ImageDataModule, ImageSet
from p2be_exp.evaluation import EvaluationModule, condition_loader, list_conditions
from p2be_exp.model import build_model
from p2be_exp.results import CLEAN, Condition, Results
from p2be_exp.trainer import build_trainer


def peak_gib() -> float:
    """The largest resident memory of this process so far (Linux); pages of mapped files are in it."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 2**20


def random_data(images: int, batch_size: int) -> ImageDataModule:
    """A made-up test set in the shape of CIFAR-100."""
    data = ImageDataModule(
        "cifar100", "", batch_size=128, eval_batch_size=batch_size, seed=0, limit_train=None, limit_test=None,
        val_size=0, split_seed=0, download=False,
    )  # fmt: skip
    levels = torch.randint(0, 256, (images, 3, 32, 32), dtype=torch.uint8)
    data._sets["test"] = ImageSet(levels, torch.arange(images) % 100, tuple(map(str, range(100))))
    return data


def write_set(folder: Path, names: tuple[str, ...], images: int) -> None:
    """Random images in the layout of CIFAR-100-C."""
    numbers = np.random.default_rng(0)
    for name in names:
        np.save(folder / f"{name}.npy", numbers.integers(256, size=(5 * images, 32, 32, 3), dtype=np.uint8))
    np.save(folder / "labels.npy", np.tile(np.arange(images) % 100, 5).astype(np.uint8))


@torch.no_grad()
def bare(model: torch.nn.Module, images: torch.Tensor, batch_size: int, device: torch.device) -> float:
    """Seconds of the forward passes over images that are where the model is."""
    start = time.perf_counter()
    for batch in images.split(batch_size):
        model(batch)
    if device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=2000)
    parser.add_argument("--cells", type=int, default=15)
    parser.add_argument("--backbone", default="wrn16_1")
    parser.add_argument("--encoding", default="rgb")
    parser.add_argument("--batch-size", type=int, default=1000)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    arguments = parser.parse_args()
    device = torch.device(arguments.device)
    overrides = [f"encoding={arguments.encoding}", f"backbone={arguments.backbone}"]
    overrides.append(f"trainer={'gpu' if device.type == 'cuda' else 'cpu'}")
    config = to_plain(compose_config("train", overrides))
    model, data = build_model(config, 100).eval(), random_data(arguments.images, arguments.batch_size)
    names = TEST[: -(-arguments.cells // 5)]
    with tempfile.TemporaryDirectory() as folder:
        write_set(Path(folder), names, arguments.images)
        corrupted = OfficialCifarC(Path(folder), "cifar100", names, (1, 2, 3, 4, 5), key="dir")

        def evaluate(conditions: list[Condition], out: str) -> float:
            results = Results(Path(folder) / out, {}, plan=corrupted.plan)
            trainer = build_trainer(
                config["trainer"], precision="32-true", enable_checkpointing=False, enable_progress_bar=False
            )
            data.trainer = trainer
            loaders = [condition_loader(condition, data, corrupted) for condition in conditions]
            start = time.perf_counter()
            trainer.test(EvaluationModule(model, conditions, results), loaders, verbose=False)
            return time.perf_counter() - start

        evaluate([CLEAN], "clean")
        after_clean = peak_gib()
        cells = list_conditions(corrupted)[1:][: arguments.cells]
        whole = evaluate(cells, "whole")
        after_all = peak_gib()
        model.to(device)
        ratios = []
        for number, cell in enumerate(cells):
            block = torch.from_numpy(np.array(corrupted.stored.block(cell.name, cell.severity)))
            images = block.permute(0, 3, 1, 2).contiguous().to(device)
            alone = [bare(model, images, arguments.batch_size, device)]
            full = evaluate([cell], f"cell{number}")
            model.to(device)
            alone.append(bare(model, images, arguments.batch_size, device))
            ratios.append(full / statistics.mean(alone))
    where = torch.cuda.get_device_name() if device.type == "cuda" else f"{torch.get_num_threads()} threads"
    print(f"{platform.machine()}, {where}, Python {platform.python_version()}, torch {torch.__version__}")
    print(f"{arguments.backbone}, {arguments.encoding}, {len(cells)} cells of {arguments.images} images")
    print(f"all cells in one evaluation: {whole:.1f} s, {len(cells) * arguments.images / whole:,.0f} images/s")
    low, middle, high = statistics.quantiles(ratios, n=4) if len(ratios) > 1 else ratios * 3
    print(f"a cell's evaluation over its bare forward passes: {middle:.3f} (quartiles {low:.3f} to {high:.3f})")
    print(f"peak memory: {after_clean:.2f} GiB after the clean images, {after_all:.2f} GiB after all cells")


if __name__ == "__main__":
    main()
