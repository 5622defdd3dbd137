"""Damage to files: what a full disk, a bad cable, an editor or a stranger leaves of them."""

import csv
import io
import json
import random
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import yaml

ODD = (
    *(None, True, False, 0, -1, 3, 10**30, 0.5, -0.0, float("nan"), float("inf"), 1e308, "", "x", "x" * 300, "a\nb"),
    *("ü", "\x00", "2021-01-01", "null", "1", "../..", "/", "~nobody/x", "${seed}", [], [[]], [None], ["x", 1], {}),
    *({"": 1}, {"name": None}, {"name": "x"}, {"a": {"b": {"c": []}}}, [1] * 1000, "9" * 5000, 2**63, -(2**63)),
)
"""Values that some key may not have."""

Damage = Callable[[Path, random.Random], None]


# -- of any file ------------------------------------------------------------------------------------------------------


def truncated(file: Path, chance: random.Random) -> None:
    data = file.read_bytes()
    file.write_bytes(data[: chance.randrange(len(data) or 1)])


def emptied(file: Path, chance: random.Random) -> None:
    file.write_bytes(b"")


def deleted(file: Path, chance: random.Random) -> None:
    file.unlink()


def a_folder(file: Path, chance: random.Random) -> None:
    file.unlink()
    file.mkdir()


def a_loop(file: Path, chance: random.Random) -> None:
    file.unlink()
    file.symlink_to(file.name)


def a_dead_link(file: Path, chance: random.Random) -> None:
    file.unlink()
    file.symlink_to("nowhere")


def noise(file: Path, chance: random.Random) -> None:
    file.write_bytes(chance.randbytes(chance.choice([1, 10, 1000])))


def flipped(file: Path, chance: random.Random) -> None:
    data = bytearray(file.read_bytes())
    for _ in range(chance.choice([1, 5, 50])):
        data[chance.randrange(len(data))] = chance.randrange(256)
    file.write_bytes(data)


def zeros(file: Path, chance: random.Random) -> None:
    """As many as there were bytes, or from some place on: what some file systems keep of a file at a crash."""
    data = file.read_bytes()
    kept = chance.choice([0, chance.randrange(len(data))])
    file.write_bytes(data[:kept] + bytes(len(data) - kept))


def lengthened(file: Path, chance: random.Random) -> None:
    data = file.read_bytes()
    file.write_bytes(data + chance.choice([b"\0", b"x", b"\n\xff", data]))


ANY: tuple[Damage, ...] = (
    *(truncated, emptied, deleted, a_folder, a_loop, a_dead_link, noise, flipped, zeros, lengthened),
)


# -- of files that hold a tree of values ------------------------------------------------------------------------------


def _changed(tree: Any, chance: random.Random) -> Any:
    """A tree with one of its values replaced, removed, renamed, or with all of it replaced."""
    places = [()]
    for place in places:
        node = _at(tree, place)
        inside = node if isinstance(node, dict) else range(len(node)) if isinstance(node, list) else ()
        places += [(*place, key) for key in inside]
    place = chance.choice(places if chance.random() < 0.9 else [()])
    odd = chance.choice(ODD)
    if not place:
        return odd
    *before, last = place
    node = _at(tree, before)
    kind = chance.random()
    if kind < 0.7:
        node[last] = odd
    elif kind < 0.85:
        del node[last]
    elif isinstance(node, dict):
        node[chance.choice(["x", "", "name", "ü"])] = node.pop(last)
    return tree


def _at(tree: Any, place: tuple) -> Any:
    for key in place:
        tree = tree[key]
    return tree


def json_value(file: Path, chance: random.Random) -> None:
    tree = _changed(json.loads(file.read_text(encoding="utf-8")), chance)
    file.write_text(json.dumps(tree), encoding="utf-8")


def json_text(file: Path, chance: random.Random) -> None:
    texts = ["[" * 100_000, "{" * 10, '{"a":' * 5000, "NaN", '{"a": 1, "a": 2}', "1e999", '"\\ud800"', "[1,]", "﻿{}"]
    file.write_text(chance.choice(texts), encoding="utf-8")


def yaml_value(file: Path, chance: random.Random) -> None:
    tree = _changed(yaml.safe_load(file.read_text(encoding="utf-8")), chance)
    file.write_text(yaml.safe_dump(tree), encoding="utf-8")


