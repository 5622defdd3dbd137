"""Which attacks a configuration comes to, and how the panel sees them."""

from dataclasses import replace
from importlib.util import find_spec
from types import SimpleNamespace

import pytest

from p2be_exp.attacks import build_attack, list_attacks
from p2be_exp.attacks.attack import Work
from p2be_exp.config import compose_config, to_plain, training_config
from p2be_exp.config.schema import EvaluateConfig
from p2be_exp.config.typed import typed
from p2be_exp.errors import BadInput
from p2be_exp.evaluation.attack_plan import ONE_STEP, Source, check_serves, gradient_name, plan_attacks, plan_nearest
from p2be_exp.registry import inner_attacks, option


def group(*overrides):
    return typed(to_plain(compose_config("evaluate", ["run=some", *overrides])), EvaluateConfig).attack


def planned(*overrides, encoding="p2be", source=None):
    return [(attack.id, attack.eps_levels) for attack in plan_attacks(group(*overrides), [encoding], source)]


def test_every_name_builds_an_attack_of_its_radius():
    libraries = [name for name in list_attacks() if option("attack", name).library]
    assert list_attacks() == sorted([*inner_attacks(), *libraries])
    for name in list_attacks():
        if name in libraries and find_spec(option("attack", name).library) is None:
            continue
        attack = build_attack(group(f"attack={name}"), 5)
        assert attack.eps_levels == 5
        assert attack.id.startswith(name)


def test_none_and_single_attacks():
    assert planned("attack=none") == []
    assert planned("attack=pgd", "attack.eps_levels=[8,2]") == [("pgd_margin_secant", 2), ("pgd_margin_secant", 8)]
    assert planned("attack=lspga") == [("random_in_ball", 8), ("lspga", 8)]
    assert planned("attack=lspga", "attack.step_rule=raw")[1] == ("lspga_raw", 8)
    assert planned("attack=transfer", "attack.source=x", source=Source("rgb_wrn40_2", None)) == [
        ("transfer_rgb_wrn40_2", 8)
    ]


def test_what_looks_for_the_nearest_image_is_planned_apart_and_once():
    pytest.importorskip("foolbox", reason="foolbox is not installed: pip install -e '.[attacks]'")
    assert planned("attack=foolbox", "attack.method=cw") == []
    (alone,) = plan_nearest(group("attack=foolbox", "attack.method=cw", "attack.eps_levels=4", "attack.restarts=2"))
    assert (alone.id, alone.reach, alone.restarts) == ("foolbox_L2CarliniWagnerAttack_secant", 4, 2)
    also = "attack.also=[foolbox.hopskipjump,foolbox.deepfool,foolbox.deepfool_l2]"
    for radii, reach in (("[2,4,8,16,32]", 8), ("[4,64]", 64), ("0", 1)):
        suite = group("attack=suite", f"attack.eps_levels={radii}", also)
        nearest = plan_nearest(suite)
        assert [each.id for each in nearest] == ["foolbox_HopSkipJumpAttack", "foolbox_L2DeepFoolAttack_secant"]
        assert [each.reach for each in nearest] == [reach, reach]
        names = [each.id for each in plan_attacks(suite, ["p2be"])]
        assert names.count("foolbox_LinfDeepFoolAttack_secant") == len(suite.radii)
        assert not {each.id for each in nearest} & set(names)
    assert [gradient_name(each, ["rgb"]) for each in nearest] == ["", "exact"]
    for others in ("attack=pgd", "attack=suite", "attack=none", "attack=foolbox"):
        assert plan_nearest(group(others)) == []
    with pytest.raises(BadInput, match=r"attack.gradient=interpolate: "):
        plan_attacks(group("attack=foolbox", "attack.method=cw", "attack.gradient=interpolate"), ["p2be"])


def test_a_suite_of_a_mixture_transfers_from_each_of_its_parts():
    names = {"robust": ("p2be",), "accurate": ("rgb",)}
    found = plan_attacks(group("attack=suite_short"), ["p2be", "rgb"], parts=names)
    ids = [attack.id for attack in found]
    assert ids[-4:] == ["transfer_robust", "transfer_accurate", "transfer_robust_lspga", "square"]
    assert all(attack.inner.stop_when_wrong is False for attack in found[-4:-1])
    assert [gradient_name(each, ["p2be", "rgb"], names) for each in found[-4:-1]] == ["secant", "exact", "relaxed"]
    alone = plan_attacks(group("attack=pgd"), ["p2be", "rgb"], parts=names)
    assert [attack.id for attack in alone] == ["pgd_margin_secant"]
    gated = plan_attacks(group("attack=suite_short"), ["p2be", "rgb"], parts=names, gated=True)
    assert [each.id for each in gated if each not in found][6] == "pgd_mix_secant"


