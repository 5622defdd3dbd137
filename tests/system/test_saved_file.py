"""Checkpoints: read as they were written, or refused with the name of the record; weights that are numbers."""

import io
import random
import struct
import zipfile
from pathlib import Path

import pytest
import torch

from commandline import TINY, assert_equal, copy_of, evaluate, evaluate_clean, export, refusal, train
from p2be_exp import load_run
from p2be_exp.errors import BadInput
from p2be_exp.runs.load import load_checkpoint
from p2be_exp.runs.run import Run
from p2be_exp.system.saved_file import Damaged, not_a_number, read_saved
from p2be_exp.training.callbacks.checkpoints import AtomicCheckpointIO

WEIGHTS = {
    "model.table": torch.arange(12.0).view(3, 4),
    "model.bias": torch.zeros(3),
    "model.stem": torch.linspace(-1, 1, 30),
    "sum": torch.ones(2),
}
STATE = {
    "state_dict": WEIGHTS,
    "hyper_parameters": {"num_classes": 3, "name": "p2be"},
    "global_step": 7,
    "optimizer_states": [{"momentum": torch.linspace(0, 1, 30).double(), "step": 7}],
    "loops": {"seen": [1, 2.5, "three", None]},
    **{"pytorch-lightning_version": "2.6.6", "epoch": 1, "callbacks": {}, "lr_schedulers": []},
}


def saved(state=STATE) -> bytes:
    buffer = io.BytesIO()
    torch.save(state, buffer)
    return buffer.getvalue()


def records(content: bytes) -> dict[str, range]:
    """Where the bytes of each record are."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        found = {}
        for record in archive.infolist():
            name, extra = struct.unpack("<HH", content[record.header_offset + 26 : record.header_offset + 30])
            begin = record.header_offset + 30 + name + extra
            found[record.filename] = range(begin, begin + record.file_size)
        return found


def flipped(content: bytes, place: int, bits: int = 1) -> bytes:
    return content[:place] + bytes([content[place] ^ bits]) + content[place + 1 :]


VIEWED = torch.zeros(100_000)


@pytest.fixture
def run(tmp_path):
    """As much of a run as a checkpoint needs."""
    (tmp_path / "run" / "checkpoints").mkdir(parents=True)
    run = Run(tmp_path / "run")
    run.checkpoint().write_bytes(saved())
    return run


# -- checksums -----------------------------------------------------------------------------------------------------


def test_what_was_saved_is_read(run):
    assert_equal(load_checkpoint(run), STATE)
    assert_equal(AtomicCheckpointIO().load_checkpoint(str(run.checkpoint())), STATE)


def test_every_byte_of_a_record_is_watched_over_and_its_record_named(run):
    whole, numbers = saved(), random.Random(0)
    for name, places in records(whole).items():
        for place in numbers.sample(places, min(len(places), 25)):
            run.checkpoint().write_bytes(flipped(whole, place, 1 << numbers.randrange(8)))
            with pytest.raises(BadInput) as refused:
                load_checkpoint(run)
            told = f"run={run.path}: checkpoints/last.ckpt is damaged (record {name} does not match its checksum)"
            assert str(refused.value) == told
            with pytest.raises(BadInput, match=rf"last\.ckpt is damaged \(record {name} does not match"):
                AtomicCheckpointIO().load_checkpoint(run.checkpoint())


def test_any_changed_byte_is_refused_or_changes_nothing(run):
    whole, numbers, refused = saved(), random.Random(1), []
    for place in numbers.sample(range(len(whole)), 600):
        run.checkpoint().write_bytes(flipped(whole, place, numbers.randrange(1, 256)))
        try:
            found = load_checkpoint(run)
        except BadInput as error:
            refused.append(str(error))
        else:
            assert_equal(found, STATE)
    assert 200 < len(refused) < 600  # the rest are the padding and the times in its headers
    assert not any("\n" in line for line in refused)


@pytest.mark.parametrize("content", [b"", b"PK", b"garbage", saved()[:-30], saved()[:700]])
def test_what_is_no_whole_file_is_damaged(run, content):
    run.checkpoint().write_bytes(content)
    with pytest.raises(BadInput, match=r"checkpoints/last\.ckpt is damaged$"):
        load_checkpoint(run)


def test_a_record_that_calls_itself_a_folder_is_refused(run):
    """One bit, in the list of records at the end: PyTorch returns memory that nobody has written to."""
    whole = saved()
    place = whole.rindex(b"archive/data/0") - 46 + 38
    run.checkpoint().write_bytes(flipped(whole, place, 0x10))
    with pytest.raises(BadInput, match="record archive/data/0 is marked as something else"):
        load_checkpoint(run)


def test_a_file_without_checksums_is_no_checkpoint(tmp_path):
    torch.save(STATE, tmp_path / "old", _use_new_zipfile_serialization=False)
    with pytest.raises(Damaged):
        read_saved(tmp_path / "old")
    assert_equal(read_saved(tmp_path / "old", zipped=False), STATE)


def test_a_compressed_record_is_none_of_ours(tmp_path):
    with zipfile.ZipFile(tmp_path / "small", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data/0", bytes(100))
    with pytest.raises(Damaged, match="record archive/data/0 is compressed"):
        read_saved(tmp_path / "small")


def test_records_that_lie_in_each_other_are_refused(tmp_path):
    """A megabyte that the list at the end names over and over, to be read as many times."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        archive.writestr("archive/data/0", bytes(1_000_000))
        archive.filelist = archive.filelist * 1000
    (tmp_path / "bomb").write_bytes(content.getvalue())
    with pytest.raises(Damaged, match="its records are longer than the file"):
        read_saved(tmp_path / "bomb")


