"""Models of the hub, against a local server that answers as it does."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hub_server import HubServer

from gguf_run import ModelError
from gguf_run.hub import HubModel

DIRECT = {"HF_HUB_OFFLINE": "0", "NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1"}
NAMES = [
    "README.md",
    "mmproj-model-Q8_0.gguf",
    "tiny-Q2_K.gguf",
    "tiny-Q4_K_M.gguf",
    "tiny-Q4_K.gguf",
    "tiny.q8_0.gguf",
    "BF16/tiny-BF16-00001-of-00002.gguf",
    "BF16/tiny-BF16-00002-of-00002.gguf",
]


@pytest.fixture
def hub(tiny_llama: Path) -> Iterator[HubServer]:
    model = tiny_llama.read_bytes()
    repos = {
        "me/tiny-GGUF": {"README.md": b"hello", "tiny-Q8_0.gguf": model, "tiny-F32.gguf": model},
        "me/weights": {"model.safetensors": b"x", "config.json": b"{}"},
    }
    with HubServer(repos).running() as server:
        yield server


def run(hub: HubServer, home: Path, *args: object, **env: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"HF_ENDPOINT": hub.url, "HF_HOME": str(home), **DIRECT}
    tail = ("-p", "the", "-n", 3, "--temp", 0, "--device", "cpu")
    command = [sys.executable, "-m", "gguf_run.cli", *map(str, (*args, *tail))]
    return subprocess.run(
        command, capture_output=True, text=True, timeout=120, env={**environment, **env}, input=""
    )


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ("u/r", ["tiny-Q4_K_M.gguf"]),
        ("u/r:q8_0", ["tiny.q8_0.gguf"]),
        ("u/r:Q4_K", ["tiny-Q4_K.gguf"]),
        ("u/r:bf16", NAMES[-2:]),
    ],
)
def test_the_quantisation_chooses_the_files(spec: str, expected: list[str]) -> None:
    assert HubModel.parse(spec).choose(NAMES) == expected


def test_without_the_preferred_ones_the_first_file_is_taken() -> None:
    assert HubModel("u/r").choose(NAMES[2:3] + NAMES[5:]) == ["tiny.q8_0.gguf"]
    assert HubModel("u/r").choose(["b-Q6_K.gguf", "a-Q5_K.gguf"]) == ["a-Q5_K.gguf"]


def test_a_file_may_be_named() -> None:
    assert HubModel("u/r", file="tiny-Q2_K.gguf").choose(NAMES) == ["tiny-Q2_K.gguf"]


@pytest.mark.parametrize(
    ("model", "names", "said"),
    [
        (HubModel("u/r", "Q6_K"), NAMES, "expected a file of Q6_K, found BF16/tiny.*tiny-Q2_K"),
        (HubModel("u/r"), ["model.safetensors"], "expected GGUF files, found none .* -GGUF"),
        (HubModel("u/r"), ["m-00001-of-00002.gguf"], r"found no m-00002-of-00002\.gguf"),
    ],
)
def test_what_is_not_there_is_said(model: HubModel, names: list[str], said: str) -> None:
    with pytest.raises(ModelError, match=said):
        model.choose(names)


@pytest.mark.parametrize(
    ("spec", "repo", "quant", "file"),
    [
        ("hf.co/u/r:Q4_K_M", "u/r", "Q4_K_M", None),
        ("https://huggingface.co/u/r", "u/r", None, None),
        ("https://huggingface.co/u/r/blob/main/BF16/m.gguf", "u/r", None, "BF16/m.gguf"),
        ("https://hf.co/u/r/resolve/main/m.gguf?download=true", "u/r", None, "m.gguf"),
    ],
)
def test_addresses_are_understood(
    spec: str, repo: str, quant: str | None, file: str | None
) -> None:
    assert HubModel.parse(spec) == HubModel(repo, quant, file)


@pytest.mark.parametrize("spec", ["model.gguf", "a/b/c", "a/b:", "../x:y/z"])
def test_another_spec_is_refused(spec: str) -> None:
    with pytest.raises(ModelError, match="expected user/repo"):
        HubModel.parse(spec)


def test_a_model_is_fetched_once_and_then_found_without_the_hub(
    hub: HubServer, tmp_path: Path
) -> None:
    first = run(hub, tmp_path, "-hf", "me/tiny-GGUF")
    assert (first.returncode, first.stdout[:3]) == (0, "the"), first.stderr
    n_fetched = len([r for r in hub.requests if r[0] == "GET" and "/resolve/" in r[1]])
    assert n_fetched == 1
    hub.requests.clear()
    offline = run(hub, tmp_path, "-hf", "me/tiny-GGUF", "--offline")
    by_name = run(hub, tmp_path, "-hf", "me/tiny-GGUF:Q8_0", HF_HUB_OFFLINE="1")
    assert hub.requests == []
    unreachable = run(hub, tmp_path, "-hf", "me/tiny-GGUF", HF_ENDPOINT="http://127.0.0.1:9")
    assert {r.stdout for r in (offline, by_name, unreachable)} == {first.stdout}


def test_a_broken_download_goes_on_where_it_was(tmp_path: Path) -> None:
    content = os.urandom(1 << 20) * 24
    with HubServer({"me/m": {"m.gguf": content}}, cut=21 << 20).running() as hub:
        found, _ = fetching(hub, tmp_path).communicate()
    assert [r[2] for r in hub.requests if r[2]] == ["bytes=20971520-"], "pieces of 10 MiB count"
    assert Path(found.strip()).read_bytes() == content


FETCH = "from gguf_run.hub import HubModel, fetch; print(fetch(HubModel('me/m')))"


def fetching(hub: HubServer, home: Path, **env: str) -> subprocess.Popen[str]:
    environment = os.environ | {"HF_ENDPOINT": hub.url, "HF_HOME": str(home), **DIRECT, **env}
    return subprocess.Popen(
        [sys.executable, "-c", FETCH],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.fixture
def broken_off(tmp_path: Path) -> bytes:
    """A file of which 20 MiB had come when the program was killed."""
    content = os.urandom(1 << 20) * 24
    with HubServer({"me/m": {"m.gguf": content}}, stop=21 << 20).running() as hub:
        program = fetching(hub, tmp_path)
        assert hub.stopped.wait(60)
        part = next(iter(tmp_path.rglob("*.incomplete")))
        while part.stat().st_size < 20 << 20:
            with pytest.raises(subprocess.TimeoutExpired):
                program.wait(0.05)
        program.kill()
        program.communicate()
    return content


def test_a_run_goes_on_where_another_was_killed(broken_off: bytes, tmp_path: Path) -> None:
    with HubServer({"me/m": {"m.gguf": broken_off}}).running() as hub:
        found, _ = fetching(hub, tmp_path).communicate()
    assert [r[2] for r in hub.requests if r[0] == "GET" and r[2]] == ["bytes=20971520-"]
    assert Path(found.strip()).read_bytes() == broken_off
    assert not list(tmp_path.rglob("*.incomplete"))


def test_pieces_that_do_not_fit_together_are_thrown_away(broken_off: bytes, tmp_path: Path) -> None:
    part = next(iter(tmp_path.rglob("*.incomplete")))
    part.write_bytes(bytes(part.stat().st_size))
    with HubServer({"me/m": {"m.gguf": broken_off}}).running() as hub:
        _, errors = fetching(hub, tmp_path).communicate()
        assert "m.gguf came in pieces that do not fit together" in errors
        found, _ = fetching(hub, tmp_path).communicate()
    assert Path(found.strip()).read_bytes() == broken_off


def test_what_another_run_is_fetching_is_left_alone(tmp_path: Path) -> None:
    content = os.urandom(1 << 20) * 12
    with HubServer({"me/m": {"m.gguf": content}}, stop=11 << 20).running() as hub:
        first = fetching(hub, tmp_path)
        assert hub.stopped.wait(60)
        _, errors = fetching(hub, tmp_path).communicate()
        assert "another gguf-run is fetching m.gguf; wait for it to end" in errors
        hub.stop = None
        hub.go_on.set()
        found, _ = first.communicate()
    assert Path(found.strip()).read_bytes() == content


def test_a_token_is_for_the_hub_alone(tmp_path: Path) -> None:
    repos = {"me/m": {"m.gguf": os.urandom(5000)}}
    with HubServer(repos, elsewhere=True).running() as hub:
        found, errors = fetching(hub, tmp_path, HF_TOKEN="hf_secret").communicate()
    assert Path(found.strip()).read_bytes() == repos["me/m"]["m.gguf"], errors
    assert {token for path, token in hub.tokens if "/resolve/" in path} == {"Bearer hf_secret"}
    assert {token for path, token in hub.tokens if "/stored/" in path} == {""}


def test_a_refusal_asks_for_a_token(tmp_path: Path) -> None:
    with HubServer({}, status=401).running() as hub:
        _, errors = fetching(hub, tmp_path).communicate()
    assert "not allowed (401); log in with hf auth login, or set HF_TOKEN" in errors


def test_a_hub_that_hangs_is_given_up(tmp_path: Path) -> None:
    with HubServer({"me/m": {"m.gguf": b"x"}}, stop=10).running() as hub:
        _, errors = fetching(hub, tmp_path, HF_HUB_ETAG_TIMEOUT="1").communicate(timeout=60)
    assert "can't be fetched" in errors


@pytest.mark.skipif(os.name == "nt", reason="there is no such file there")
def test_a_cache_that_cannot_be_written_is_said(hub: HubServer) -> None:
    done = run(hub, Path("/dev/null"), "-hf", "me/tiny-GGUF:Q8_0")
    assert done.returncode == 1
    assert "HF_HOME names another folder" in done.stderr


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["-hf", "me/none"], "no such repository, or a private one"),
        (["-hf", "me/gated"], "its licence must be accepted first"),
        (["-hf", "me/weights"], "expected GGUF files, found none"),
        (["-hf", "me/tiny-GGUF:Q3_K"], "found tiny-F32.gguf, tiny-Q8_0.gguf"),
        (["-hf", "me/tiny-GGUF", "--offline"], "me/tiny-GGUF: not fetched before"),
    ],
)
def test_what_goes_wrong_is_one_line(
    hub: HubServer, tmp_path: Path, args: list[str], said: str
) -> None:
    done = run(hub, tmp_path, *args)
    assert (done.returncode, done.stdout) == (1, "")
    assert said in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_hub_that_cannot_be_reached_is_one_line(hub: HubServer, tmp_path: Path) -> None:
    done = run(hub, tmp_path, "-hf", "me/tiny-GGUF", HF_ENDPOINT="http://127.0.0.1:9")
    assert done.returncode == 1
    assert "can't be fetched" in done.stderr
    assert "HF_ENDPOINT" in done.stderr


def test_one_model_is_wanted(hub: HubServer, tmp_path: Path) -> None:
    both = run(hub, tmp_path, "-hf", "me/tiny-GGUF", "--demo")
    assert (both.returncode, hub.requests) == (2, [])
    assert run(hub, tmp_path, "--demo", "-hff", "x.gguf").returncode == 2