def test_a_suite_climbs_the_outputs_that_hide_logits_as_it_climbs_these():
    alone = plan_attacks(group("attack=suite"), ["thermometer"])
    found = plan_attacks(group("attack=suite"), ["thermometer"], hides_logits=True)
    ids = [each.id for each in found]
    joined = [each for each in found if each.id == "pgd_margin_secant_outputs"]
    assert [each.eps_levels for each in joined] == [2, 4, 8, 16, 32]
    assert [each for each in ids if each != "pgd_margin_secant_outputs"] == [each.id for each in alone]
    assert ids[ids.index("pgd_margin_secant_outputs") - 1] == "pgd_margin_secant"
    partner = next(each for each in alone if each.id == "pgd_margin_secant")
    assert (joined[0].steps, joined[0].restarts, joined[0].start) == (partner.steps, partner.restarts, partner.start)
    assert {each.climbs_outputs for each in alone} == {False}
    assert all(each.climbs_outputs for each in joined)
    (single,) = plan_attacks(group("attack=pgd", "attack.climb=outputs"), ["rgb"])
    assert (single.id, single.climbs_outputs) == ("pgd_margin_secant_outputs", True)
    assert len(plan_attacks(group("attack=pgd"), ["rgb"], hides_logits=True)) == 1


def test_only_a_decoder_with_its_tanh_hides_logits():
    def hides(*overrides):
        return training_config(["dataset=digits", "encoding=rgb", *overrides]).model.hides_logits

    assert hides("model=fpd")
    assert hides("model=fpd", "model.denoise=false")
    assert not hides("model=fpd", "model.tanh=false")
    assert not hides("model=plain")
    assert not hides("model=nuts_mix", "model.accurate=A", "model.robust=B")


def test_an_attack_that_a_part_has_no_gradient_for_names_the_part():
    names = {"robust": ("p2be",), "accurate": ("rgb",)}
    with pytest.raises(BadInput) as raised:
        plan_attacks(group("attack=pgd", "attack.gradient=interpolate"), ["p2be", "rgb"], parts=names)
    assert str(raised.value).endswith("must be secant or smooth (the robust part)")


def test_the_suite_radius_by_radius_cheapest_first():
    ids = [
        "random_in_ball", ONE_STEP, "lspga", "lspga_margin", "pgd_ce_secant", "pgd_margin_secant",
        "pgd_margin_smooth", "square",
    ]  # fmt: skip
    assert planned("attack=suite") == [(name, radius) for radius in (2, 4, 8, 16, 32) for name in ids]
    with_buckets = [*ids[:-1], "pgd_margin_interpolate", "transfer_rgb", "square"]
    found = planned("attack=suite_short", encoding="thermometer", source=Source("rgb", None))
    assert found == [(name, 8) for name in with_buckets]
    # RGB's table is a line: one surrogate says it all.
    assert planned("attack=suite", "attack.eps_levels=2", encoding="rgb") == [
        (name, 2) for name in ids if name != "pgd_margin_smooth"
    ]


def test_others_join_the_suite_at_each_radius():
    pytest.importorskip("foolbox", reason="foolbox is not installed: pip install -e '.[attacks]'")
    alone = planned("attack=suite_short", "attack.eps_levels=[2,4]")
    found = planned("attack=suite_short", "attack.eps_levels=[2,4]", "attack.also=[foolbox.LinfPGD]")
    names = [name for name, radius in alone if radius == 2]
    assert found == [(name, radius) for radius in (2, 4) for name in [*names, "foolbox_LinfPGD_secant"]]


def test_the_suites_effort_is_the_configurations():
    effort = ("attack.steps=7", "attack.restarts=3", "attack.queries=11", "attack.eps_levels=4")
    attacks = {each.id: each for each in plan_attacks(group("attack=suite", *effort), ["onehot"])}
    assert (attacks[ONE_STEP].steps, attacks[ONE_STEP].restarts) == (1, 1)
    assert (attacks["pgd_margin_secant"].steps, attacks["pgd_margin_secant"].restarts) == (7, 3)
    assert (attacks["lspga"].steps, attacks["lspga"].restarts) == (7, 3)
    assert (attacks["lspga_margin"].steps, attacks["lspga_margin"].restarts) == (7, 3)
    assert attacks["square"].queries == 11
    attacks = {each.id: each for each in plan_attacks(group("attack=suite"), ["onehot"])}
    assert (attacks["lspga_margin"].steps, attacks["lspga_margin"].restarts) == (7, 5)  # about PGD's 40 gradients


