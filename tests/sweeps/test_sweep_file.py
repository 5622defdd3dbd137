"""The sweep files ask for the paper's rows, and a user's overrides stand in the place of theirs."""

import itertools
import math

import pytest

from p2be_exp.errors import BadInput
from p2be_exp.sweeps import first_runs_of, list_sweeps, plan_jobs, read_sweep, sweep_file, with_folders


def planned(name, scale="full", *given):
    sweep = read_sweep(name, scale, given)
    folders = {run: f"{run}_run" for run in sweep.first}
    grids = sweep.grids.values()
    return [job.config for grid in grids for job in plan_jobs([with_folders(each, folders) for each in grid])]


def grid_of(*arguments):
    """The grid of a file without blocks."""
    return read_sweep(*arguments).grids[""]


@pytest.fixture
def made(tmp_path, monkeypatch):
    """Writes sweep files of a test's own."""
    monkeypatch.setattr(sweep_file, "SWEEPS_DIR", tmp_path)
    return lambda name, text: (tmp_path / f"{name}.yaml").write_text(text)


# -- the files that there are -----------------------------------------------------------------------------------------


def test_a_file_for_each_table_and_figure_of_the_paper():
    assert list_sweeps() == [
        *("cpu_study", "fig2", "fig3", "fpd", "m_lambda", "mixing", "other_methods", "seeds"),
        *("table2", "table3", "table4", "table5", "table6", "table7"),
    ]


@pytest.mark.parametrize("name", list_sweeps())
def test_every_job_of_the_small_scale_is_allowed_and_says_that_it_is_small(name):
    for config in planned(name, "small"):
        assert config.departs_from_paper.startswith(f"scale=small of sweeps={name}: ")
        assert (config.sweeps, config.scale) == (name, "small")
        assert config.dataset.name == "digits"
        assert config.epochs <= 12 or not config.regime.trains


@pytest.mark.parametrize("name", list_sweeps())
def test_every_job_of_the_full_scale_is_the_papers_recipe(name):
    encoding = () if name == "mixing" else ("encoding=p2be",)  # mixtures have their parts'
    for config in planned(name, "full", "seed=0", *encoding):
        assert (config.sweeps, config.scale, config.departs_from_paper) == (name, "full", None)
        if name != "cpu_study":
            assert (config.limit_train, config.limit_test) == (None, None)
        assert config.preset.name == "official"


def test_table_2_has_four_encodings_on_three_networks_with_five_seeds():
    found = {(c.encoding.name, c.backbone.name, c.seed) for c in planned("table2")}
    networks = ("wrn40_2", "densenet_bc_100_12", "resnext29_4x32d")
    assert found == set(itertools.product(("rgb", "onehot", "thermometer", "p2be"), networks, range(5)))
    config = planned("table2", "full", "encoding=p2be", "backbone=wrn40_2", "seed=0")[0]
    assert config.dataset.name == "cifar100"
    assert (config.regime.name, config.regime.alpha_jsd, config.regime.magnitude) == ("augmix", 12, 3)
    assert (config.encoding.M, config.encoding.lambda_smooth) == (64, 1.0)
    assert (config.epochs, config.batch_size, config.optim.weight_decay) == (200, 128, 5e-4)


def test_table_3_is_the_recipe_of_imagenet():
    configs = planned("table3")
    assert [c.encoding.name for c in configs] == ["rgb", "onehot", "thermometer", "p2be"]
    p2be = configs[-1]
    assert (p2be.dataset.name, p2be.backbone.name) == ("imagenet", "resnet50")
    assert (p2be.epochs, p2be.batch_size) == (180, 64)  # section 1.9 of the paper's recipes
    assert (p2be.encoding.lambda_smooth, p2be.regime.alpha_jsd) == (10, 12)
    assert (p2be.optim.lr, p2be.optim.weight_decay) == (0.1, 1e-4)
    assert p2be.optim.milestones == [60, 120]


def test_tables_4_and_5_choose_lambda_by_data_set():
    lambdas = {
        (c.dataset.name, c.regime.name, c.encoding.lambda_smooth)
        for c in planned("table4", "full", "seed=0", "encoding=p2be")
    }
    assert lambdas == {(d, r, x) for d, x in (("cifar10", 1.0), ("cifar100", 0.1)) for r in ("contrain", "advtrain")}
    found = [(c.dataset.name, c.encoding.lambda_smooth) for c in planned("table5", "full", "seed=0")]
    assert found == [("cifar10", 0.0), ("cifar10", 1.0), ("cifar100", 0.0), ("cifar100", 0.1)]
    for config in planned("table4", "full", "seed=0", "encoding=onehot"):
        inner = config.regime.attack
        assert (inner.name, inner.eps_levels, inner.steps, inner.xi, inner.delta) == (
            *("lspga", 8, 7),
            *(1.0, 1.2),
        )
        assert config.attack.name == "lspga"


