"""The paper's tables, each described in full: which runs belong to it, in which cells, and how it is shown."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

from p2be_exp.config.typed import has_key
from p2be_exp.corruptions.names import TEST
from p2be_exp.report.paper.gather import Result
from p2be_exp.report.paper.keys import CellKey, Key, Measure, Setting
from p2be_exp.report.paper.measures import MEASURES, WORST_RADIUS, is_official_imagenet, worst_case
from p2be_exp.report.paper.optimizer_steps import steps_note
from p2be_exp.report.paper.published import ENCODINGS, FAMILIES, NETWORKS, PUBLISHED, PublishedTable
from p2be_exp.report.paper.recipe import METHOD_ROW, Recipe, smooth_weight, training_departures
from p2be_exp.runs.run import Run


@dataclass(frozen=True)
class TableSpec:
    """A table of the report.

    Attributes:
        printed: the published table; of a table that the paper does not have, only the layout.
        title: what it shows.
        recipe: that its runs are compared with.
        cells: those that a result fills, without regard to what it departs in; the second argument is its departures
            in the row.
        reference: the row that the others are compared with, or the column; None for none.
        against: its name.
        sweeps: sweeps whose runs belong here.
        wanted: whether the cells that are filled make the table worth showing, where no sweep asks for it.
        along: whether the rows of a block are values of a setting: a block with a single row is not worth showing.
        columns_are: ``measures``; ``lengths`` of training; ``encodings``, with a corruption in each row.
        variants_apart: whether an encoding's variants are left to other tables where the published one is there.
        shown_by: a table along lengths whose columns have this one's runs of other lengths.
        differences: whether differences are shown in the table, or only in the CSV file.
        pictures: kinds of figures, see :mod:`p2be_exp.report.paper.figures`.
        row_head: what the rows are.
        labels: of rows that are not options of the configuration.
        block_details: added to a block's label in the table.
        remarks: notes on the runs in it.
        papers_alone: whether it takes the paper's regimes and ``model=plain`` alone.
        measured_alone: whether columns in which nothing was measured are left out.
        methods: whether rows are methods with an encoding each, on any network; of these, only what was measured.
        others_beneath: whether what others publish of such methods stands beneath.
    """

    printed: PublishedTable
    title: str
    recipe: Recipe
    cells: Callable[[Result, str], list[CellKey]]
    reference: Key | None = Key("rgb")
    against: str = "RGB"
    sweeps: tuple[str, ...] = ()
    wanted: Callable[[Sequence[CellKey]], bool] = bool
    along: bool = False
    columns_are: str = "measures"
    variants_apart: bool = True
    shown_by: str = ""
    differences: bool = True
    pictures: tuple[str, ...] = ("differences",)
    row_head: str = "encoding"
    labels: Mapping[str, str] = field(default_factory=dict)
    block_details: Mapping[str, str] = field(default_factory=dict)
    remarks: Callable[[Sequence[Result]], list[str]] = lambda results: []
    papers_alone: bool = False
    measured_alone: bool = False
    methods: bool = False
    others_beneath: bool = False

    @property
    def id(self) -> str:
        """Of its files."""
        return self.printed.id

    @cached_property
    def blocks(self) -> tuple[Key, ...]:
        """Those of the published table, in its order; others come behind them."""
        return _keys(self.printed.blocks)

    @cached_property
    def rows(self) -> tuple[Key, ...]:
        """The same of its rows."""
        return _keys(self.printed.rows)

    @cached_property
    def columns(self) -> tuple[Key, ...]:
        """The same of its columns."""
        return _keys(self.printed.columns)

    @property
    def corruption_a_row(self) -> bool:
        """Whether rows are corruptions and columns encodings."""
        return self.columns_are == "encodings"

    def row_label(self, key: Key) -> str:
        """A row in words: P2BE, M = 32; TENET, RGB."""
        name = str(key.published)
        label = self.labels.get(name) or ", ".join(map(option_label, (name.split("/") if key.within else (name,))))
        return f"{label}, {key.variant}" if key.variant else label

    def column_label(self, key: Key) -> str:
        """A column in words."""
        if self.columns_are == "lengths":
            return f"{key} epoch{'s' * (key.name != '1')}"
        return self.row_label(key)

    def block_label(self, key: Key) -> str:
        """A block in words."""
        if key in self.blocks and key.name in NETWORKS:
            return NETWORKS[key.name]
        parts = (option_label(key.name), key.variant, *map(option_label, key.within), str(key.setting or ""))
        return ", ".join(filter(None, parts))

    def compared_with(self, key: CellKey) -> CellKey | None:
        """The cell that a cell is compared with; None where there is none."""
        own = key.column if self.corruption_a_row else key.row
        if self.reference is None or own == self.reference:
            return None
        row, column = (key.row, self.reference) if self.corruption_a_row else (self.reference, key.column)
        return CellKey(key.block, row, column, key.measure)


_NAMES = {
    **ENCODINGS,
    **MEASURES,
    **{name: name.replace("_", " ") for name in TEST},
    "cifar10": "CIFAR-10",
    "cifar100": "CIFAR-100",
    "imagenet": "ImageNet",
    "contrain": "ConTrain",
    "advtrain": "AdvTrain",
    "augmix": "AugMix",
    "noisymix": "NoisyMix",
    "tenet": "TENET",
    "trades": "TRADES",
    "mart": "MART",
    "fpd": "FPD",
    "nuts_mix": "MixedNUTS",
    "adaptive_mix": "Adaptive Smoothing",
}


def option_label(name: str) -> str:
    """An option of the configuration, a measure or a corruption in words; its own name where it has none."""
    return _NAMES.get(name, name)


def _keys(names: Iterable[str]) -> tuple[Key, ...]:
    parts = (name.split("/") for name in names)
    return tuple(Key(name, within=tuple(within)) for name, *within in parts)


def family(block: Key) -> Key:
    """The paper's network that a block of a backbone is shown beside; the block itself where there is none.

    A smaller Wide ResNet is shown beside the paper's, to say what the table is about, and never compared with it.
    """
    name = FAMILIES.get(block.name) or ("wrn" if block.name.startswith("wrn") else block.name)
    return replace(block, name=name)


def _name(result: Result, group: str) -> str:
    return result.config.network if group == "backbone" else getattr(result.config, group).name


def _encoding(result: Result, variant: str) -> Key:
    return Key(_name(result, "encoding"), variant)


def _learns_its_table(result: Result) -> bool:
    return result.config.encoding.table_from is None


def _kind(result: Result) -> tuple[str, ...]:
    """The kind of model, where it is none that its regime tells of: a plain one, or FPD in its own training."""
    model = _name(result, "model")
    return () if model in ("plain", _name(result, "regime")) else (model,)


def _cells(block: Key, row: Key, *kinds: str) -> list[CellKey]:
    """A row of a table whose columns are measures."""
    return [CellKey(block, row, Key(kind), Measure(kind)) for kind in kinds]


def takes(spec: TableSpec, result: Result) -> bool:
    """Whether a table takes a run's method; the paper's tables take the paper's alone."""
    return not spec.papers_alone or (_name(result, "regime") in _PAPERS and _name(result, "model") == "plain")