def test_the_suites_ls_pga_and_random_choice_are_the_default_ones():
    suite = {each.id: each for each in plan_attacks(group("attack=suite_short"), ["p2be"])}
    for name in ("lspga", "random_in_ball"):
        assert vars(suite[name]) == vars(build_attack(group(f"attack={name}"), 8))


def test_the_gradient_of_rgb_is_exact_and_a_transfer_has_its_sources():
    def named(encodings, source):
        attacks = plan_attacks(group("attack=suite", "attack.eps_levels=4"), encodings, Source("other", source))
        return {each.id: gradient_name(each, encodings) for each in attacks}

    rgb, thermometer = (SimpleNamespace(encodings=[SimpleNamespace(name=name)]) for name in ("rgb", "thermometer"))
    found = named(["rgb"], thermometer)
    assert found["pgd_margin_secant"] == found[ONE_STEP] == "exact"
    assert (found["lspga"], found["square"], found["transfer_other"]) == ("relaxed", "", "secant")
    found = named(["thermometer"], rgb)
    assert (found["pgd_margin_smooth"], found["transfer_other"]) == ("smooth", "exact")
    assert named(["rgb", "p2be"], rgb)["pgd_margin_secant"] == "secant"


def test_interpolate_needs_buckets():
    with pytest.raises(BadInput, match=r"attack\.gradient=interpolate: interpolates between buckets"):
        planned("attack=pgd", "attack.gradient=interpolate")
    assert planned("attack=pgd", "attack.gradient=interpolate", encoding="thermometer") == [
        ("pgd_margin_interpolate", 8)
    ]


def test_the_panel_knows_their_kinds_and_families():
    attacks = {each.id: each for each in plan_attacks(group("attack=suite", "attack.eps_levels=4"), ["onehot"],
                                                      Source("rgb", None))}  # fmt: skip
    kinds = {name: attack.kind for name, attack in attacks.items()}
    assert kinds["random_in_ball"] == "random"
    assert kinds["square"] == "black-box"
    assert kinds["transfer_rgb"] == "transfer"
    assert {kinds[name] for name in kinds if name.startswith(("pgd", "lspga"))} == {"white-box"}
    assert attacks[ONE_STEP].family == attacks["pgd_ce_secant"].family == "pgd_ce_secant"
    assert attacks["lspga"].family == "lspga"


def test_an_attack_says_how_much_it_asks_of_the_model():
    attacks = {each.id: each.work for each in plan_attacks(group("attack=suite"), ["p2be"], Source("rgb", None))}
    assert attacks["pgd_margin_secant"] == Work(gradients=40, forwards=0)
    assert attacks[ONE_STEP] == Work(1, 0)
    assert attacks["lspga"] == Work(7, 0)
    assert attacks["random_in_ball"] == Work(0, 10)
    assert attacks["square"] == Work(0, 501)  # and one for what it found
    assert attacks["transfer_rgb"] == Work(40, 1)
    twice = build_attack(replace(group("attack=pgd"), restarts=2, steps=5), 8)
    assert twice.work == Work(10, 0)


def test_of_several_encodings_a_gradient_runs_between_buckets_where_each_has_them_or_is_a_line():
    def gradients(*encodings):
        return {each.gradient for each in plan_attacks(group("attack=suite"), encodings)} - {"", "relaxed"}

    assert gradients("rgb", "rgb") == {"secant"}
    assert gradients("rgb", "onehot") == gradients("onehot", "thermometer") == {"secant", "smooth", "interpolate"}
    assert gradients("rgb", "p2be") == gradients("thermometer", "p2be") == {"secant", "smooth"}
    between = group("attack=pgd", "attack.gradient=interpolate")
    check_serves("attack", between, ["onehot", "rgb"])
    for encodings in (["rgb"], ["rgb", "rgb"], ["onehot", "p2be"]):
        with pytest.raises(BadInput, match=r"^attack\.gradient=interpolate: interpolates between buckets"):
            check_serves("attack", between, encodings)


def test_those_that_climb_are_shown_a_planted_direction():
    attacks = plan_attacks(group("attack=suite", "attack.eps_levels=4"), ["thermometer"], Source("rgb", None))
    assert {each.id for each in attacks if not each.climbs} == {"random_in_ball", "transfer_rgb", "square"}
    # The divergence grows away from the image on its other side as well: an attack that works may go there.
    (alone,) = plan_attacks(group("attack=pgd_kl"), ["thermometer"], None)
    assert not alone.climbs
    (alone,) = plan_attacks(group("attack=pgd_fixed"), ["thermometer"], None)
    assert alone.climbs
