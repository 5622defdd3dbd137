"""Channel groups of feature maps, all images at once, over the same method image by image, in NumPy.

    OMP_NUM_THREADS=1 python benchmarks/channel_groups.py      # 128 maps of 512 x 16 x 16, one thread
    python benchmarks/channel_groups.py --device cuda --slow 4

Maps are random mixtures of a few common ones with noise, after a ReLU; in every second row half of the channels of each
map are zero. The forms take turns; medians are reported, of seconds and, on a CPU, of the processor's time, which does
not grow when others use the machine. The image-by-image form takes the squared differences to every centre in float32.
It is timed on the first ``--slow`` maps, and its time multiplied up to all of them.
"""

import argparse
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from p2be_exp.randomness.draws import ImageRandom, Purpose
from p2be_exp.regimes.channel_groups import channel_groups, first_centres

if not __package__:  # run as a file: the package that it belongs to is found from the folder above
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.hardware import hardware
from benchmarks.turns import synchronize

K = 6


def feature_maps(n: int, channels: int, side: int, dead: bool) -> Tensor:
    """What to group: ``(n, channels, side, side)``; with ``dead``, every second channel is zero."""
    generator = torch.Generator().manual_seed(0)
    common = torch.randn(n, 12, side * side, generator=generator)
    maps = torch.randn(n, channels, 12, generator=generator) @ common
    maps = (maps + torch.randn(maps.shape, generator=generator)).relu_().view(n, channels, side, side)
    if dead:
        maps[:, ::2] = 0
    return maps


def one_by_one(maps: np.ndarray, centres: np.ndarray) -> np.ndarray:
    """Groups of ``(n, C, D)``: a loop over images, rounds and groups."""
    groups = np.empty(maps.shape[:2], dtype=np.int64)
    for image, (points, first) in enumerate(zip(maps, centres, strict=True)):
        chosen = first
        for _ in range(50):
            to_centres = np.stack([np.square(points - points[centre]).sum(1) for centre in chosen])
            groups[image] = to_centres.argmin(0)
            following = next_centres(points, groups[image])
            moved = np.linalg.norm(points[chosen] - points[following], axis=1).sum()
            chosen = following
            if moved**2 < 1e-4:
                break
    return groups


def next_centres(points: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """For each group the channel nearest to its mean that none before it took; for an empty one the lowest."""
    free = np.ones(len(points), dtype=bool)
    chosen = []
    for k in range(K):
        members = groups == k
        mean = points[members].mean(0) if members.any() else None
        to_mean = np.zeros(len(points)) if mean is None else np.square(points - mean).sum(1)
        to_mean = np.where(free, to_mean, np.inf)
        chosen.append(int(np.argmax(to_mean <= to_mean.min() * (1 + 1e-6))))
        free[chosen[-1]] = False
    return np.array(chosen)


def timed(work: Callable[[], object], device: torch.device) -> tuple[float, float]:
    """Seconds, and seconds of this process's processors."""
    wall, cpu = time.perf_counter(), time.process_time()
    work()
    synchronize(device)
    return time.perf_counter() - wall, time.process_time() - cpu


def measure(
    n: int, channels: int, side: int, slow: int, rounds: int, device: torch.device
) -> Iterator[tuple[str, list[float], list[float], float]]:
    """For maps without and with dead channels: seconds and processor's seconds at once and one by one; equal images."""
    for dead in (False, True):
        maps = feature_maps(n, channels, side, dead).to(device)
        random = ImageRandom(0, 0, torch.arange(n, device=device), Purpose.TENET_GROUPS)
        points, found = maps[:slow].flatten(2).cpu().numpy(), {}
        centres = first_centres(random, channels, K).cpu().numpy()[:slow]

        def at_once(maps: Tensor = maps, random: ImageRandom = random, found: dict = found) -> None:
            found["at once"] = channel_groups(maps, first_centres(random, channels, K))

        def by_image(points: np.ndarray = points, centres: np.ndarray = centres, found: dict = found) -> None:
            found["by image"] = one_by_one(points, centres)

        at_once()  # warm-up
        times = [[*timed(at_once, device), *timed(by_image, device)] for _ in range(rounds)]
        wall, cpu, slow_wall, slow_cpu = (statistics.median(each) for each in zip(*times, strict=True))
        scale = n / len(points)
        equal = (found["at once"][:slow].cpu().numpy() == found["by image"]).all(1).mean()
        what = "half dead" if dead else "all alive"
        yield what, [wall, scale * slow_wall], [cpu, scale * slow_cpu], float(equal)


def main() -> None:
    """Measure and print a table in Markdown, row by row."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--maps", type=int, default=128)
    parser.add_argument("--channels", type=int, default=512)
    parser.add_argument("--side", type=int, default=16)
    parser.add_argument("--slow", type=int, default=16, help="maps that the image-by-image form is timed on")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    device = torch.device(arguments.device)
    print(f"{hardware(device)}; NumPy {np.__version__}")
    print(f"{arguments.maps} maps of {arguments.channels} x {arguments.side} x {arguments.side}, {K} groups\n")
    print("| channels | s at once | CPU s at once | s by image | CPU s by image | ratio | CPU ratio | equal images |")
    print("|" + "---|" * 8, flush=True)
    settings = (arguments.maps, arguments.channels, arguments.side, arguments.slow, arguments.rounds, device)
    for what, (wall, slow_wall), (cpu, slow_cpu), equal in measure(*settings):
        row = f"| {what} | {wall:.2f} | {cpu:.2f} | {slow_wall:.1f} | {slow_cpu:.1f} "
        print(f"{row}| {slow_wall / wall:.1f} | {slow_cpu / cpu:.1f} | {equal:.0%} |", flush=True)


if __name__ == "__main__":
    main()