_PAPERS = ("standard", "augmix", "contrain", "advtrain")
"""The paper's regimes, with the plain training that small sweeps have in their place."""


# -- common corruptions -----------------------------------------------------------------------------------------------


def _is_imagenet(result: Result) -> bool:
    return result.sweep == "table3" or _name(result, "dataset") == "imagenet"


def _corruption_run(result: Result) -> bool:
    """Whether a run is one of the corruption experiments on small images, with a table of its own."""
    regime = _name(result, "regime") == "augmix" or result.sweep in ("table2", "seeds")
    return regime and not _is_imagenet(result) and _learns_its_table(result)


def _cells_2(result: Result, variant: str) -> list[CellKey]:
    if not _corruption_run(result) or _name(result, "dataset") == "cifar10":
        return []
    return _cells(Key(_name(result, "backbone")), _encoding(result, variant), "corruption", "clean")


def _cells_3(result: Result, variant: str) -> list[CellKey]:
    if not (_is_imagenet(result) and _name(result, "regime") == "augmix" and _learns_its_table(result)):
        return []
    second = "mce" if _may_have_mce(result) else "corruption"
    return _cells(Key(_name(result, "backbone")), _encoding(result, variant), "clean", second)


def _may_have_mce(result: Result) -> bool:
    """Whether the corrupted images, if any, are the whole of ImageNet-C: only they have a normaliser."""
    without = result.settings["corruption"]["name"] == "none"
    return _name(result, "dataset") == "imagenet" and (without or is_official_imagenet(result))


def _cells_3_ce(result: Result, variant: str) -> list[CellKey]:
    if not _cells_3(result, variant):
        return []
    kind, block = "ce" if _may_have_mce(result) else "error", Key(_name(result, "backbone"))
    return [CellKey(block, Key(name), _encoding(result, variant), Measure(kind, name)) for name in TEST]


