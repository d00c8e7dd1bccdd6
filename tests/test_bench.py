"""`gguf-run bench`: what is measured, and the columns that show it."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from gguf_run.bench import Workload, bench, model_type, workloads
from gguf_run.bench_tables import as_csv, as_json, as_jsonl, as_markdown
from gguf_run.commands.bench import Numbers
from gguf_run.commands.bench import bench as command
from gguf_run.costs import Peaks
from gguf_run.errors import ModelError
from gguf_run.model import Model
from gguf_run.random_model import random_model


def test_rows_are_named_as_llama_bench_names_them() -> None:
    assert [w.name for w in workloads((512, 0), (128,), (0, 4096))] == [
        *("pp512", "tg128", "pp512 @ d4096", "tg128 @ d4096")
    ]
    assert Workload(8, 4, 2).name == "pp8+tg4 @ d2"


def test_every_workload_is_measured_as_often_as_asked(tiny_llama: Path) -> None:
    work = [Workload(n_prompt=5), Workload(n_gen=3, n_depth=7)]
    with Model(tiny_llama, "cpu", n_ctx=32, n_batch=4) as model:
        free = model.engine.pool.n_free
        rows = bench(model, work, repetitions=3)
        assert model.engine.pool.n_free == free
    assert [row.test for row in rows] == ["pp5", "tg3 @ d7"]
    for row, n_tok in zip(rows, (5, 3), strict=True):
        assert len(row.samples_ns) == 3
        assert row.avg_ns == pytest.approx(sum(row.samples_ns) / 3, abs=1)
        rates = [n_tok / (ns / 1e9) for ns in row.samples_ns]
        assert row.avg_ts == pytest.approx(sum(rates) / 3)
        assert row.model_n_params == sum(t.n_bytes // 4 for t in model.file.tensors.values()), (
            "all tensors of this model are float32"
        )
    table = as_markdown(rows).splitlines()
    assert len({len(line) for line in table}) == 1
    assert [cell.strip() for cell in table[0].split("|")[-3:-1]] == ["test", "t/s"]
    assert [r["n_gen"] for r in csv.DictReader(as_csv(rows).splitlines())] == ["0", "3"]
    assert json.loads(as_json(rows))[1]["n_depth"] == 7
    assert [json.loads(line)["n_prompt"] for line in as_jsonl(rows).splitlines()] == [5, 0]


def test_rows_say_which_share_of_the_peaks_they_reach(
    tiny_llama: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    work = [Workload(n_prompt=8), Workload(n_gen=2), Workload(8, 2)]
    with Model(tiny_llama, "cpu", n_ctx=32) as model:
        peaks = Peaks(read=1e9, flops=1e10)
        monkeypatch.setattr(type(model.engine.backend), "peaks", lambda backend: peaks)
        prompt, generation, both = bench(model, work, repetitions=1)
        tensors = model.file.tensors.values()
    seconds = generation.avg_ns / 1e9
    n_bytes = sum(t.n_bytes for t in tensors if t.name != "token_embd.weight")
    assert generation.read_gb_per_s is not None
    assert generation.read_share is not None
    # Activations are read, too: they are few, in this model not quite so few.
    assert 1 < generation.read_gb_per_s * 1e9 * seconds / (2 * n_bytes) < 1.2
    assert generation.read_share == pytest.approx(generation.read_gb_per_s)
    matrices = [t for t in tensors if len(t.shape) == 2 and t.name.startswith("blk.")]
    last = f"blk.{model.hparams.n_layer - 1}."
    # What the last layer does behind its attention, it does for the last token.
    ends = tuple(f"{last}{part}" for part in ("attn_output", "ffn"))
    n_tok = {t.name: 1 if t.name.startswith(ends) else 8 for t in matrices}
    flops = 2 * sum(n_tok[t.name] * t.shape[0] * t.shape[1] for t in matrices)
    assert prompt.tflops is not None
    # Attention and the head come on top.
    assert 1 < prompt.tflops * 1e12 * prompt.avg_ns / 1e9 / flops < 1.5
    assert prompt.flops_share == pytest.approx(100 * prompt.tflops)
    assert generation.tflops is prompt.read_share is both.tflops is both.read_share is None
    head, _, *lines = (
        line.split("|")[1:-1] for line in as_markdown([prompt, generation, both]).splitlines()
    )
    assert [cell.strip() for cell in head[-2:]] == ["read GB/s", "TFLOP/s"]
    assert [[bool(cell.strip()) for cell in line[-2:]] for line in lines] == [
        [False, True],
        [True, False],
        [False, False],
    ]


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        ("512", (512,)),
        ("0", (0,)),
        ("512,1024", (512, 1024)),
        ("2-5", (2, 3, 4, 5)),
        ("128-512*2", (128, 256, 512)),
        ("100-450+100,7", (100, 200, 300, 400, 7)),
        ("3-3*1", (3,)),
    ],
)
def test_numbers_may_be_lists_and_ranges(text: str, numbers: tuple[int, ...]) -> None:
    assert Numbers().convert(text, None, None) == numbers


def test_a_type_is_called_as_llama_bench_calls_it() -> None:
    with Model(random_model("tiny", "Q4_K_M"), "cpu") as model:
        assert model_type(model) == "llama tiny Q4_K - Medium"
    with Model(random_model("tiny", "Q8_0"), "cpu") as model:
        assert model_type(model) == "llama tiny Q8_0"


def test_a_workload_beyond_the_context_is_refused(tiny_llama: Path) -> None:
    with (
        Model(tiny_llama, "cpu", n_ctx=32) as model,
        pytest.raises(ModelError, match=r"tg30 @ d3: .* at least 33 tokens, found 32"),
    ):
        bench(model, [Workload(n_gen=30, n_depth=3)])


def invoke(*args: str) -> Result:
    return CliRunner().invoke(command, [*args, "--device", "cpu"], catch_exceptions=False)


def test_the_command_measures_all_combinations(tiny_llama: Path) -> None:
    args = ("-p", "4,6", "-n", "2", "-pg", "3,1", "-d", "0", "-d", "5", "-r", "1", "-b", "4,8")
    result = invoke(str(tiny_llama), *args, "-ub", "5", "-ctk", "f16,f32", "-o", "jsonl")
    assert result.exit_code == 0
    rows = [json.loads(line) for line in result.stdout.splitlines()]
    tests = [(4, 0), (6, 0), (0, 2), (3, 1)]
    assert [
        (r["n_batch"], r["n_ubatch"], r["type_k"], r["n_depth"], r["n_prompt"], r["n_gen"])
        for r in rows
    ] == [
        (n_batch, min(n_batch, 5), type_k, depth, *test)
        for n_batch in (4, 8)
        for type_k in ("f16", "f32")
        for depth in (0, 5)
        for test in tests
    ]


def test_results_go_to_stderr_as_well_in_a_format_of_their_own(tiny_llama: Path) -> None:
    result = invoke(str(tiny_llama), "-p", "4", "-n", "0", "-r", "1", "-oe", "csv")
    assert [line.split("|")[-3].strip() for line in result.stdout.splitlines()[2:]] == ["pp4"]
    assert len(list(csv.DictReader(result.stderr.splitlines()[1:]))) == 1


def test_a_shape_needs_no_file() -> None:
    result = invoke("--shape", "tiny", "--type", "q4_k_m", "-p", "4", "-n", "2", "-r", "1")
    lines = result.stdout.splitlines()
    assert [line.split("|")[1].strip() for line in lines[2:]] == ["llama tiny Q4_K - Medium"] * 2
    assert [line.split("|")[-3].strip() for line in lines[2:]] == ["pp4", "tg2"]


def test_a_files_weights_have_their_own_type() -> None:
    result = CliRunner().invoke(command, ["m.gguf", "--type", "Q8_0"])
    assert result.exit_code == 2
    assert "--type is of a shape's weights: add --shape NAME" in result.output


def test_a_model_and_a_shape_are_one_too_many() -> None:
    result = CliRunner().invoke(command, ["m.gguf", "--shape", "tiny"])
    assert result.exit_code == 2
    assert "expected a model or --shape, found both" in result.output


@pytest.mark.parametrize(
    "numbers", ["-3", "a", "1,,2", "", "5-3", "1-5*1", "0-5*2", "1-9+0", "1-99999"]
)
def test_the_command_refuses_what_is_no_number_of_tokens(numbers: str) -> None:
    result = CliRunner().invoke(command, ["m.gguf", "-p", numbers])
    assert result.exit_code == 2
    assert "expected numbers of tokens such as 512,2048" in result.output


def test_the_command_refuses_other_types_of_caches() -> None:
    result = CliRunner().invoke(command, ["m.gguf", "-ctk", "f16,q9"])
    assert result.exit_code == 2
    assert "expected of F32, F16, Q8_0, Q4_0, found 'f16,q9'" in result.output


def test_the_command_refuses_to_measure_nothing() -> None:
    result = CliRunner().invoke(command, ["m.gguf", "-p", "0", "-n", "0"])
    assert result.exit_code == 2
    assert "expected something to measure" in result.output
