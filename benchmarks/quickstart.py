"""How far the quickstart's numbers move with the seed, the number of threads and the CPU's instructions.

    python benchmarks/quickstart.py                              # 5 seeds in 3 settings, a row as each run ends
    python benchmarks/quickstart.py --seeds 0 1 --settings avx2/1 --out rows.jsonl
    python benchmarks/quickstart.py --read rows.jsonl            # the ranges of rows that are there

A setting is the CPU capability that PyTorch and oneDNN may use (`native`: this CPU's) and the number of threads.
Another CPU adds up in another order, which the capabilities stand in for: what a network says of images unlike those it
was trained on (dark digits on a grey ground) is decided by the last bits of its first steps.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
CAPABILITIES = {
    "native": {},
    "avx2": {"ATEN_CPU_CAPABILITY": "avx2", "ONEDNN_MAX_CPU_ISA": "AVX2"},
    "default": {"ATEN_CPU_CAPABILITY": "default", "ONEDNN_MAX_CPU_ISA": "AVX2"},
}
SETTINGS = ("native/2", "avx2/1", "default/1")
CELLS = ("gaussian_noise/5", "glass_blur/5", "snow/5", "fog/3", "brightness/5", "contrast/2", "jpeg_compression/5")


def run(seed: int, setting: str, overrides: Iterable[str]) -> dict[str, Any]:
    """Train and measure once, in a folder that is thrown away; the numbers of a row."""
    capability, threads = setting.split("/")
    environment = {**os.environ, **CAPABILITIES[capability], "OMP_NUM_THREADS": threads}
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, ROOT / "train.py", "experiment=quickstart", "trainer.progress=false", f"seed={seed}"]
        start = time.perf_counter()
        process = subprocess.run(
            [*command, *overrides, f"hydra.run.dir={folder}/run"], env=environment, capture_output=True, text=True
        )
        if process.returncode:
            raise SystemExit(process.stderr)
        seconds = time.perf_counter() - start
        return {"setting": setting, "seed": seed, "seconds": round(seconds), **numbers(Path(folder, "run"))}


def numbers(folder: Path) -> dict[str, float]:
    """The errors in percent that a run's table begins with, its means, and some cells."""
    results = json.loads((folder / "results.json").read_text(encoding="utf-8"))
    conditions = results["conditions"]
    found = {name: row["error"] for name, row in conditions.items() if not name.startswith("corruption/")}
    found |= {f"corruption/{cell}": row["error"] for cell in CELLS if (row := conditions.get(f"corruption/{cell}"))}
    return found | {"mean corruption error": results["mean_corruption_error"]}


def ranges(rows: list[dict[str, Any]]) -> str:
    """A table of the smallest, the middle and the largest value of each number."""
    lines = [f"{len(rows)} runs", "| error % | smallest | median | largest |", "|---|---|---|---|"]
    for name in [key for key in rows[0] if key not in ("setting", "seed", "seconds")]:
        values = sorted(row[name] for row in rows if row.get(name) is not None)
        if values:
            lines.append(f"| {name} | {values[0]:.1f} | {values[len(values) // 2]:.1f} | {values[-1]:.1f} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=range(5))
    parser.add_argument("--settings", nargs="+", default=SETTINGS, help="native, avx2 or default, a slash, threads")
    parser.add_argument("--overrides", nargs="*", default=[], help="of train.py")
    parser.add_argument("--out", type=Path, help="a file of JSON lines; rows are added")
    parser.add_argument("--read", type=Path, nargs="+", help="print the ranges of these files")
    arguments = parser.parse_args()
    if arguments.read:
        rows = [json.loads(line) for file in arguments.read for line in file.read_text().splitlines()]
        print(ranges(rows))
        return
    rows = []
    for seed in arguments.seeds:
        for setting in arguments.settings:
            rows.append(run(seed, setting, arguments.overrides))
            print(json.dumps(rows[-1]), flush=True)
            if arguments.out:
                with arguments.out.open("a", encoding="utf-8") as file:
                    file.write(json.dumps(rows[-1]) + "\n")
    print(ranges(rows))


if __name__ == "__main__":
    main()