def _cells_6(result: Result, variant: str) -> list[CellKey]:
    length = Key(str(result.config.epochs))
    cells = _cells_2(result, variant)
    return [replace(cell, column=length) for cell in cells if cell.measure.kind == "corruption"]


def _cells_7(result: Result, variant: str) -> list[CellKey]:
    if _name(result, "encoding") != "p2be" or _name(result, "regime") != "augmix" or _is_imagenet(result):
        return []
    source = result.config.encoding.table_from
    variant = ", ".join(filter(None, [variant, origin(source) if source else ""]))
    row = Key("fixed" if source else "learned", variant)
    return _cells(Key(_name(result, "dataset")), row, "clean", "corruption")


def origin(source: str) -> str:
    """What a fixed table was learned on, and how that departs from the paper; empty for its recipe for ImageNet.

    Args:
        source: folder of the run that learned it.
    """
    try:
        run = Run(source)
        config = run.config()
        dataset = config.dataset.name
        if dataset != "imagenet":
            return f"learned on {option_label(dataset)}"
        general, row = training_departures(config, _FIXED)
        finished = run.status().get("state", "finished") == "finished"
    except Exception:  # the run may be gone, or be no run of this version
        return "of unknown origin"
    changed = [*general, *row, *([] if finished else ["not finished"])]
    return ", ".join(["learned on ImageNet", *changed]) if changed else ""


def _fixed_tables(results: Sequence[Result]) -> list[str]:
    """A note on whether the seeds of a fixed row are those of several learned tables."""
    sources = {each.config.encoding.table_from for each in results}
    tables = {Path(source).resolve() for source in sources if source is not None}
    if not tables:
        return []
    one = "All seeds of the fixed rows share one table"
    shared = one if len(tables) == 1 else f"The fixed rows use {len(tables)} tables"
    return [f"{shared}: the spread over their seeds is that of training a network on it, not that of learning a table."]


# -- adversarial training ---------------------------------------------------------------------------------------------


def _cells_4(result: Result, variant: str) -> list[CellKey]:
    regime = _name(result, "regime")
    if regime not in ("contrain", "advtrain") or not _learns_its_table(result):
        return []
    block = Key(_name(result, "dataset"), within=(regime,))
    return _cells(block, _encoding(result, variant), "lspga", "clean")


def _cells_5(result: Result, variant: str) -> list[CellKey]:
    config = result.config
    if _name(result, "encoding") != "p2be" or _name(result, "regime") != "contrain" or not _learns_its_table(result):
        return []
    weight = config.encoding.lambda_smooth
    usual = smooth_weight(config, _SMOOTHNESS)
    row = {0: "off", usual: "on"}.get(weight, str(Setting("lambda", weight)))
    return _cells(Key(_name(result, "dataset")), Key(row, variant), "lspga", "clean")


# -- the length of a code, and the weight of its smoothness -----------------------------------------------------------


def _cells_m(result: Result, variant: str) -> list[CellKey]:
    encoding = result.config.encoding
    if not has_key(encoding, "M") or not _learns_its_table(result) or _name(result, "regime") == "standard":
        return []
    within = (*(_name(result, group) for group in ("backbone", "dataset", "regime")), *_kind(result))
    return _cells(Key(encoding.name, variant, within), Key(setting=Setting("M", encoding.M)), *_ALL)


def _cells_lambda(result: Result, variant: str) -> list[CellKey]:
    encoding = result.config.encoding
    if not has_key(encoding, "lambda_smooth") or not (_corruption_run(result) or result.sweep == "m_lambda"):
        return []
    row = Key(setting=Setting("lambda", encoding.lambda_smooth))
    return [
        replace(cell, block=replace(cell.block, setting=cell.row.setting), row=row)
        for cell in _cells_m(result, variant)
    ]


def _cells_other(result: Result, variant: str) -> list[CellKey]:
    dataset, *within = (_name(result, group) for group in ("dataset", "regime", "backbone"))
    fixed = "" if _learns_its_table(result) else "a fixed table"
    row = _encoding(result, ", ".join(filter(None, (variant, fixed))))
    return _cells(Key(dataset, within=(*within, *_kind(result))), row, *_ALL, "worst")


# -- other methods ----------------------------------------------------------------------------------------------------

METHODS = ("standard", "augmix", "noisymix", "tenet", "advtrain", "contrain", "trades", "mart", "fpd")
"""Regimes in the order of their table."""

