"""Exported classifiers on a CPU: the forms of the stem as torch.export programs and in ONNX Runtime.

    python benchmarks/export.py
    python benchmarks/export.py --backbone resnet18 --size 224 --batch-size 8 --bits 64

Whole networks with random weights, one thread. The candidates take turns in one process; reported are medians of the
processor's time, which other work on the machine hardly moves. This is what ``FOLD_FROM_M`` rests on.
"""

import argparse
import platform
import statistics
import time
from collections.abc import Callable

import onnxruntime
import torch

from p2be_exp.backbones import build_backbone
from p2be_exp.encodings import P2BE
from p2be_exp.export import exported, to_onnx
from p2be_exp.models.model import EncodedClassifier


def candidates(model: EncodedClassifier, size: int) -> dict[str, Callable]:
    """Each way to run the network, by name."""
    programs = {form: exported(model, form, (size, size)) for form in ("lookup", "folded")}
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    onnx = to_onnx(programs["lookup"]).SerializeToString()
    session = onnxruntime.InferenceSession(onnx, options, providers=["CPUExecutionProvider"])
    return {
        "this package": model,
        **{f"torch.export, {form}": program.module() for form, program in programs.items()},
        "ONNX Runtime, lookup": lambda images: session.run(None, {"images": images.numpy()}),
    }


@torch.no_grad()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backbone", default="wrn40_2")
    parser.add_argument("--size", type=int, default=32)
    parser.add_argument("--batch-size", type=int, default=100)
    parser.add_argument("--bits", type=int, nargs="+", default=[1, 8, 16, 64])
    parser.add_argument("--repeats", type=int, default=7)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    print(f"{platform.machine()}, one thread, torch {torch.__version__}, "
          f"onnxruntime {onnxruntime.__version__}; {arguments.backbone}, {arguments.batch_size} images of "
          f"{arguments.size} x {arguments.size}, ms")  # fmt: skip
    for bits in arguments.bits:
        model = EncodedClassifier(
            P2BE(bits, smoothness="mean", init="normal", slope_at_zero=4.0), build_backbone(arguments.backbone, 100)
        ).eval()
        images = torch.randint(256, (arguments.batch_size, 3, arguments.size, arguments.size), dtype=torch.uint8)
        ways = candidates(model, arguments.size)
        seconds: dict[str, list[float]] = {name: [] for name in ways}
        for repeat in range(arguments.repeats + 1):
            for name, run in ways.items():
                start = time.process_time()
                run(images)
                if repeat:  # the first warms up
                    seconds[name].append(time.process_time() - start)
        told = "   ".join(f"{name} {1000 * statistics.median(times):.0f}" for name, times in seconds.items())
        print(f"M = {bits:<4} {told}", flush=True)


if __name__ == "__main__":
    main()