def test_table_6_trains_each_length_by_itself():
    epochs = [c.epochs for c in planned("table6", "full", "seed=0", "encoding=rgb", "backbone=wrn40_2")]
    assert epochs == [50, 100, 200]
    assert {"encoding=rgb,onehot,thermometer,p2be", "seed=0,1,2,3,4"} <= set(grid_of("table6"))


def test_table_7_needs_a_table_first_unless_one_is_named():
    sweep = read_sweep("table7")
    first = plan_jobs(sweep.first["first"])
    assert [(job.config.dataset.name, job.config.encoding.lambda_smooth) for job in first] == [("imagenet", 10)]
    tables = {(c.dataset.name, c.encoding.table_from) for c in planned("table7")}
    assert tables == set(itertools.product(("cifar10", "cifar100"), (None, "first_run")))
    named = read_sweep("table7", "full", ["encoding.table_from=null,logs/mine"])
    assert named.first == {}
    assert "encoding.table_from=null,logs/mine" in named.grids[""]


def test_other_methods_train_each_on_its_encodings():
    found = {(c.regime.name, c.encoding.name) for c in planned("other_methods", "full", "seed=0")}
    views = itertools.product(("standard", "augmix", "noisymix", "tenet"), ("rgb", "p2be"))
    adversarial = itertools.product(("advtrain", "contrain", "trades", "mart"), ("rgb", "thermometer", "p2be"))
    assert found == {*views, *adversarial}
    assert len(planned("other_methods")) == 3 * len(found)


def test_a_third_of_tenets_steps_lie_behind_its_start_at_the_small_scale():
    (config,) = planned("other_methods", "small", "regime=tenet", "encoding=rgb", "seed=0")
    steps = config.epochs * math.ceil(config.limit_train / config.batch_size)
    assert steps - config.regime.from_step >= steps / 3
    assert config.regime.first_second_step <= steps


@pytest.mark.parametrize("scale", ["full", "small"])
def test_mixing_attacks_both_parts_and_every_weight_alike(scale):
    sweep = read_sweep("mixing", scale)
    parts = {name: plan_jobs(overrides)[0].config for name, overrides in sweep.first.items()}
    mixtures = planned("mixing", scale)
    first, *others, last = [each for each in mixtures if each.model.name == "mix"]
    assert {config.model.name for config in mixtures} == {"mix", "adaptive_mix", "nuts_mix"}
    assert len({str(config.attack) for config in (*parts.values(), *mixtures)}) == 1
    assert len({(config.dataset.name, config.limit_test) for config in (*parts.values(), *mixtures)}) == 1
    assert (first.model.accurate, first.model.robust) == ("accurate_run", "robust_run")
    assert (first.model.alpha, last.model.alpha) == (0, 1)
    assert parts["accurate"].regime.name == "standard"
    nuts = next(each.model for each in mixtures if each.model.name == "nuts_mix")
    assert {config.dataset.val_size >= nuts.calibration_images for config in parts.values()} == {True}
    assert {config.encoding.name for config in parts.values()} == {"rgb"}
    robust = parts["robust"].regime
    expected = ("trades", "kl", 8) if scale == "full" else ("advtrain", "margin", 16)
    assert (robust.name, robust.attack.loss, robust.attack.eps_levels) == expected
    if scale == "full":
        assert {0.45, 0.5, 0.55} < {config.model.alpha for config in others}
        assert parts["robust"].optim.milestones == [74, 89, 99]  # as published


# -- how a file is read -----------------------------------------------------------------------------------------------


def test_a_users_override_stands_where_the_files_stood(made):
    made("mine", "title: T\nfull: {encoding: [rgb, p2be], seed: [0, 1]}\nsmall: {note: few, epochs: 1, seed: drop}\n")
    assert grid_of("mine", "full", ["encoding=onehot", "epochs=3"]) == (
        "encoding=onehot",
        "seed=0,1",
        "sweeps=mine",
        "scale=full",
        "epochs=3",
    )
    small = read_sweep("mine", "small")
    assert small.grids[""] == (
        "encoding=rgb,p2be",
        "epochs=1",
        "sweeps=mine",
        "scale=small",
        'departs_from_paper="scale=small of sweeps=mine: few"',
    )
    assert (small.title, small.about) == ("T", "few")


