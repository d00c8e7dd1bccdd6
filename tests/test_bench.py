"""`gguf-run bench`: what is measured, and the columns that show it."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from gguf_run.bench import Workload, as_csv, as_json, as_markdown, bench, workloads
from gguf_run.commands.bench import bench as command
from gguf_run.errors import ModelError
from gguf_run.model import Model


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


def test_a_workload_beyond_the_context_is_refused(tiny_llama: Path) -> None:
    with (
        Model(tiny_llama, "cpu", n_ctx=32) as model,
        pytest.raises(ModelError, match=r"tg30 @ d3: .* at least 33 tokens, found 32"),
    ):
        bench(model, [Workload(n_gen=30, n_depth=3)])


def test_the_command_prints_a_table(tiny_llama: Path) -> None:
    args = [str(tiny_llama), "-p", "4,6", "-n", "2", "-r", "1", "--device", "cpu"]
    result = CliRunner().invoke(command, args, catch_exceptions=False)
    assert result.exit_code == 0
    tests = [line.split("|")[-3].strip() for line in result.stdout.splitlines()[2:]]
    assert tests == ["pp4", "pp6", "tg2"]


@pytest.mark.parametrize("numbers", ["-3", "a", "1,,2", ""])
def test_the_command_refuses_what_is_no_number_of_tokens(numbers: str) -> None:
    result = CliRunner().invoke(command, ["m.gguf", "-p", numbers])
    assert result.exit_code == 2
    assert "expected numbers of tokens such as 512,2048" in result.output


def test_the_command_refuses_to_measure_nothing() -> None:
    result = CliRunner().invoke(command, ["m.gguf", "-p", "0", "-n", "0"])
    assert result.exit_code == 2
    assert "expected something to measure" in result.output