def yaml_text(file: Path, chance: random.Random) -> None:
    text = file.read_text(encoding="utf-8")
    line = chance.choice(text.splitlines(keepends=True))
    odd = [
        f"\t{line}",
        line + line,
        f"{line.rstrip()}: 3\n",
        "- x\n",
        "{{{\n",
        "[" * 5000,
        "!!python/name:os.system\n",
        "? x\n",
    ]
    file.write_text(text.replace(line, chance.choice(odd), 1), encoding="utf-8")


def csv_cell(file: Path, chance: random.Random) -> None:
    rows = list(csv.reader(io.StringIO(file.read_text(encoding="utf-8"))))
    row = chance.choice(rows)
    kind = chance.random()
    if kind < 0.6:
        row[chance.randrange(len(row))] = str(chance.choice(ODD))
    elif kind < 0.7:
        rows.append(list(row))
    elif kind < 0.8:
        rows.remove(row)
    elif kind < 0.9:
        row.append("x")
    else:
        del row[chance.randrange(len(row))]
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    file.write_text(text.getvalue(), encoding="utf-8")


# -- of arrays --------------------------------------------------------------------------------------------------------


def _odd_array(array: np.ndarray, chance: random.Random) -> np.ndarray:
    return chance.choice(
        [
            lambda: array[:0],
            lambda: array[1:],
            lambda: np.concatenate([array, array]),
            lambda: array.astype(np.float64),
            lambda: np.full(array.shape, np.nan),
            lambda: array.astype(str),
            lambda: np.array(array.tolist(), dtype=object),
            lambda: array[None],
            lambda: np.array(3),
            lambda: np.asfortranarray(array.reshape(len(array), -1)),
            lambda: array.astype(np.complex64),
            lambda: array.astype(np.int8),
            lambda: np.zeros(array.shape, dtype="datetime64[s]"),
            lambda: np.full(array.shape, -1, dtype=np.int64),
            lambda: np.full(array.shape, 10**6, dtype=np.int64),
        ]
    )()


def npz_array(file: Path, chance: random.Random) -> None:
    with np.load(file) as saved:
        arrays = dict(saved)
    name = chance.choice(sorted(arrays))
    if chance.random() < 0.2:
        del arrays[name]
    else:
        arrays[name] = _odd_array(arrays[name], chance)
    np.savez_compressed(file, **arrays)


def npz_member(file: Path, chance: random.Random) -> None:
    """A zip file, but one of something else."""
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr(chance.choice(["clean.npy", "wrong.npy", "x"]), chance.choice(["", "x", "\x93NUMPY"]))


def npy_array(file: Path, chance: random.Random) -> None:
    np.save(file, _odd_array(np.load(file), chance))


def npy_header(file: Path, chance: random.Random) -> None:
    headers = [
        b"{'descr': '|u1', 'fortran_order': False, 'shape': (10000000000000, 32, 32, 3), }",
        b"{'descr': '|u1', 'fortran_order': False, 'shape': (-1, 32, 32, 3), }",
        b"{'descr': '|O', 'fortran_order': False, 'shape': (3,), }",
        b"{'descr': 'x', 'fortran_order': 3, 'shape': 'x', }",
        b"(" * 4000,
        b"{",
    ]
    header = chance.choice(headers)
    header += b" " * (-(len(header) + 11) % 64) + b"\n"
    file.write_bytes(b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header + b"\0" * 64)


OF_KIND: dict[str, tuple[Damage, ...]] = {
    ".json": (json_value, json_value, json_value, json_text),
    ".yaml": (yaml_value, yaml_value, yaml_value, yaml_text),
    ".csv": (csv_cell, csv_cell, csv_cell),
    ".npz": (npz_array, npz_array, npz_member),
    ".npy": (npy_array, npy_header),
    ".ckpt": (),
    ".safetensors": (),
}


def damages_of(file: str) -> tuple[Damage, ...]:
    """What can be done to a file, by its ending."""
    of_kind = OF_KIND[Path(file).suffix]
    return (*of_kind, *of_kind, *ANY)


def damaged_copy(source: Path, target: Path, file: str, damage: Damage, seed: int) -> Path:
    """A copy of a folder in which one file is damaged."""
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(source, target)
    damage(target / file, random.Random(seed))
    return target