def test_nothing_is_executed(tmp_path):
    torch.save(Path("an object"), tmp_path / "object")
    with pytest.raises(Damaged):
        read_saved(tmp_path / "object")


# -- numbers -------------------------------------------------------------------------------------------------------

NAN, INF = float("nan"), float("inf")


def with_value(value: float, *places: int) -> torch.Tensor:
    tensor = torch.zeros(2000)
    tensor[list(places)] = value
    return tensor


@pytest.mark.parametrize(
    ("weights", "wrong"),
    [
        (torch.full((3, 4), NAN), "model.stem is NaN throughout"),
        (torch.full((3, 4), NAN).bfloat16(), "model.stem is NaN throughout"),
        (with_value(NAN, 7), "model.stem has 1 NaN among 2,000 values"),
        (torch.full((3,), -INF), "model.stem is infinite throughout"),
        (torch.full((1,), INF), "model.stem is infinite throughout"),
        (with_value(-INF, 1, 2), None),  # a mask
        (torch.tensor(NAN), None),  # never measured
        (torch.empty(0), None),
        (torch.arange(3), None),
        ("text", None),
    ],
    ids=str,
)
def test_weights_that_are_no_numbers(weights, wrong):
    assert not_a_number({"model.table": torch.ones(3), "model.stem": weights}) == wrong


@pytest.mark.parametrize("name", ["model.stem", "model.table"])
def test_a_network_of_nan_is_refused(run, name):
    run.checkpoint().write_bytes(saved({**STATE, "state_dict": {**WEIGHTS, name: torch.full((4,), NAN)}}))
    with pytest.raises(BadInput) as refused:
        load_checkpoint(run, key="resume")
    assert str(refused.value) == (
        f"resume={run.path}: checkpoints/last.ckpt: {name} is NaN throughout; "
        "the training diverged (lower optim.lr or set optim.clip_norm)"
    )


def test_what_training_kept_beside_the_model_is_its_own(run):
    run.checkpoint().write_bytes(saved({**STATE, "state_dict": {**WEIGHTS, "sum": torch.full((2,), NAN)}}))
    assert load_checkpoint(run)["state_dict"]["sum"].isnan().all()


# -- tensors and numbers that no training writes ---------------------------------------------------------------------


def in_itself():
    found = [torch.ones(2)]
    found.append(found)
    return found


@pytest.mark.parametrize(
    ("odd", "why"),
    [
        (torch.zeros(1).expand(10**12), "its tensors would be 4,[0-9,]+ bytes"),
        ([{"deep": (torch.zeros(3, 1).expand(3, 10**9),)}], "its tensors would be 12,[0-9,]+ bytes"),
        ({"views": [VIEWED[n:] for n in range(20)]}, None),
        ({"views": [VIEWED[n:] for n in range(20_000)]}, "its tensors would be 7,[0-9,]+ bytes"),
        (torch.zeros(1).expand(1000, 1000), None),
        (torch.zeros(4, device="meta"), "a tensor in it is not a plain one"),
        (torch.eye(4).to_sparse(), "a tensor in it is not a plain one"),
        (in_itself(), None),
        (torch.empty(0), None),
        (torch.arange(12.0).view(3, 4).t()[1:], None),
    ],
    ids=lambda value: type(value).__name__,
)
@pytest.mark.parametrize("place", ["state_dict", "optimizer_states"])
def test_tensors_that_no_training_writes(run, odd, why, place):
    state = {**STATE, place: {**WEIGHTS, "model.odd": odd}}
    run.checkpoint().write_bytes(saved(state))
    if why is None:
        load_checkpoint(run)
        return
    with pytest.raises(BadInput, match=rf"checkpoints/last\.ckpt is damaged \({why}\)$"):
        load_checkpoint(run)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        *(("num_classes", value) for value in ("ten", -3, 0, 2.5, None, True, 10**11, [3])),
        *(("global_step", value) for value in ("ten", -3, 2.5, None, True, [3])),
    ],
)
def test_numbers_that_no_training_writes(run, key, value):
    state = {**STATE, "global_step": value} if key == "global_step" else {**STATE, "hyper_parameters": {key: value}}
    run.checkpoint().write_bytes(saved(state))
    with pytest.raises(BadInput) as refused:
        load_checkpoint(run)
    assert str(refused.value) == f"run={run.path}: checkpoints/last.ckpt is damaged ({key}: {value!r})"


