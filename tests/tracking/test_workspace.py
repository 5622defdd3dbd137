"""The panels of a W&B view: every name in them is one that a run logs, and W&B's own package can say them."""

import builtins
import json
import re

import pytest
import wandb

from commandline import QUICKSTART, ROOT, refusal, train
from commandline import tracking as command
from p2be_exp.config import training_config
from p2be_exp.config.typed import plain
from p2be_exp.tracking import COLUMNS, flat_columns, summary_numbers
from p2be_exp.tracking import workspace as view
from p2be_exp.tracking.panels import PANELS
from wandb_records import config_of, keys_of, of_kind, records


@pytest.fixture(scope="module")
def everything(tmp_path_factory):
    """What an offline run with every kind of number has logged, and its folder."""
    home, folder = tmp_path_factory.mktemp("wandb"), tmp_path_factory.mktemp("logged") / "run"
    with pytest.MonkeyPatch.context() as patch:
        for variable in ("WANDB_CACHE_DIR", "WANDB_CONFIG_DIR", "WANDB_DATA_DIR", "WANDB_ARTIFACT_DIR"):
            patch.setenv(variable, str(home))
        patch.setenv("WANDB_SILENT", "true")
        patch.delenv("WANDB_API_KEY", raising=False)
        patch.chdir(folder.parent)
        outcome = train(
            *QUICKSTART, "epochs=1", "limit_test=4", "encoding.M=16", "dataset.val_size=10", "watch_every=1",
            "logger=wandb", "logger.wandb.mode=offline", "logger.wandb.log_every_n_steps=2",
            "attack=suite_short", "attack.eps_levels=[2,4,8,16,32]", "attack.steps=1", "attack.queries=1",
            "corruption=generated", "corruption.severities=[1]",
            "corruption.names=[gaussian_noise,defocus_blur,brightness,contrast]", f"hydra.run.dir={folder}",
        )  # fmt: skip
        assert outcome.code == 0, outcome.err
        wandb.teardown()
    return records(folder), folder


# -- names ------------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_every_name_in_a_panel_is_one_that_a_run_logs(everything):
    found, _ = everything
    history, summary, config = keys_of(found, "history"), keys_of(found, "summary"), set(config_of(found))
    for panel in PANELS:
        logged = {"lines": history, "images": history, "table": history, "parallel": summary | config}
        places = logged.get(panel.kind, summary)
        assert set(panel.metrics) <= places, panel.title
        if panel.x:
            assert panel.x in {"lines": history}.get(panel.kind, config | summary), panel.title
        if panel.group:
            assert panel.group in config, panel.title
    for pinned in view.PINNED:
        kind, _, name = pinned.partition(":")
        assert name in {"config": config, "summary": summary}[kind], pinned


@pytest.mark.slow
def test_the_numbers_are_those_of_the_results(everything):
    found, folder = everything
    results = json.loads((folder / "results.json").read_text())
    updates = [item for part in of_kind(found, "summary") for item in part.update]
    told = {item.key or "/".join(item.nested_key): json.loads(item.value_json) for item in updates}
    assert told["clean_error"] == results["clean_error"]
    assert told["mean_corruption_error"] == results["mean_corruption_error"]
    assert told["worst_case_error/8"] == results["worst_case_error"]["8"]
    assert told["lspga_error/32"] == results["attacks"]["lspga"]["error"]["32"]
    assert told["corruption_error/blur"] == results["conditions"]["corruption/defocus_blur/1"]["error"]
    assert {f"{name}/error" for name in results["conditions"]} <= set(told)
    assert "mce" not in told  # which digits do not have


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        ([], {"encoding_name": "p2be", "M": 64, "lambda_smooth": 1.0, "regime_name": "augmix"}),
        (["encoding=rgb", "regime=standard"], {"encoding_name": "rgb", "M": 1, "regime_name": "standard"}),
        (["encoding=onehot", "encoding.M=5", "preset=paper"], {"M": 5, "preset_name": "paper"}),
    ],
)
def test_the_columns(overrides, expected):
    config = training_config(overrides)
    columns = flat_columns(config)
    assert columns.items() >= expected.items()
    assert ("lambda_smooth" in columns) == (not overrides)
    assert set(columns) <= set(COLUMNS)
    assert not set(columns) & set(plain(config))  # none takes the place of a group
    assert all(isinstance(value, str | int | float) for value in columns.values())
    assert not any("." in name or "/" in name for name in columns)
    assert {"seed", "scale", "departs_from_paper"} <= set(plain(config))


def test_what_was_not_measured_has_no_number():
    summary = {"clean_error": 5, "mean_corruption_error": None, "mce": None, "relative_mce": None, "corruptions": {},
               "attacks": {"lspga": {"error": {"8": None, "4": 7.5}}}, "worst_case_error": {"8": None},
               "conditions": {"clean": {"error": 5}}}  # fmt: skip
    assert summary_numbers(summary) == {"clean_error": 5.0, "lspga_error/4": 7.5, "clean/error": 5.0}


# -- W&B's own package ------------------------------------------------------------------------------------------------


