"""Where networks are loaded from: the zoo of this package, the hub's cache, a server that speaks as the hub does."""

import hashlib
import shutil
import sys
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import torch
from huggingface_hub import constants

from commandline import evaluate_clean, finish, refusal, start
from p2be_exp import list_models, load_run
from p2be_exp.config import compose_config, to_plain
from p2be_exp.config.typed import typed
from p2be_exp.errors import BadInput
from p2be_exp.evaluation.attack_source import attack_source
from p2be_exp.runs.places import folder_of

COMMIT = "0123456789abcdef0123456789abcdef01234567"


def refused(place):
    with pytest.raises(BadInput) as error:
        folder_of("run", place)
    assert "\n" not in str(error.value)
    return str(error.value).removeprefix(f"run={place}: ")


@pytest.mark.parametrize(
    "place",
    [
        "hf://",
        "hf://x",
        "hf://a/b/c",
        "hf://../b",
        "hf://a/..",
        "hf://a/b@",
        "hf://a/b@x/../y",
        "hf://a/b@x y",
        "hf:///b",
    ],
)
def test_names_that_no_repository_has(place):
    assert refused(place) == "must be hf://OWNER/NAME or hf://OWNER/NAME@REVISION"


def test_a_path_is_a_path(tmp_path):
    assert folder_of("run", tmp_path) == tmp_path


# -- the zoo ----------------------------------------------------------------------------------------------------------


def test_an_attack_transfers_from_the_zoo():
    overrides = ["encoding=p2be", "dataset=digits", "attack=transfer", "attack.source=zoo:digits_p2be"]
    source = attack_source(typed(to_plain(compose_config("train", overrides))))
    assert source.config().encoding.name == "p2be"


def test_a_network_that_the_zoo_does_not_have():
    assert refused("zoo:digits_rbg").startswith(f"no such network; available: {', '.join(list_models())}")
    assert refused("zoo:../zoo/digits_rgb").startswith("no such network")


def test_an_evaluation_of_a_network_of_the_zoo(workdir):
    outcome = evaluate_clean("run=zoo:digits_rgb", "limit_test=20", "out=results")
    assert outcome.code == 0, outcome.err
    assert "evaluating zoo:digits_rgb (last checkpoint, step 492)" in outcome.out
    message = refusal(evaluate_clean("run=zoo:digits_rgb"))
    assert message == "run=zoo:digits_rgb: a shared network stays as it is; use out=FOLDER for the results"


# -- the hub's cache, without a network -------------------------------------------------------------------------------


@pytest.fixture
def cache(shared, tmp_path, monkeypatch):
    """The hub's cache with one network, put there by hand; the hub cannot be reached."""
    repository = tmp_path / "models--somebody--network"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs/main").write_text(COMMIT)
    shutil.copytree(shared, repository / "snapshots" / COMMIT)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    return repository


@pytest.mark.parametrize("revision", ["", "@main", f"@{COMMIT}"])
def test_what_is_in_the_cache_needs_no_network(four_epochs, cache, revision):
    place = f"hf://somebody/network{revision}"
    images = torch.randint(256, (2, 3, 32, 32), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    with torch.no_grad():
        assert torch.equal(load_run(place)(images), load_run(four_epochs)(images))


def test_what_is_not_in_the_cache(cache):
    not_there = "is not in the cache (HF_HUB_CACHE), and the hub was not reached"
    for place in ("hf://somebody/other", "hf://somebody/network@v2"):
        assert refused(place) == not_there
    message = refusal(evaluate_clean("run=hf://somebody/network@v2", "out=results"))
    assert message == f"run=hf://somebody/network@v2: {not_there}"
    (cache / "snapshots" / COMMIT / "model.safetensors").unlink()
    assert refused("hf://somebody/network") == not_there


def test_a_damaged_file_in_the_cache_is_named_by_its_repository(cache):
    (cache / "snapshots" / COMMIT / "config.json").write_text("{}")
    message = refusal(evaluate_clean("run=hf://somebody/network", "out=results"))
    assert message.startswith("run=hf://somebody/network: config.json is not of a network of p2be_exp")


def test_the_library_that_is_not_installed(monkeypatch):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    assert refused("hf://a/b") == "huggingface_hub is not installed; pip install 'p2be-exp[hub]'"


# -- a download -------------------------------------------------------------------------------------------------------


@contextmanager
def hub_of(folder):
    """A server that answers for the files of ``somebody/network`` as the hub does; what it was asked for."""
    asked = []

    class Handler(BaseHTTPRequestHandler):
        def answer(self, body):
            asked.append((self.command, self.path))
            owner, _, rest = self.path.removeprefix("/").partition("/resolve/")
            revision, _, name = rest.partition("/")
            file, fault = folder / name, ""
            if owner != "somebody/network":
                fault = "RepoNotFound"
            elif revision not in ("main", COMMIT):
                fault = "RevisionNotFound"
            elif not file.is_file():
                fault = "EntryNotFound"
            content = b"" if fault else file.read_bytes()
            self.send_response(404 if fault else 200)
            headers = {"X-Error-Code": fault} if fault else {"ETag": f'"{hashlib.sha1(content).hexdigest()}"'}
            for key, value in {**headers, "X-Repo-Commit": COMMIT, "Content-Length": str(len(content))}.items():
                self.send_header(key, value)
            self.end_headers()
            if body:
                self.wfile.write(content)

        def do_HEAD(self):
            self.answer(body=False)

        def do_GET(self):
            self.answer(body=True)

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}", asked
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


SCRIPT = """
import sys

from p2be_exp.errors import BadInput
from p2be_exp.runs.places import folder_of

for place in sys.argv[1:]:
    try:
        print(folder_of("run", place))
    except BadInput as error:
        print(error)
"""


@pytest.mark.slow
def test_a_download_from_a_server(shared, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HOME", str(tmp_path / "home"))
    (tmp_path / "script.py").write_text(SCRIPT)
    places = ["hf://somebody/network", "hf://somebody/other", "hf://somebody/network@v2"]
    with hub_of(shared) as (url, asked):
        monkeypatch.setenv("HF_ENDPOINT", url)  # which the library reads when it is imported
        outcome = finish(start(tmp_path / "script.py", *places, cwd=tmp_path))
    assert outcome.code == 0, outcome.err
    folder = tmp_path / "home/hub/models--somebody--network/snapshots" / COMMIT
    assert outcome.out.splitlines() == [
        str(folder),
        "run=hf://somebody/other: no such repository, or a private one (hf auth login)",
        "run=hf://somebody/network@v2: the repository has no revision v2",
    ]
    assert {each.name for each in folder.iterdir()} == {"config.json", "model.safetensors"}
    images = torch.full((1, 3, 32, 32), 7, dtype=torch.uint8)
    with torch.no_grad():
        assert torch.equal(load_run(folder)(images), load_run(shared)(images))
    # The weights are those of the commit that the configuration is of, whatever the branch is then.
    got = [path for command, path in asked if command == "GET" and "/resolve/" in path]
    assert got == [
        "/somebody/network/resolve/main/config.json",
        f"/somebody/network/resolve/{COMMIT}/model.safetensors",
    ]