@pytest.mark.parametrize(
    "key", ["pytorch-lightning_version", "loops", "callbacks", "optimizer_states", "lr_schedulers", "epoch"]
)
def test_a_training_goes_on_with_what_a_training_keeps(tmp_path, four_epochs, key):
    checkpoint = torch.load(Run(four_epochs).checkpoint(), weights_only=True)
    file = tmp_path / "last.ckpt"
    torch.save(checkpoint, file)
    assert AtomicCheckpointIO().load_checkpoint(file).keys() == checkpoint.keys()
    for odd in ({key: ("x",)}, {}):
        torch.save({name: value for name, value in checkpoint.items() if name != key} | odd, file)
        with pytest.raises(BadInput, match=rf"last\.ckpt is damaged \({key} is not what a training keeps\)$"):
            AtomicCheckpointIO().load_checkpoint(file)


@pytest.mark.parametrize(
    "table", [None, torch.zeros(256, 5), torch.zeros(3, 8), "text"], ids=["none", "five columns", "three rows", "text"]
)
def test_a_table_of_another_form_is_not_taken_over(workdir, four_epochs, table):
    run = Run(copy_of(four_epochs, workdir / "run"))
    checkpoint = torch.load(run.checkpoint(), weights_only=True)
    checkpoint["state_dict"]["model.encoding.weight"] = table
    if table is None:
        del checkpoint["state_dict"]["model.encoding.weight"]
    torch.save(checkpoint, run.checkpoint())
    message = refusal(train(*TINY, "encoding.table_from=run", "hydra.run.dir=new"))
    assert message == "encoding.table_from=run: checkpoints/last.ckpt does not fit config.yaml"
    assert not (workdir / "new").exists()


# -- every way to a checkpoint -------------------------------------------------------------------------------------


def flip_largest(file: Path) -> str:
    """Flip a bit in the middle of the largest record; its name."""
    content = file.read_bytes()
    name, places = max(records(content).items(), key=lambda item: len(item[1]))
    file.write_bytes(flipped(content, places[len(places) // 2]))
    return name


COMMANDS = {
    "resume=run": lambda: train("resume=run"),
    "run=run": lambda: evaluate_clean("run=run"),
    "export": lambda: export("run=run"),
    "encoding.table_from=run": lambda: train(*TINY, "encoding.table_from=run", "hydra.run.dir=new"),
    "attack.source": lambda: evaluate("run=whole", "corruption=none", "attack=transfer", "attack.source=run"),
}


@pytest.mark.parametrize("way", COMMANDS)
def test_every_command_refuses_a_damaged_checkpoint(workdir, four_epochs, way):
    copy_of(four_epochs, workdir / "whole")
    run = copy_of(four_epochs, workdir / "run")
    record = flip_largest(run / "checkpoints" / "last.ckpt")
    said = refusal(COMMANDS[way]())
    assert said.endswith(f"=run: checkpoints/last.ckpt is damaged (record {record} does not match its checksum)")
    assert not (workdir / "new").exists()


def test_a_network_of_nan_is_not_loaded(workdir, four_epochs):
    run = copy_of(four_epochs, workdir / "run")
    checkpoint = torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)
    for name, value in checkpoint["state_dict"].items():
        if name.startswith("model.") and value.is_floating_point():
            value.fill_(NAN)
    torch.save(checkpoint, run / "checkpoints" / "last.ckpt")
    with pytest.raises(BadInput, match=r"^run=run: checkpoints/last\.ckpt: model\.\S+ is NaN throughout; the training"):
        load_run("run")
    assert "is NaN throughout" in refusal(evaluate_clean("run=run"))
    assert "is NaN throughout" in refusal(train("resume=run"))
