"""Arguments of the commands as nobody should type them: every key, and values of every wrong kind."""

import dataclasses

from hypothesis import strategies as st

from p2be_exp.config.schema import COMMAND_SCHEMAS, GROUP_SCHEMAS, SEVERAL
from p2be_exp.config.several import keys_of as keys_of_several

LONG = "x" * 300
HUGE = str(10**24)

WORDS = (
    *("null", "true", "no", "''", '""', " ", "-1", "0", "1", "1.5", "-0.0", "1e400", "nan", "inf", "-inf", "1e-400"),
    *(HUGE, f"-{HUGE}", "0x10", "1_000", "00", "abc", "P2BE", "None", LONG, f"{LONG}/x", f"'a b {LONG}'"),
    *("[]", "[1]", "[[fog]]", "[1,[2,[3]]]", "[null]", "[a,1]", "[fog,fog]", "{}", "{a:1}", "{a:{b:[1]}}", "[{}]"),
    *("[" * 300 + "]" * 300, "[" * 300, "{a:" * 100, ",".join("12345678"), ",", ",,", "1,", "[1,", "{a", "a=b", "a:b"),
    *("'~nobody/x'", "~nobody/x", "~", ".", "..", "../x", "/", "//", "/etc/passwd", "/etc/passwd/x", "nowhere/at/all"),
    *("'a\nb'", "'\t'", "'\x00'", "'\x1b[31m'", "'\x7f'", "'\u2028'", "\x01", "\\", "'\\'", "ü", "'ü'", "'日本 語'"),
    *("'\udcff'", "\udcff", "'\U0001f600'", "'\u202e'", "\ufeff"),
    *("${seed}", "${nowhere}", "${oc.env:NOWHERE}", "${oc.env:HOME}", "${", "${}", "${a:b}", "${seed", "$", "${.x}"),
    *("${plugins_from:NOWHERE}", "${now:%Y}", "${hydra:job.name}", "???", "'???'", "\\${x}"),
    *(
        "int(x)",
        "int(3.5)",
        "float(a)",
        "json_str(x)",
        "extend_list(1)",
        "choice(1)",
        "choice()",
        "range(3)",
        "glob(*)",
    ),
    *("range(1000000)", "range(1,1)", "range(0,1,0)", "interval(0,1)", "sort(3,1)", "shuffle(range(1000000000))"),
    *("shuffle(1,2)", "tag(a)", "str([1])", "cast(1)", "range(0.1,1,0.0000001)", f"range({HUGE})", "range(3,start=1)"),
    *("[p2be]", "[p2be,rgb]", "[wandb,csv]", "csv", "digits", "cifar-100", "pgd", "fog", "2021-01-01", "!!python/x:1"),
    *("*a", "&a", "a #b", "#", "%", "@x", "`x`", "|", ">", '"a', "'a", "a b", "1 2", "(", ")", "()", "=", "==", ":"),
)
"""Values of every wrong kind; some are right for some key."""

_ALPHABET = st.characters(codec="utf-8", categories=("L", "N", "P", "S", "Z", "Cc", "Cf"))
values = st.one_of(
    st.sampled_from(WORDS),
    st.sampled_from(WORDS),
    st.integers(-(10**6), 10**30).map(str),
    st.floats().map(str),
    st.text(_ALPHABET, max_size=8),
    st.lists(st.sampled_from(WORDS), max_size=3).map(lambda words: f"[{','.join(words)}]"),
)


def keys_of(command: str) -> list[str]:
    """Every key that a command has with some option, and some that it never has."""
    groups = [name for name in COMMAND_SCHEMAS[command].__dataclass_fields__ if name in GROUP_SCHEMAS]
    found = [field.name for field in dataclasses.fields(COMMAND_SCHEMAS[command])]
    for group in groups:
        schemas = GROUP_SCHEMAS[group].values()
        found += keys_of_several(group) if group in SEVERAL else []
        found += sorted({f"{group}.{name}" for schema in schemas for name in schema.__dataclass_fields__})
    of_hydra = ("hydra.run.dir", "hydra.sweep.dir", "hydra.job.chdir", "hydra.verbose", "hydra/launcher", "experiment")
    nowhere = (
        "x",
        "x.y",
        "",
        ".",
        "..",
        "seed.",
        ".seed",
        "seed.x",
        "a b",
        "ü",
        LONG,
        "seed@x",
        "encoding@x",
        "@",
        "/",
    )
    inner = ("regime.attack.steps", "regime.attack.name", "attack@regime.attack", "regime.attack.nowhere")
    return [*found, *of_hydra, *nowhere, *(inner if "regime" in groups else ())]


def arguments_of(command: str, *before: str) -> st.SearchStrategy[list[str]]:
    """Options of groups, and then one or two arguments that are mostly wrong.

    Args:
        command: whose keys they are.
        before: arguments that all of them begin with.
    """
    sign = st.sampled_from(["", "", "", "", "", "", "", "", "+", "++", "~"])
    equals = st.sampled_from(["=", "=", "=", "=", "=", "=", "=", "=", "=", "", ":", "=="])
    typed = st.tuples(sign, st.sampled_from(keys_of(command)), equals, values).map("".join)
    of_option = st.tuples(st.sampled_from(keys_of_options(command)), values).map(
        lambda both: [both[0][0], f"{both[0][1]}={both[1]}"]
    )
    alone = st.one_of(values, st.sampled_from(["-x", "--", "-", "--cfg=x", "--help=1", "--multirun=1", "-c", "-i"]))
    several = st.lists(st.one_of(typed, typed, typed, alone), min_size=1, max_size=2)
    return st.one_of(of_option, of_option, typed.map(lambda each: [each]), several).map(lambda end: [*before, *end])


def keys_of_options(command: str) -> list[tuple[str, str]]:
    """``GROUP=OPTION`` with each key of the option."""
    groups = [name for name in COMMAND_SCHEMAS[command].__dataclass_fields__ if name in GROUP_SCHEMAS]
    found = [
        (f"{group}={option}", f"{group}.{option}.{name}" if group in SEVERAL else f"{group}.{name}")
        for group in groups
        for option, schema in GROUP_SCHEMAS[group].items()
        for name in schema.__dataclass_fields__
    ]
    return found or [(f"{name}=1", name) for name in COMMAND_SCHEMAS[command].__dataclass_fields__]