def test_another_option_takes_the_files_keys_of_its_group_away(made):
    made(
        "mine",
        "title: T\nsmall: {}\nfull: {encoding: [onehot, p2be], encoding.M: 8, corruption: auto, corruption.names: fog}",
    )
    plain = ("sweeps=mine", "scale=full")
    assert grid_of("mine", "full", ["encoding=p2be", "corruption=none"]) == (
        *("encoding=p2be", "encoding.M=8", "corruption=none"),
        *plain,
    )
    assert grid_of("mine", "full", ["encoding=rgb,p2be", "encoding.M=3"]) == (
        *("encoding=rgb,p2be", "corruption=auto", "corruption.names=fog"),
        *plain,
        "encoding.M=3",
    )


def test_values_survive_hydras_grammar(made):
    made(
        "mine",
        """\
title: T
full:
  task_name: "it's a, b"
  corruption: generated
  corruption.names: [[fog, snow], [noise]]
  dataset.download: false
  limit_test: null
small: {note: n}
""",
    )
    jobs = planned("mine")
    assert [job.corruption.names for job in jobs] == [["fog", "snow"], ["noise"]]
    assert {(job.task_name, job.dataset.download, job.limit_test) for job in jobs} == {("it's a, b", False, None)}


def test_what_there_is_not_is_refused():
    with pytest.raises(BadInput, match="sweeps=table9: no such sweep; available: cpu_study, fig2, fig3, fpd, m_lambda"):
        read_sweep("table9")
    with pytest.raises(BadInput, match="scale=tiny: must be one of full, small"):
        read_sweep("table2", "tiny")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("title: T\nfull: {seed: 0}\n", "sections are"),
        ("title: T\nfull: {seed: 0}\nsmall: {}\nmedium: {}\n", "sections are"),
        ('title: T\nfull: {encoding.table_from: "{first}"}\nsmall: {note: n}\n', "requires a section first"),
        ('title: T\nfull: {a: "{two}"}\nsmall: {}\nfirst: {one: {full: {}}}\n', "{two} requires a section first.two"),
        ("title: T\nfull: {}\nsmall: {}\nfirst: {small: {}}\n", "first=.*full is required"),
        ("title: T\nfull: {}\nsmall: {}\nfirst: {one: {small: {}}}\n", "first.one=.*full is required"),
        ("title: T\nfull: {}\nsmall: {}\nfirst: {report: {full: {}}}\n", "first: report: a name has"),
        ("title: T\nfull: {}\nsmall: {}\nfirst: {}\n", "first={}: its sections are full and small"),
        (
            'title: T\nfull: {}\nsmall: {}\nfirst: {one: {full: {}}, two: {full: {a: [null, "{one}"]}}}\n',
            "first.two.full: a=.*: a first run cannot need another",
        ),
    ],
)
def test_a_file_of_another_form_is_an_error(made, text, message):
    made("mine", text)
    with pytest.raises(ValueError, match=message):
        read_sweep("mine")


# -- runs that are trained first --------------------------------------------------------------------------------------

PARTS = """\
title: T
first:
  one: {full: {regime: standard, epochs: 9}, small: {epochs: 2}}
  two: {full: {regime: augmix, seed: 7}}
full: {encoding.table_from: "{one}", task_name: ["${preset.name}", "{two}"]}
small: {note: few}
"""


def test_several_first_runs_are_named(made):
    made("mine", PARTS)
    sweep = read_sweep("mine", "small", ["limit_train=50", "epochs=1"])
    shared = ("sweeps=mine", "scale=small", 'departs_from_paper="scale=small of sweeps=mine: few"', "limit_train=50")
    assert sweep.first == {
        "one": ("regime=standard", "epochs=2", *shared),
        "two": ("regime=augmix", "seed=7", *shared),
    }
    grid = sweep.grids[""]
    assert set.union(*map(first_runs_of, grid)) == {"one", "two"}
    folders = {"one": "x/one", "two": "x/two"}
    assert [with_folders(each, folders) for each in grid[:2]] == [
        "encoding.table_from=x/one",
        "task_name=${preset.name},x/two",
    ]


