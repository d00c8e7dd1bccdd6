"""The command line's options: llama.cpp's, samplers, escapes, defaults."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from command_line import DEMO, DEMO_FILE, run

from gguf_run.commands.texts import unescape


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (r"a\nb", "a\nb"),
        (r"\\n", r"\n"),
        (r"\q\t", "\\q\t"),
        ("end\\", "end\\"),
        (r"\"", '"'),
        (r"\xe2\x98\x83 \x4", "\u2603 \\x4"),
        ("caf\udce9", "caf\udce9"),
    ],
)
def test_escapes_are_llama_cpps(given: str, expected: str) -> None:
    assert unescape(given) == expected


def test_defaults_may_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GGUF_RUN_DEVICE", "cpu")
    monkeypatch.setenv("GGUF_RUN_TEMP", "0")
    args = ("--demo", "-p", "One day", "-n", 12)
    assert run(*args).stdout == run(*args, "--temp", 0, "--device", "cpu").stdout
    monkeypatch.setenv("GGUF_RUN_DEVICE", "toaster")
    assert "'toaster' is not one of" in run(*args).stderr


def test_options_of_llama_cpp_that_change_nothing_are_passed_over() -> None:
    done = run(
        *DEMO, "-ngl", 99, "-t", 8, "-fa", "on", "--mlock", "-fa", "--keep", 4, "-e", "-sm=x"
    )
    assert (done.returncode, done.stdout) == (0, run(*DEMO).stdout)
    said = done.stderr.splitlines()[0]
    assert said.startswith("ignored -ngl, -sm: the whole model runs on one device")
    assert "-t: NumPy chooses its threads" in said
    assert "-fa, -fa: attention is always fused" in said


def test_llama_benchs_options_are_passed_over_as_well() -> None:
    args = ("bench", "--demo", "-p", 4, "-n", 0, "-r", 1, "--device", "cpu")
    done = run(*args, "-ngl", 99, "-fa", "0,1", "-mmp", 0)
    assert (done.returncode, done.stdout.count("pp4")) == (0, 1)
    assert "ignored -ngl" in done.stderr


def test_what_follows_an_option_is_its_value_even_if_it_looks_like_another() -> None:
    done = run("--demo", "-p", "-fa", "-n", 1, "--device", "cpu")
    assert done.stdout.startswith("-fa")
    assert "ignored" not in done.stderr


def test_logit_biases_add_up_and_rule_tokens_out(tiny_llama: Path) -> None:
    args = (tiny_llama, "-p", "the", "-n", 6, "--temp", 0, "--device", "cpu", "--ignore-eos")
    plain = run(*args)
    token = json.loads(run("tokenize", tiny_llama, "a", "--ids", "--no-bos").stdout)[0]
    biased = run(*args, "-l", f"{token}+500", "--logit-bias", f"{token}+500")
    assert biased.stdout == "the" + " a" * 6 != plain.stdout
    assert run(*args, "-l", f"{token}+900", "-l", f"{token}-900").stdout == plain.stdout
    assert " a" not in run(*args, "-l", f"{token}+900", "-l", f"{token}-inf").stdout


def test_samplers_may_be_named_by_letters(tiny_llama: Path) -> None:
    args = (tiny_llama, "-p", "the", "-n", 20, "-s", 3, "--temp", 2, "--device", "cpu")
    by_letter = run(*args, "--sampler-seq", "tk")
    assert by_letter.stdout == run(*args, "--samplers", "temperature;top_k").stdout
    assert by_letter.stdout != run(*args).stdout


def test_dry_breakers_have_escapes_and_none_takes_them_back() -> None:
    token = json.loads(run("tokenize", DEMO_FILE, "m", "--ids", "--no-bos").stdout)[0]
    said = "on the mat, on the mat, on the"
    args = ("--demo", "-p", said, "-n", 1, "--temp", 0, "-l", f"{token}+40", "--device", "cpu")
    breaker = "--dry-sequence-breaker"
    repeats = [
        run(*args, "--dry-multiplier", 90, *breakers).stdout == f"{said} m"
        for breakers in (
            (),
            (breaker, "the"),
            (breaker, r"th\x65"),
            (breaker, "the", breaker, "none"),
        )
    ]
    assert repeats == [False, True, True, False]


def test_stops_have_escapes() -> None:
    text = run(*DEMO).stdout
    mark = text[-4]
    found = run(*DEMO, "-r", f"\\x{ord(mark):02x}").stdout
    assert found == text[: text.index(mark, len("One day"))]
