"""The paper's tables: which place of which table a run fills."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from p2be_exp.corruptions.names import CATEGORIES, TEST
from p2be_exp.report.paper.gather import Result
from p2be_exp.report.paper.measures import LABELS, is_official_imagenet
from p2be_exp.report.paper.published import ENCODINGS, FAMILIES, NETWORKS
from p2be_exp.report.paper.recipe import Home, smooth_weight, told, training_departures
from p2be_exp.runs.run import Run


@dataclass(frozen=True)
class Place:
    """Where a number stands, and what it is.

    Attributes:
        block, row, column: keys; a block is rows under one heading.
        measure: see :func:`p2be_exp.report.paper.measures.weights`.
    """

    block: str
    row: str
    column: str
    measure: str


@dataclass(frozen=True)
class TableSpec:
    """A table of the report.

    Attributes:
        id: of the files.
        title: what it shows.
        home: the recipe that its runs are held against.
        place: places that a result fills, without regard to what it departs in; the second argument is its departures
            in the row.
        blocks, rows, columns: keys and labels of the published table, in its order; others come behind them.
        reference: the place that a place is compared with; None for none.
        against: that place's name.
        sweeps: sweeps whose runs belong here.
        wanted: whether the places that are filled make the table worth showing, where no sweep asks for it.
        along: whether its blocks go along something: those with one row alone are not worth showing.
        differences: whether differences are shown in the table, or in the CSV file alone.
        row_head: what the rows are.
    """

    id: str
    title: str
    home: Home
    place: Callable[[Result, str], list[Place]]
    blocks: dict[str, str]
    rows: dict[str, str]
    columns: dict[str, str]
    reference: Callable[[Place], Place | None]
    against: str = "RGB"
    sweeps: tuple[str, ...] = ()
    wanted: Callable[[Sequence[Place]], bool] = bool
    along: bool = False
    differences: bool = True
    row_head: str = "encoding"

    def row_label(self, key: str) -> str:
        """A row in words: ``p2be|M = 32`` is ``P2BE, M = 32``."""
        name, _, variant = key.partition("|")
        label = self.rows.get(name) or ENCODINGS.get(name) or name
        return f"{label}, {variant}" if variant else label

    def block_label(self, key: str) -> str:
        """A block in words."""
        return self.blocks.get(key) or ", ".join(map(named, key.split("/")))

    def column_label(self, key: str) -> str:
        """A column in words."""
        return self.columns.get(key) or LABELS.get(key) or key


_NAMES = {
    **ENCODINGS,
    "cifar10": "CIFAR-10",
    "cifar100": "CIFAR-100",
    "imagenet": "ImageNet",
    "contrain": "ConTrain",
    "advtrain": "AdvTrain",
}


def named(part: str) -> str:
    """An option of the configuration as the paper writes it, its own name where the paper has none."""
    name, _, variant = part.partition("|")
    return f"{_NAMES.get(name, name)}, {variant}" if variant else _NAMES.get(name, name)


_CORRUPTED = {"corruption": LABELS["corruption"], "clean": LABELS["clean"]}
_ATTACKED = {"lspga": LABELS["lspga"], "clean": LABELS["clean"]}
_THREE = {family: NETWORKS[family] for family in ("wrn", "densenet", "resnext")}
_MEASURES = ("corruption", "clean", "lspga")


def family(block: str) -> str:
    """The paper's network that a block of a backbone stands beside; the block itself where it is none.

    A smaller Wide ResNet stands beside the paper's, to say what the table is of; it is never compared with it.
    """
    return FAMILIES.get(block) or ("wrn" if block.startswith("wrn") else block)


def _name(result: Result, group: str) -> str:
    return result.measured.config[group]["name"]


def _learns_its_table(result: Result) -> bool:
    return result.measured.config["encoding"].get("table_from") is None


def _row(result: Result, variant: str) -> str:
    return f"{_name(result, 'encoding')}|{variant}" if variant else _name(result, "encoding")


def _same_place(row: str) -> Callable[[Place], Place | None]:
    """Compared with another row of the same block and column."""

    def reference(place: Place) -> Place | None:
        return None if place.row == row else Place(place.block, row, place.column, place.measure)

    return reference


# -- common corruptions -----------------------------------------------------------------------------------------------


def _is_imagenet(result: Result) -> bool:
    return result.sweep == "table3" or (_name(result, "dataset") == "imagenet")


def _corruption_run(result: Result) -> bool:
    """Whether a run is one of the corruption experiments on small images, with a table of its own."""
    regime = _name(result, "regime") == "augmix" or result.sweep in ("table2", "seeds")
    return regime and not _is_imagenet(result) and _learns_its_table(result)


def _place_2(result: Result, variant: str) -> list[Place]:
    if not _corruption_run(result) or _name(result, "dataset") == "cifar10":
        return []
    return [Place(_name(result, "backbone"), _row(result, variant), measure, measure) for measure in _CORRUPTED]


def _place_3(result: Result, variant: str) -> list[Place]:
    if not (_is_imagenet(result) and _name(result, "regime") == "augmix" and _learns_its_table(result)):
        return []
    second = "mce" if _may_have_mce(result) else "corruption"
    return [Place(_name(result, "backbone"), _row(result, variant), each, each) for each in ("clean", second)]


def _may_have_mce(result: Result) -> bool:
    """Whether the corrupted images, if any, are the whole of ImageNet-C: only they have a normaliser."""
    without = result.measured.settings["corruption"]["name"] == "none"
    return _name(result, "dataset") == "imagenet" and (without or is_official_imagenet(result))


def _place_3_ce(result: Result, variant: str) -> list[Place]:
    if not _place_3(result, variant):
        return []
    kind = "ce" if _may_have_mce(result) else "error"
    return [Place(_name(result, "backbone"), name, _row(result, variant), f"{kind}:{name}") for name in TEST]


def _reference_3_ce(place: Place) -> Place | None:
    return None if place.column == "rgb" else Place(place.block, place.row, "rgb", place.measure)


def _place_6(result: Result, variant: str) -> list[Place]:
    if not _corruption_run(result) or _name(result, "dataset") == "cifar10":
        return []
    epochs = str(result.measured.config["epochs"])
    return [Place(_name(result, "backbone"), _row(result, variant), epochs, "corruption")]


def _place_7(result: Result, variant: str) -> list[Place]:
    config = result.measured.config
    if _name(result, "encoding") != "p2be" or _name(result, "regime") != "augmix" or _is_imagenet(result):
        return []
    source = config["encoding"]["table_from"]
    variant = ", ".join(filter(None, [variant, origin(source) if source else ""]))
    row = "fixed" if source else "learned"
    row = f"{row}|{variant}" if variant else row
    return [Place(_name(result, "dataset"), row, measure, measure) for measure in ("clean", "corruption")]


def origin(source: str) -> str:
    """What a fixed table was learned on, and in what that departs; empty for the paper's recipe for ImageNet.

    Args:
        source: folder of the run that has learned it.
    """
    try:
        run = Run(source)
        config = run.config()
        dataset = config["dataset"]["name"]
        if dataset != "imagenet":
            return f"learned on {named(dataset)}"
        general, row = training_departures(config, _HOME_FIXED)
        finished = run.status().get("state", "finished") == "finished"
    except Exception:  # the run may be gone, or be no run of this version
        return "of unknown origin"
    changed = [*general, *row, *([] if finished else ["not finished"])]
    return ", ".join(["learned on ImageNet", *changed]) if changed else ""


# -- adversarial training ---------------------------------------------------------------------------------------------


def _place_4(result: Result, variant: str) -> list[Place]:
    if _name(result, "regime") not in ("contrain", "advtrain") or not _learns_its_table(result):
        return []
    block = f"{_name(result, 'dataset')}/{_name(result, 'regime')}"
    return [Place(block, _row(result, variant), measure, measure) for measure in _ATTACKED]


def _place_5(result: Result, variant: str) -> list[Place]:
    config = result.measured.config
    if _name(result, "encoding") != "p2be" or _name(result, "regime") != "contrain" or not _learns_its_table(result):
        return []
    weight = config["encoding"]["lambda_smooth"]
    usual = smooth_weight(config, TABLE_5)
    row = {0: "off", usual: "on"}.get(weight, f"lambda = {told(weight)}")
    row = f"{row}|{variant}" if variant else row
    return [Place(_name(result, "dataset"), row, measure, measure) for measure in _ATTACKED]


# -- the length of a code, and the weight of its smoothness -----------------------------------------------------------


def _place_m(result: Result, variant: str) -> list[Place]:
    config = result.measured.config
    if "M" not in config["encoding"] or not _learns_its_table(result) or _name(result, "regime") == "standard":
        return []
    block = "/".join([_row(result, variant), *(_name(result, group) for group in ("backbone", "dataset", "regime"))])
    return [Place(block, f"M = {config['encoding']['M']}", measure, measure) for measure in _MEASURES]


def _place_lambda(result: Result, variant: str) -> list[Place]:
    config = result.measured.config
    if "lambda_smooth" not in config["encoding"] or not (_corruption_run(result) or result.sweep == "m_lambda"):
        return []
    row = f"lambda = {told(config['encoding']['lambda_smooth'])}"
    return [
        Place(f"{each.block}/M = {config['encoding']['M']}", row, each.column, each.measure)
        for each in _place_m(result, variant)
    ]


def _place_other(result: Result, variant: str) -> list[Place]:
    block = "/".join(_name(result, group) for group in ("dataset", "regime", "backbone"))
    row = _row(result, variant)
    if not _learns_its_table(result):
        row += ", " * bool(variant) + "|" * (not variant) + "a fixed table"
    return [Place(block, row, measure, measure) for measure in _MEASURES]


def blocks_with_several_rows(places: Iterable[Place]) -> set[str]:
    """The blocks of some places that have several rows: along which something goes."""
    rows: dict[str, set[str]] = {}
    for place in places:
        rows.setdefault(place.block, set()).add(place.row)
    return {block for block, found in rows.items() if len(found) > 1}


def _several_rows(places: Sequence[Place]) -> bool:
    return bool(blocks_with_several_rows(places))


def _several_columns(places: Sequence[Place]) -> bool:
    return len({place.column for place in places}) > 1


def _a_fixed_table(places: Sequence[Place]) -> bool:
    return any(place.row.startswith("fixed") for place in places)


def _without_smoothness(places: Sequence[Place]) -> bool:
    return any(place.row.startswith("off") for place in places)


def _nothing(place: Place) -> Place | None:
    return None


_WRN = ("wrn40_2",)
TABLE_5 = Home(
    ("cifar10", "cifar100"), ("contrain",), frozenset({"encoding.lambda_smooth"}), frozenset({"lspga"}), _WRN
)
_HOME_C100 = Home(("cifar100",), ("augmix",), measures=frozenset({"corruption"}))
_HOME_IMAGENET = Home(("imagenet",), ("augmix",), measures=frozenset({"corruption"}))
_HOME_FIXED = Home(("imagenet",), ("augmix",), networks=("resnet50",))
_ANY = ("cifar10", "cifar100"), ("augmix", "contrain", "advtrain")
_ANYTHING = Home((), (), measures=frozenset({"corruption", "lspga"}))

TABLES: tuple[TableSpec, ...] = (
    TableSpec(
        "table2",
        "common corruptions of CIFAR-100, by network and encoding",
        _HOME_C100,
        _place_2,
        _THREE,
        ENCODINGS,
        _CORRUPTED,
        _same_place("rgb"),
        sweeps=("table2", "seeds"),
    ),
    TableSpec(
        "table3",
        "ImageNet and ImageNet-C, by encoding",
        _HOME_IMAGENET,
        _place_3,
        {"resnet50": NETWORKS["resnet50"]},
        ENCODINGS,
        {"clean": LABELS["clean"], "mce": LABELS["mce"]},
        _same_place("rgb"),
        sweeps=("table3",),
    ),
    TableSpec(
        "table3_ce",
        "corruption errors (CE) behind the mCE, by corruption and encoding",
        _HOME_IMAGENET,
        _place_3_ce,
        {"resnet50": NETWORKS["resnet50"]},
        {name: name.replace("_", " ") for names in CATEGORIES.values() for name in names},
        ENCODINGS,
        _reference_3_ce,
        sweeps=("table3",),
        differences=False,
        row_head="corruption",
    ),
    TableSpec(
        "table4",
        "LS-PGA after adversarial training, by data set, regime and encoding",
        Home(("cifar10", "cifar100"), ("contrain", "advtrain"), measures=frozenset({"lspga"}), networks=_WRN),
        _place_4,
        {
            f"{data}/{regime}": f"{_NAMES[data]}, {_NAMES[regime]}"
            for data in ("cifar10", "cifar100")
            for regime in ("contrain", "advtrain")
        },
        {name: ENCODINGS[name] for name in ("onehot", "thermometer", "p2be")},
        _ATTACKED,
        _same_place("onehot"),
        against="one-hot",
        sweeps=("table4",),
    ),
    TableSpec(
        "table5",
        "P2BE under ConTrain without and with the smoothness loss",
        TABLE_5,
        _place_5,
        {"cifar10": "CIFAR-10, on: lambda = 1.0", "cifar100": "CIFAR-100, on: lambda = 0.1"},
        {"off": "off: lambda = 0", "on": "on"},
        _ATTACKED,
        _same_place("off"),
        against="off",
        sweeps=("table5",),
        wanted=_without_smoothness,
        row_head="smoothness",
    ),
    TableSpec(
        "table6",
        "error under corruptions of CIFAR-100 by length of training",
        Home(("cifar100",), ("augmix",), frozenset({"epochs"}), frozenset({"corruption"})),
        _place_6,
        _THREE,
        ENCODINGS,
        {"50": "50 epochs", "100": "100 epochs", "200": "200 epochs"},
        _same_place("rgb"),
        sweeps=("table6",),
        wanted=_several_columns,
    ),
    TableSpec(
        "table7",
        "P2BE with a table of its own, and with a fixed one learned on ImageNet",
        Home(("cifar10", "cifar100"), ("augmix",), frozenset({"encoding.table_from"}), frozenset({"corruption"}), _WRN),
        _place_7,
        {"cifar10": "CIFAR-10", "cifar100": "CIFAR-100"},
        {"learned": "its own table", "fixed": "a fixed table"},
        {"clean": LABELS["clean"], "corruption": LABELS["corruption"]},
        _same_place("learned"),
        against="its own table",
        sweeps=("table7",),
        wanted=_a_fixed_table,
        row_head="table",
    ),
    TableSpec(
        "figure3",
        "error by the number M of values a level's code has",
        Home(*_ANY, frozenset({"encoding.M"}), frozenset({"corruption", "lspga"})),
        _place_m,
        {},
        {},
        {name: LABELS[name] for name in _MEASURES},
        _nothing,
        sweeps=("fig3",),
        wanted=_several_rows,
        along=True,
        row_head="M",
    ),
    TableSpec(
        "m_lambda",
        "error of P2BE by M and the weight of its smoothness",
        Home(*_ANY, frozenset({"encoding.M", "encoding.lambda_smooth"}), frozenset({"corruption", "lspga"})),
        _place_lambda,
        {},
        {},
        {name: LABELS[name] for name in _MEASURES},
        _nothing,
        sweeps=("m_lambda",),
        wanted=_several_rows,
        along=True,
        row_head="smoothness",
    ),
)
"""The tables of the paper, and of what its figures show, in the order of the report."""

OTHER = TableSpec(
    "other",
    "runs that belong to none of the paper's tables",
    _ANYTHING,
    _place_other,
    {},
    ENCODINGS,
    {name: LABELS[name] for name in _MEASURES},
    _same_place("rgb"),
)
"""For what is left."""
