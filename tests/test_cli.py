"""The command line as a user meets it: streams, exit codes, one-line errors."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import gguf
import numpy as np
import pytest

from gguf_run import cli
from gguf_run.commands.texts import unescape

STORY = (
    ", there was a little girl named Lily. She loved to play outside in the park. One day, "
    "she saw a big, red ball."
)


def run(*args: object, stdin: str | None = "") -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "gguf_run.cli", *map(str, args)]
    return subprocess.run(command, input=stdin, capture_output=True, text=True, timeout=300)


def test_the_completion_follows_the_prompt_on_stdout(shared: Path) -> None:
    model = shared / "models" / "stories260K.gguf"
    done = run(model, "-p", "Once upon a time", "-n", 40, "--temp", 0, "--device", "cpu")
    assert (done.returncode, done.stdout) == (0, "Once upon a time" + STORY)
    assert done.stderr.startswith("\nload")
    assert "prompt 5 tokens" in done.stderr
    assert "generation 40 tokens" in done.stderr
    assert "tok/s" in done.stderr


def test_without_the_prompt_the_completion_is_all_of_stdout(shared: Path) -> None:
    model = shared / "models" / "stories260K.gguf"
    args = ("-n", 40, "--temp", 0, "--no-display-prompt", "-no-cnv", "--device", "cpu")
    done = run("-m", model, "-p", "Once upon a time", *args)
    assert (done.returncode, done.stdout) == (0, STORY)


def test_the_prompt_may_come_from_a_file_or_stdin(tiny_llama: Path, tmp_path: Path) -> None:
    file = tmp_path / "prompt.txt"
    file.write_text("the an\n")
    args = ("-n", 5, "--temp", 0, "--device", "cpu")
    outputs = [
        run(tiny_llama, "-p", "the an", *args).stdout,
        run(tiny_llama, "-f", file, *args).stdout,
        run(tiny_llama, *args, stdin="the an\n").stdout,
    ]
    assert outputs[0].startswith("the an")
    assert outputs[0] == outputs[1] == outputs[2]


def test_a_seed_repeats_itself(tiny_llama: Path) -> None:
    args = (tiny_llama, "-p", "the", "-n", 20, "--temp", 2, "--device", "cpu")
    assert run(*args, "-s", 1).stdout == run(*args, "--seed", 1).stdout


def test_the_demo_model_writes_a_story() -> None:
    done = run("--demo", "-p", "Once upon a time", "-n", 30, "--temp", 0, "--device", "cpu")
    assert done.returncode == 0
    assert len(done.stdout.split()) > 12


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


def test_a_missing_file_is_one_line_and_exit_code_1(tmp_path: Path) -> None:
    done = run(tmp_path / "none.gguf", "-p", "x")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1
    assert "none.gguf" in done.stderr


def test_verbose_shows_the_traceback_of_an_error(tmp_path: Path) -> None:
    assert "Traceback" in run(tmp_path / "none.gguf", "-p", "x", "--verbose").stderr


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["-p", "x"], "expected one model"),
        (["--demo", "other.gguf", "-p", "x"], "found"),
        (["--demo", "-p", "x", "-f", "y"], "both -p and -f"),
        (["--demo", "-p", "x", "--top-p", "7"], "top_p"),
        (["--demo", "-p", "x", "--temperatur", "1"], "--temp"),
        (["--demo", "-p", "x", "-n", "many"], "integer"),
        (["--demo", "-p", "x", "-c", "3000000000"], "2147483647"),
        (["--demo", "-p", "x", "-s", "99999999999"], "-1 to 4294967295"),
        (["--demo", "-p", "x", "--lora", "y"], "merged into its model"),
        (["--demo", "-p", "x", "--rope-freq-base", "1e6"], "positions are scaled as the file says"),
        (["--demo", "-p", "x", "-t"], "'-t' requires an argument"),
        (["--demo", "-prompt", "x"], "No such option: -prompt. Did you mean --prompt?"),
        (["--demo", "-p", "x", "-l", "15043"], "such as 15043+1 or 15043-inf, found '15043'"),
        (["--demo", "-p", "x", "--sampler-seq", "kq"], "found 'q'"),
        (["--demo", "-p", "x", "--samplers", "top_k", "--sampler-seq", "k"], "found both"),
        (["--demo", "-f", "none.txt"], "-f none.txt: expected a UTF-8 text file: No such file"),
        (["--demo", "-p", "x", "--regex", "\udcff"], "--regex: expected UTF-8 text"),
        (["chat", "--demo", "--chat-template-kwargs", "[1]"], "expected a JSON object"),
        (["benhc", "--demo"], "did you mean bench?"),
    ],
)
def test_wrong_usage_is_exit_code_2(args: list[str], said: str) -> None:
    done = run(*args)
    assert (done.returncode, done.stdout) == (2, "")
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_help_and_version_are_on_stdout() -> None:
    assert "MODEL -p PROMPT" in run("--help").stdout
    brief, whole = run("run", "--help").stdout, run("run", "--help-all").stdout
    assert len(brief.splitlines()) < 65 < len(whole.splitlines())
    assert "--temp" in brief
    assert "--dry-base" not in brief
    assert "run --help-all shows all options" in brief
    assert whole.index("Model:") < whole.index("Sampling:") < whole.index("Running:")
    assert {"--dry-base", "--chat-template", "--json-schema"} <= set(whole.replace(",", "").split())
    assert run("--version").stdout.startswith("gguf-run, version")


def test_defaults_may_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GGUF_RUN_DEVICE", "cpu")
    monkeypatch.setenv("GGUF_RUN_TEMP", "0")
    args = ("--demo", "-p", "One day", "-n", 12)
    assert run(*args).stdout == run(*args, "--temp", 0, "--device", "cpu").stdout
    monkeypatch.setenv("GGUF_RUN_DEVICE", "toaster")
    assert "'toaster' is not one of" in run(*args).stderr


def test_shells_can_complete(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("_GGUF_RUN_COMPLETE", "bash_source")
    assert "_GGUF_RUN_COMPLETE=bash_complete" in run().stdout
    monkeypatch.setenv("_GGUF_RUN_COMPLETE", "bash_complete")
    monkeypatch.setenv("COMP_WORDS", "gguf-run chat --te")
    monkeypatch.setenv("COMP_CWORD", "2")
    assert "--temp" in run().stdout


def test_inspect_shows_metadata_tensors_and_plan(tiny_llama: Path) -> None:
    shown = run("inspect", tiny_llama).stdout
    assert "general.architecture = 'llama'" in shown
    assert "blk.0.attn_q.weight" in shown
    plan = run("inspect", tiny_llama, "--plan").stdout
    assert "flash_attn_ext" in plan
    assert "arena" in plan
    unfused = run("inspect", tiny_llama, "--plan", "--no-fuse").stdout
    assert "norm_mul_mats" in plan
    assert "norm_mul_mats" not in unfused


def test_inspect_as_json_is_json(tiny_llama: Path) -> None:
    found = json.loads(run("inspect", tiny_llama, "--plan", "--json").stdout)
    assert found["metadata"]["general.architecture"] == "llama"
    assert {t["name"] for t in found["tensors"]} >= {"token_embd.weight"}
    assert found["plan"]["steps"][0]["op"] == "get_rows"


def test_tokenize_shows_ids_and_pieces(shared: Path) -> None:
    vocab = shared / "vocab" / "ggml-vocab-llama-spm.gguf"
    assert json.loads(run("tokenize", vocab, "Hello", "--ids").stdout) == [1, 15043]
    assert json.loads(run("tokenize", "-m", vocab, "-p", "Hello", "--ids", "--no-bos").stdout) == [
        15043
    ]
    found = json.loads(run("tokenize", vocab, "--stdin", "--json", stdin="Hello").stdout)
    assert [row["id"] for row in found] == [1, 15043]
    assert "Total number of tokens: 2" in run("tokenize", vocab, "Hello", "--show-count").stdout


def test_tokenize_takes_models_as_the_other_commands_do(tmp_path: Path) -> None:
    (tmp_path / "text.txt").write_text("Hello")
    ids = [
        run("tokenize", *args, "--ids").stdout
        for args in (
            ("--demo", "Hello"),
            (DEMO_FILE, "Hello"),
            (DEMO_FILE, "-f", tmp_path / "text.txt"),
        )
    ]
    assert ids[0] == ids[1] == ids[2] != ""
    assert "expected one text" in run("tokenize", "--demo", "Hello", "you").stderr
    assert "expected one model" in run("tokenize").stderr


def test_tokenize_shows_parts_of_characters_as_bytes() -> None:
    pieces = json.loads(run("tokenize", "--demo", "a \u2603", "--json").stdout)
    assert [row["piece"] for row in pieces] == ["<s>", " a", " ", [226], [152], [131]]
    assert "-> b'\\xe2'" in run("tokenize", "--demo", "a \u2603").stdout


@pytest.mark.skipif(os.name == "nt", reason="signals are sent otherwise there")
def test_ctrl_c_ends_cleanly(tiny_llama: Path) -> None:
    args = [tiny_llama, "-p", "the", "--ignore-eos", "-c", "256", "-n", "-1", "--device", "cpu"]
    command = [sys.executable, "-u", "-m", "gguf_run.cli", *map(str, args), "--temp", "1"]
    slow = [*command, "-c", "200000"]
    with subprocess.Popen(slow, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as p:
        assert p.stdout is not None
        p.stdout.read(20)
        p.send_signal(signal.SIGINT)
        errors = p.communicate(timeout=60)[1]
    assert p.returncode == 130
    assert "Traceback" not in errors
    assert "generation" in errors


def test_a_reader_that_leaves_ends_it_quietly(tiny_llama: Path) -> None:
    command = [sys.executable, "-m", "gguf_run.cli", str(tiny_llama), "-p", "the", "--ignore-eos"]
    with subprocess.Popen(
        [*command, "--device", "cpu"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as p:
        assert p.stdout is not None
        assert p.stderr is not None
        p.stdout.read(1)
        p.stdout.close()
        errors = p.stderr.read()
    assert "Traceback" not in errors


DEMO_FILE = Path(__file__).parents[1] / "models" / "demo.gguf"
DEMO = ("--demo", "-p", "One day", "-n", 12, "--temp", 0, "--device", "cpu")


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


def test_an_editors_mark_is_no_part_of_a_file(tmp_path: Path) -> None:
    (tmp_path / "prompt.txt").write_bytes(b"\xef\xbb\xbfOne day\n")
    assert run(*DEMO[:1], "-f", tmp_path / "prompt.txt", *DEMO[3:]).stdout == run(*DEMO).stdout


@pytest.mark.skipif(os.name == "nt", reason="bytes are text there")
def test_bytes_that_are_no_text_go_out_as_they_came() -> None:
    command = [sys.executable, "-m", "gguf_run.cli", "--demo", "-n", "1", "--device", "cpu"]
    done = subprocess.run(command, input=b"caf\xe9 \xff", capture_output=True, timeout=300)
    assert done.stdout.startswith(b"caf\xe9 \xff")


@pytest.mark.skipif(os.name == "nt", reason="closed by the shell")
@pytest.mark.parametrize("stream", ["<&-", ">&-", "2>&-"])
def test_a_closed_stream_is_an_empty_one(stream: str) -> None:
    command = f"{sys.executable} -m gguf_run.cli --demo -n 1 --device cpu {stream}"
    done = subprocess.run(["sh", "-c", command], input="", capture_output=True, text=True)
    assert done.returncode == 0
    assert "Traceback" not in done.stderr


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a device of Linux")
@pytest.mark.parametrize("args", [["--demo", "-n", "1"], ["chat", "--demo", "-n", "1"]])
def test_a_full_disk_is_one_line(args: list[str]) -> None:
    command = [sys.executable, "-m", "gguf_run.cli", *args, "--device", "cpu"]
    with open("/dev/full", "w") as full:
        done = subprocess.run(command, input="a\n", stdout=full, stderr=subprocess.PIPE, text=True)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == "error: No space left on device"
    assert "Traceback" not in done.stderr


def test_too_little_memory_and_faults_of_the_program_are_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(error: Exception) -> None:
        raise error

    for error, said in (
        (MemoryError("3 TB"), "error: out of memory (3 TB); lower -c or -b"),
        (ValueError("odd"), "error: ValueError: odd; this is a fault of gguf-run itself"),
    ):
        monkeypatch.setattr(cli.cli, "main", lambda *args, e=error, **kwargs: fail(e))
        assert cli._run([]) == 1
        assert capsys.readouterr().err.startswith(said)
        cli._run(["-v"])
        assert "Traceback" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("folder", "found a folder with a.gguf, b.gguf"),
        ("https://huggingface.co/u/r/resolve/main/a/m.gguf?x=y", "be -hf u/r -hff a/m.gguf"),
        ("https://example.com/m.gguf", "found an address; download it first"),
        ("hf.co/user/repo-GGUF:Q8_0", "it would be -hf user/repo-GGUF:Q8_0"),
        ("user/repo-GGUF", "from the hub it would be -hf user/repo-GGUF"),
        ("user/model.gguf", "expected a GGUF file, found none; check the path"),
    ],
)
def test_a_path_that_is_none_says_what_to_say_instead(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    path: str,
    said: str,
) -> None:
    (tmp_path / "folder").mkdir()
    for name in ("b.gguf", "a.gguf"):
        (tmp_path / "folder" / name).touch()
    monkeypatch.chdir(tmp_path)
    assert cli._run([path, "-p", "x"]) == 1
    written = capsys.readouterr()
    assert written.out == ""
    assert said in written.err


def test_completion_offers_files_and_options_without_a_command(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("_GGUF_RUN_COMPLETE", "bash_complete")
    for words, number, expected in (
        ("gguf-run mod", 1, "file,mod"),
        ("gguf-run be", 1, "plain,bench"),
        ("gguf-run --top", 1, "plain,--top-k"),
        ("gguf-run model.gguf --top", 2, "plain,--top-k"),
        ("gguf-run model.gguf -ngl 9 --lora x --top", 6, "plain,--top-k"),
    ):
        monkeypatch.setenv("COMP_WORDS", words)
        monkeypatch.setenv("COMP_CWORD", str(number))
        done = run()
        assert expected in done.stdout.splitlines(), words
        assert done.stderr == ""


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"general.type": "adapter"}, "merge it into its model"),
        ({"general.type": "imatrix"}, "an importance matrix"),
        ({"general.architecture": "controlvector"}, "a control vector"),
        ({"general.architecture": "zebra"}, "'zebra' is not supported"),
    ],
)
@pytest.mark.parametrize("command", [[], ["inspect", "--plan"]])
def test_a_file_that_is_no_model_says_what_it_is(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    keys: dict[str, str],
    said: str,
    command: list[str],
) -> None:
    path = tmp_path / "other.gguf"
    writer = gguf.GGUFWriter(path, keys.get("general.architecture", "llama"))
    if "general.type" in keys:
        writer.add_string("general.type", keys["general.type"])
    writer.add_tensor("a", np.zeros((4, 4), np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    assert cli._run([*command, str(path), *([] if command else ["-p", "x"])]) == 1
    assert said in capsys.readouterr().err


@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
def test_bash_completes_commands_before_files(tmp_path: Path) -> None:
    program = tmp_path / "gguf-run"
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m gguf_run.cli "$@"\n')
    program.chmod(0o755)
    script = """
        eval "$(_GGUF_RUN_COMPLETE=bash_source gguf-run)"
        compopt() { echo "$2"; }
        for words in "gguf-run ben" "gguf-run mod"; do
            COMP_WORDS=($words) COMP_CWORD=1 COMPREPLY=()
            _gguf_run_completion gguf-run
            echo "${COMPREPLY[@]}"
        done
    """
    environment = os.environ | {"PATH": os.pathsep.join([str(tmp_path), os.environ["PATH"]])}
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, env=environment)
    assert done.stdout.split("\n")[:4] == ["default", "bench", "default", ""], done.stderr