def test_a_first_run_that_no_job_needs_is_left_out(made):
    made("mine", PARTS)
    assert set(read_sweep("mine", "full", ["encoding.table_from=mine"]).first) == {"two"}


# -- blocks -----------------------------------------------------------------------------------------------------------

BLOCKS = """\
title: T
full: {dataset: cifar10, epochs: 9, seed: [0, 1]}
small: {note: few, dataset: digits, epochs: 1}
blocks:
  plain:
    full: {regime: [standard, augmix], encoding: [rgb, p2be], epochs: 12}
  tenet:
    full: {regime: tenet, encoding: p2be, regime.every: 2, seed: drop}
    small: {regime.from_step: 3}
"""


def grids(*arguments):
    """By block, its overrides without those that every sweep has."""
    common = ("sweeps=", "scale=", "departs_from_paper=")
    found = read_sweep("mine", *arguments).grids
    return {name: [each for each in grid if not each.startswith(common)] for name, grid in found.items()}


def test_each_block_is_a_grid_on_top_of_the_shared_keys(made):
    made("mine", BLOCKS)
    assert grids() == {
        "plain": ["dataset=cifar10", "epochs=12", "seed=0,1", "regime=standard,augmix", "encoding=rgb,p2be"],
        "tenet": ["dataset=cifar10", "epochs=9", "regime=tenet", "encoding=p2be", "regime.every=2"],
    }
    small = grids("small")
    assert "epochs=1" in small["plain"]  # what is small stays small
    assert "regime.from_step=3" in small["tenet"]


@pytest.mark.parametrize(
    ("given", "blocks"),
    [
        (["regime=tenet"], {"tenet": {"regime=tenet", "encoding=p2be"}}),
        (["regime=augmix,tenet", "encoding=rgb"], {"plain": {"regime=augmix", "encoding=rgb"}}),
        (
            ["encoding=onehot"],
            {
                "plain": {"regime=standard,augmix", "encoding=onehot"},
                "tenet": {"regime=tenet", "encoding=onehot"},
            },
        ),
        (
            ["epochs=3"],  # the key of one block, and of the file for the other
            {"plain": {"regime=standard,augmix", "epochs=3"}, "tenet": {"regime=tenet", "epochs=9"}},
        ),
        (
            ["regime.every=5"],
            {"plain": {"encoding=rgb,p2be"}, "tenet": {"regime.every=5"}},
        ),
        (["batch_size=7"], {"plain": {"batch_size=7"}, "tenet": {"batch_size=7"}}),
    ],
)
def test_a_users_override_chooses_among_the_blocks(made, given, blocks):
    made("mine", BLOCKS)
    found = grids("full", given)
    assert set(found) == set(blocks)
    for name, expected in blocks.items():
        assert expected <= set(found[name])
    assert "regime.every=5" not in found.get("plain", [])


def test_another_regime_takes_the_attack_within_it_away(made):
    made("mine", "title: T\nsmall: {}\nfull: {regime: advtrain, attack@regime.attack: pgd_fixed, encoding: rgb}\n")
    assert not any("attack" in each for each in grid_of("mine", "full", ["regime=standard"]))


def test_overrides_that_leave_no_block_are_refused(made):
    made("mine", BLOCKS)
    with pytest.raises(BadInput, match=r"sweeps=mine: no block of its file has regime=tenet encoding=rgb"):
        read_sweep("mine", "full", ["regime=tenet", "encoding=rgb"])


@pytest.mark.parametrize(
    ("blocks", "message"),
    [
        ("[{regime: tenet}]", "blocks=.*: must be names with sections"),
        ("{}", "blocks=.*: must be names with sections"),
        ("{first: {full: {}}}", "blocks: first: a name"),
        ("{a/b: {full: {}}}", "blocks: a/b: a name"),
        ("{a: {small: {}}}", "blocks.a=.*full is required"),
        ("{a: {full: {regime: []}}}", r"blocks.a.full: regime=\[\]: at least one"),
        ("{a: {full: {regime: {name: x}}}}", "blocks.a.full: regime=.*GROUP.KEY"),
        ("{one: {full: {}}}", "blocks: one: a name has .* is not first or one or report"),
    ],
)
def test_blocks_of_another_form_are_an_error(made, blocks, message):
    made("mine", f"title: T\nfirst: {{one: {{full: {{}}}}}}\nfull: {{}}\nsmall: {{}}\nblocks: {blocks}\n")
    with pytest.raises(BadInput, match=message):
        read_sweep("mine")