_BESIDE_THE_PAPER = frozenset(METHODS) - frozenset(_PAPERS)


def _cells_methods(result: Result, variant: str) -> list[CellKey]:
    if _name(result, "regime") not in METHODS or not _learns_its_table(result) or result.sweep == _DECODERS:
        return []
    return _method(result, variant, "clean", "corruption", "worst")


def _method(result: Result, variant: str, *kinds: str) -> list[CellKey]:
    block = Key(_name(result, "dataset"), within=(_name(result, "backbone"),))
    row = Key(_name(result, "regime"), variant, within=(*_kind(result), _name(result, "encoding")))
    return _cells(block, row, *kinds)


_DECODERS = "fpd"
"""The sweep of Feature Pyramid Decoders, whose lengths differ so that optimizer steps do not."""


def _cells_decoders(result: Result, variant: str) -> list[CellKey]:
    return _method(result, variant, "clean", "worst") if result.sweep == _DECODERS else []


def _about_decoders(results: Sequence[Result]) -> list[str]:
    return [*_about_methods(results), steps_note(results)]


def _about_methods(results: Sequence[Result]) -> list[str]:
    note = (
        "Worst case: an image counts as wrong if the network is wrong on it, or if any attack of the suite breaks "
        f"it by moving its values by at most {WORST_RADIUS} whole levels."
    )
    return [note] if any(worst_case(each) is not None for each in results) else []


def _has_other_methods(cells: Sequence[CellKey]) -> bool:
    return any(cell.row.name in _BESIDE_THE_PAPER for cell in cells)


def blocks_with_several_rows(cells: Iterable[CellKey]) -> set[Key]:
    """The blocks that have several rows among some cells."""
    rows: dict[Key, set[Key]] = {}
    for cell in cells:
        rows.setdefault(cell.block, set()).add(cell.row)
    return {block for block, found in rows.items() if len(found) > 1}


def _several_rows(cells: Sequence[CellKey]) -> bool:
    return bool(blocks_with_several_rows(cells))


def _several_columns(cells: Sequence[CellKey]) -> bool:
    return len({cell.column for cell in cells}) > 1


def _has_row(name: str) -> Callable[[Sequence[CellKey]], bool]:
    return lambda cells: any(cell.row.name == name for cell in cells)


_ALL = ("corruption", "clean", "lspga")
_CORRUPTION, _LSPGA = frozenset({"corruption"}), frozenset({"lspga"})
_WRN, _BOTH, _ADVERSARIAL = ("wrn40_2",), ("cifar10", "cifar100"), ("contrain", "advtrain")
_C100 = Recipe(("cifar100",), ("augmix",), measures=_CORRUPTION)
_IMAGENET = Recipe(("imagenet",), ("augmix",), measures=_CORRUPTION)
_FIXED = Recipe(("imagenet",), ("augmix",), networks=("resnet50",))
_SMOOTHNESS = Recipe(_BOTH, ("contrain",), frozenset({"encoding.lambda_smooth"}), _LSPGA, _WRN)
_ANY = _BOTH, ("augmix", *_ADVERSARIAL)
_METHODS = Recipe(_BOTH, (), measures=frozenset({"corruption", "worst"}), of_row=METHOD_ROW)
_OF_DECODERS = Recipe((), (), frozenset({"epochs", "optim"}), frozenset({"worst"}), of_row=METHOD_ROW)