def test_the_view_holds_every_panel_in_its_section():
    model = view.build_workspace("project", "team", "name")._to_model()
    spec = json.loads(model.model_dump_json(by_alias=True))
    assert (spec["entity"], spec["project"], spec["displayName"]) == ("team", "project", "name")
    section = spec["spec"]["section"]["panelBankConfig"]["sections"]
    assert [part["name"] for part in section] == list(dict.fromkeys(panel.section for panel in PANELS))
    drawn = [panel for part in section for panel in part["panels"]]
    assert len(drawn) == len(PANELS)
    for panel, found in zip(PANELS, drawn, strict=True):
        text = json.dumps(found)
        assert all(name in text for name in panel.metrics), panel.title
        assert panel.kind == "table" or f'"{panel.title}"' in text
        if panel.group:
            assert found["config"]["groupBy"] == f"{panel.group}.value"
        if panel.kind == "scatter":
            axis = f"config:{panel.x}.value" if panel.x in COLUMNS else f"summary:{panel.x}"
            assert (found["config"]["xAxis"], found["config"]["yAxis"]) == (axis, f"summary:{panel.metrics[0]}")
        if panel.kind == "lines":
            assert found["config"]["metrics"] == list(panel.metrics)
            assert found["config"]["xAxis"] == (panel.x or "_step")


@pytest.fixture
def logged_in(monkeypatch):
    """A user, and in place of W&B's server a list of what is sent to it."""
    from wandb_workspaces.workspaces import interface, internal

    sent = []

    def upsert(model):
        sent.append(model)
        return {"upsertView": {"view": {"name": model.name, "id": "1"}}}

    monkeypatch.setattr(wandb, "login", lambda prompt: True)
    monkeypatch.setattr(internal, "upsert_view2", upsert)
    monkeypatch.setattr(
        interface.Workspace, "url", property(lambda self: f"https://wandb/{self.entity}/{self.project}")
    )
    monkeypatch.setattr(wandb, "Api", lambda: type("Api", (), {"default_entity": "me"})())
    monkeypatch.setattr(wandb, "termlog", lambda *arguments, **settings: None)
    monkeypatch.delenv("WANDB_PROJECT", raising=False)
    wandb.teardown()
    yield sent
    wandb.teardown()


def test_the_command_sends_one_view_and_prints_where_it_is(workdir, logged_in, monkeypatch):
    outcome = command("workspace", "project=ours", "entity=team", "name=mine")
    assert (outcome.code, outcome.out) == (0, "https://wandb/team/ours\n"), outcome.err
    (model,) = logged_in
    assert (model.entity, model.project, model.display_name) == ("team", "ours", "mine")
    assert refusal(command("workspace")) == (
        "project=null: name the project of the runs, project=NAME or WANDB_PROJECT=NAME"
    )
    monkeypatch.setenv("WANDB_PROJECT", "theirs")
    wandb.teardown()
    assert command("workspace").out == "https://wandb/me/theirs\n"


def test_what_keeps_it_from_being_sent_is_one_line(workdir, logged_in, monkeypatch):
    def refuse(model):
        raise ValueError("permission denied\nmore")

    monkeypatch.setattr("wandb_workspaces.workspaces.internal.upsert_view2", refuse)
    assert refusal(command("workspace", "project=ours")) == "workspace: the request to W&B failed (permission denied)"
    monkeypatch.setattr(wandb, "login", lambda prompt: False)
    assert refusal(command("workspace")) == (
        "workspace: not logged in to W&B; wandb login, or dry_run=true prints the panels"
    )
    monkeypatch.setenv("WANDB_MODE", "offline")
    wandb.teardown()
    assert refusal(command("workspace")) == "workspace: W&B is offline here; dry_run=true prints the panels"
    monkeypatch.setattr(view.importlib.util, "find_spec", lambda name: None)
    assert refusal(command("workspace")) == (
        "workspace: wandb-workspaces is not installed; pip install 'p2be-exp[dashboards]'"
    )


@pytest.mark.parametrize(
    ("variable", "value", "why"),
    [("WANDB_API_KEY", "short", "WANDB_API_KEY invalid: "), ("WANDB_MODE", "sometimes", "")],
)
def test_what_wandb_does_not_take_from_the_environment_is_one_line(wandb_dirs, monkeypatch, variable, value, why):
    monkeypatch.setenv(variable, value)
    wandb.teardown()
    assert refusal(command("workspace")).startswith(f"workspace: the request to W&B failed ({why}")


# -- the command ------------------------------------------------------------------------------------------------------


def test_a_dry_run_prints_every_panel_without_wandb(workdir, monkeypatch):
    original = builtins.__import__

    def without(name, *rest, **more):
        if name.startswith("wandb_workspaces"):
            raise ModuleNotFoundError(name)
        return original(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", without)
    monkeypatch.setattr(wandb, "login", lambda *rest, **more: pytest.fail("asked W&B"))
    outcome = command("workspace", "dry_run=true")
    assert outcome.code == 0, outcome.err
    lines = outcome.out.splitlines()
    assert len(lines) == 1 + len(PANELS)
    for line, panel in zip(lines[1:], PANELS, strict=True):
        assert re.match(rf"{re.escape(panel.section)} +{re.escape(panel.title)} +{panel.kind} ", line)
    assert "worst_case_error/{2,4,8,16,32}" in outcome.out
    assert max(map(len, lines)) < 180


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["panels"], "panels: not a command; available: workspace"),
        (["workspace", "--force"], "--force: not a flag; the command takes KEY=VALUE (see --help)"),
        (["workspace", "projekt=x"], "projekt=x: unknown key; did you mean project?"),
        (["workspace", "dry_run=perhaps"], "dry_run=perhaps: must be true or false"),
    ],
)
def test_bad_input(workdir, arguments, message):
    assert refusal(command(*arguments)) == message


def test_help():
    for arguments in ([], ["--help"]):
        assert "dry_run: false" in command(*arguments).out


def test_the_page_lists_every_panel():
    page = (ROOT / "docs/dashboards.md").read_text()
    for panel in PANELS:
        row = f"| {panel.title} | {panel.kind} |"
        assert row in page, row
        for name in (*panel.metrics, panel.x, panel.group):
            assert not name or name in page or f"`{name.rpartition('/')[0]}/R`" in page, name