TABLES: tuple[TableSpec, ...] = (
    TableSpec(
        PUBLISHED["table2"],
        "common corruptions of CIFAR-100, by network and encoding",
        _C100,
        _cells_2,
        sweeps=("table2", "seeds"),
        shown_by="table6",
        pictures=("differences", "corruptions"),
        papers_alone=True,
    ),
    TableSpec(
        PUBLISHED["table3"],
        "ImageNet and ImageNet-C, by encoding",
        _IMAGENET,
        _cells_3,
        sweeps=("table3",),
        pictures=("differences", "corruptions"),
        papers_alone=True,
    ),
    TableSpec(
        PUBLISHED["table3_ce"],
        "corruption errors (CE) behind the mCE, by corruption and encoding",
        _IMAGENET,
        _cells_3_ce,
        sweeps=("table3",),
        columns_are="encodings",
        differences=False,
        pictures=(),
        row_head="corruption",
        papers_alone=True,
    ),
    TableSpec(
        PUBLISHED["table4"],
        "LS-PGA after adversarial training, by data set, regime and encoding",
        Recipe(_BOTH, _ADVERSARIAL, measures=_LSPGA, networks=_WRN),
        _cells_4,
        reference=Key("onehot"),
        against="one-hot",
        sweeps=("table4",),
        papers_alone=True,
    ),
    TableSpec(
        PUBLISHED["table5"],
        "P2BE under ConTrain without and with the smoothness loss",
        _SMOOTHNESS,
        _cells_5,
        reference=Key("off"),
        against="off",
        sweeps=("table5",),
        wanted=_has_row("off"),
        variants_apart=False,
        row_head="smoothness",
        labels={"off": "off: lambda = 0"},
        block_details={"cifar10": "on: lambda = 1.0", "cifar100": "on: lambda = 0.1"},
        papers_alone=True,
    ),
    TableSpec(
        PUBLISHED["table6"],
        "error under corruptions of CIFAR-100 by length of training",
        Recipe(("cifar100",), ("augmix",), frozenset({"epochs"}), _CORRUPTION),
        _cells_6,
        sweeps=("table6",),
        wanted=_several_columns,
        columns_are="lengths",
        papers_alone=True,
    ),
    TableSpec(
        PUBLISHED["table7"],
        "P2BE with a table of its own, and with a fixed one learned on ImageNet",
        Recipe(_BOTH, ("augmix",), frozenset({"encoding.table_from"}), _CORRUPTION, _WRN),
        _cells_7,
        reference=Key("learned"),
        against="its own table",
        sweeps=("table7",),
        wanted=_has_row("fixed"),
        row_head="table",
        labels={"learned": "its own table", "fixed": "a fixed table"},
        remarks=_fixed_tables,
        papers_alone=True,
    ),
    TableSpec(
        PUBLISHED["figure3"],
        "error by the number M of values a level's code has",
        Recipe(*_ANY, frozenset({"encoding.M"}), _CORRUPTION | _LSPGA),
        _cells_m,
        reference=None,
        sweeps=("fig3",),
        wanted=_several_rows,
        along=True,
        variants_apart=False,
        pictures=("curves",),
        row_head="M",
    ),
    TableSpec(
        PublishedTable("m_lambda", columns=_ALL),
        "error of P2BE by M and the weight of its smoothness",
        Recipe(*_ANY, frozenset({"encoding.M", "encoding.lambda_smooth"}), _CORRUPTION | _LSPGA),
        _cells_lambda,
        reference=None,
        sweeps=("m_lambda",),
        wanted=_several_rows,
        along=True,
        variants_apart=False,
        pictures=("heat_maps",),
        row_head="smoothness",
    ),
    TableSpec(
        PublishedTable(
            "other_methods",
            rows=tuple(f"{method}/{encoding}" for method in METHODS for encoding in ENCODINGS),
            columns=("clean", "corruption", "worst"),
        ),
        "other methods, by method and encoding",
        _METHODS,
        _cells_methods,
        reference=Key("standard", within=("rgb",)),
        against="standard, RGB",
        sweeps=("other_methods",),
        wanted=_has_other_methods,
        variants_apart=False,
        row_head="method",
        remarks=_about_methods,
        methods=True,
        others_beneath=True,
    ),
    TableSpec(
        PublishedTable(
            "fpd",
            rows=tuple(
                f"{method}/{encoding}"
                for method in ("standard", "fpd", "standard/fpd", "advtrain", "advtrain/fpd")
                for encoding in ENCODINGS
            ),
            columns=("clean", "worst"),
        ),
        "Feature Pyramid Decoder at equal optimizer steps, its parts switched off one at a time",
        _OF_DECODERS,
        _cells_decoders,
        reference=Key("standard", within=("rgb",)),
        against="standard, RGB",
        sweeps=(_DECODERS,),
        variants_apart=False,
        row_head="method",
        remarks=_about_decoders,
        methods=True,
    ),
)
"""The tables of the paper, of what its figures show, of other methods and of decoders, in the order of the report."""


def method_label(result: Result) -> str:
    """A run in words as a row of the table of decoders: FPD, RGB, model.tanh = false."""
    (spec,) = (each for each in TABLES if each.id == _DECODERS)
    _, row = training_departures(result.config, spec.recipe)
    return spec.row_label(_method(result, ", ".join(row), "clean")[0].row)


OTHER = TableSpec(
    PublishedTable("other", rows=tuple(ENCODINGS), columns=(*_ALL, "worst")),
    "runs that belong to none of the paper's tables",
    Recipe((), (), measures=_CORRUPTION | _LSPGA | {"worst"}),
    _cells_other,
    variants_apart=False,
    measured_alone=True,
)
"""For what is left."""
