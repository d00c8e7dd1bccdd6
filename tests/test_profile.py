"""`gguf-run profile`: every step is timed, and what is shown adds up."""

from __future__ import annotations

import json
from pathlib import Path
from xml.etree import ElementTree

import pytest
from click.testing import CliRunner, Result

from gguf_run.arch import BatchShape
from gguf_run.commands.profile import profile as command
from gguf_run.costs import Cost, Peaks, total_cost
from gguf_run.errors import ModelError
from gguf_run.model import Model
from gguf_run.picture import Part, as_svg
from gguf_run.profile import Profile, Timed, as_json, as_picture, as_text, as_trace, profile
from gguf_run.random_model import random_model

SVG = "{http://www.w3.org/2000/svg}"

FOUND = Profile(
    "qwen3 4B Q4_0",
    "NVIDIA H200",
    "tg1 @ d128",
    (
        Timed("norm_gate_up", "ffn_gate, ffn_up", 1, 10e-6, Cost(28_000_000, 38_000, 99_000_000)),
        Timed("cast_mul_mat", "ffn_down", 1, 8e-6, Cost(14_000_000, 10_000, 49_000_000)),
        Timed("norm_gate_up", "ffn_gate, ffn_up", 1, 12e-6, Cost(28_000_000, 38_000, 99_000_000)),
        Timed("argmax", "", 1, 0.1e-6, Cost(600_000, 4, 0)),
    ),
    25e-6,
    Peaks(read=4.5e12, flops=600e12),
)


@pytest.mark.parametrize("device", ["cpu", "emulated"])
@pytest.mark.parametrize(("n_prompt", "n_depth"), [(0, 0), (0, 7), (6, 3)])
def test_every_step_of_the_plan_is_timed(device: str, n_prompt: int, n_depth: int) -> None:
    with Model(random_model("tiny", "Q4_0"), device, n_ctx=32) as model:
        free = model.engine.pool.n_free
        found = profile(model, n_prompt, n_depth, repetitions=2)
        assert model.engine.pool.n_free == free
        assert (found.backend, found.model_type) == (model.device, "llama tiny Q4_0")
    assert found.test == (f"pp{n_prompt}" if n_prompt else "tg1") + (
        f" @ d{n_depth}" * (n_depth > 0)
    )
    assert found.peaks is None
    assert all(step.seconds >= 0 for step in found.steps)
    assert found.whole > 0
    read = sum(step.cost.bytes_read for step in found.steps)
    weights = sum(t.n_bytes for t in random_model("tiny", "Q4_0").tensors.values())
    assert 1 < read / weights < 2.5
    ops = {step.op for step in found.steps}
    assert "norm_mul_mats" in ops or n_prompt, "fused steps go by their names"
    assert ("argmax" in ops) == (n_prompt == 0), "a token that is generated is drawn, too"


def test_kinds_add_up_to_the_steps() -> None:
    assert [(kind.name, kind.count) for kind in FOUND.kinds] == [
        ("norm_gate_up ffn_gate, ffn_up", 2),
        ("cast_mul_mat ffn_down", 1),
        ("argmax", 1),
    ]
    assert sum(k.seconds for k in FOUND.kinds) == pytest.approx(30.1e-6)
    assert sum((k.cost for k in FOUND.kinds), Cost()) == sum((s.cost for s in FOUND.steps), Cost())


def test_the_table_says_rates_and_shares_of_the_peaks() -> None:
    head, first, *_, total, whole, _, remark = as_text(FOUND).splitlines()[2:]
    assert head.split()[:3] == ["step", "count", "us"]
    assert first.split()[-9:] == [
        *("2", "22.0", "73.1", "56.08", "2548.9", "0.198", "9.000", "56.6%", "1.5%")
    ]
    assert total.startswith("sum of steps  ")
    assert total.split()[4:6] == ["30.1", "100.0"]
    assert whole.split()[:3] == ["whole", "1", "25.0"]
    assert "4500 GB/s read, 600 TFLOP/s" in remark
    assert len(as_text(FOUND, each=True).splitlines()) == len(as_text(FOUND).splitlines()) + 1


def test_json_holds_steps_in_order_and_kinds() -> None:
    data = json.loads(as_json(FOUND))
    assert [step["op"] for step in data["steps"]] == [step.op for step in FOUND.steps]
    assert data["kinds"][0]["seconds"] == pytest.approx(22e-6)
    assert (data["seconds"], data["peak_bytes_per_second"]) == (25e-6, 4.5e12)


def test_a_trace_has_an_event_a_step_one_after_another() -> None:
    title, *events = json.loads(as_trace(FOUND))["traceEvents"]
    assert title["args"]["name"] == "qwen3 4B Q4_0, tg1 @ d128, on NVIDIA H200"
    assert [event["name"] for event in events] == [step.name for step in FOUND.steps]
    assert {event["ph"] for event in events} == {"X"}
    start = 0.0
    for event, step in zip(events, FOUND.steps, strict=True):
        assert event["ts"] == pytest.approx(start)
        assert event["dur"] == pytest.approx(step.seconds * 1e6)
        assert event["args"]["bytes_read"] == step.cost.bytes_read
        start += event["dur"]


def bars(svg: str) -> list[float]:
    """Widths of the bars of all lines and of the least times in them, top to bottom."""
    root = ElementTree.fromstring(svg)
    found = [r for r in root.iter(f"{SVG}rect") if float(r.get("x", 0)) == 320]
    return [float(r.get("width", 0)) for r in found]


def test_a_picture_shows_times_and_the_least_that_they_must_be() -> None:
    svg = as_picture(FOUND)
    texts = [t.text or "" for t in ElementTree.fromstring(svg).iter(f"{SVG}text")]
    assert "22 us, 2 x 11.0; 56.1 MB" in texts
    assert texts.count("other steps") == 1, "argmax takes less than a hundredth"
    down, down_least = 330 * 8 / 22, 330 * 14.01e6 / 4.5e12 / 22e-6
    assert bars(svg)[:4] == pytest.approx(
        [330, 330 * 56.076e6 / 4.5e12 / 22e-6, down, down_least], abs=0.06
    )
    shares = [t for t in texts if t.endswith("%")]
    assert shares == ["73%", "27%"]


def test_names_in_a_picture_are_text() -> None:
    svg = as_svg("a < b", '"&"', [Part("<x>", 1.0, None, "&")])
    assert [t.text for t in ElementTree.fromstring(svg).iter(f"{SVG}text")][:2] == ["a < b", '"&"']


def test_a_run_that_does_not_fit_is_refused() -> None:
    with Model(random_model("tiny", "Q4_0"), "cpu", n_ctx=32, n_batch=8) as model:
        with pytest.raises(ModelError, match=r"tg1 @ d32: .* context of at least 33 tokens"):
            profile(model, 0, 32)
        with pytest.raises(ModelError, match=r"pp9: .* step of at least 9 tokens, found 8"):
            profile(model, 9)


def invoke(*args: str) -> Result:
    return CliRunner().invoke(command, [*args, "--device", "cpu", "-r", "1"])


def test_the_command_writes_a_table_a_trace_and_a_picture(tiny_llama: Path, tmp_path: Path) -> None:
    trace, svg = tmp_path / "trace.json", tmp_path / "time.svg"
    result = invoke(str(tiny_llama), "-d", "4", "--trace", str(trace), "--svg", str(svg))
    assert result.exit_code == 0
    assert result.stdout.startswith("llama ")
    assert len(json.loads(trace.read_text())["traceEvents"]) > 5
    assert ElementTree.fromstring(svg.read_text("utf-8")).tag == f"{SVG}svg"


def test_the_command_profiles_prompts_of_shapes_as_json() -> None:
    result = invoke("--shape", "tiny", "-p", "5", "-d", "0", "--json")
    data = json.loads(result.stdout)
    assert data["test"] == "pp5"
    one = random_model("tiny", "Q4_0").tensors.values()
    blocks = sum(
        t.shape[0] * t.shape[1] for t in one if t.name.startswith("blk") and len(t.shape) > 1
    )
    # Of two layers, the second has its feed-forward for the last token alone.
    assert sum(s["flops"] for s in data["steps"]) > 2 * 5 * blocks / 2


def test_a_file_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    result = invoke("--shape", "tiny", "-d", "1", "--svg", str(tmp_path / "no" / "time.svg"))
    assert result.exit_code == 2
    assert "time.svg: expected a file to write" in result.output


def test_the_cost_of_all_steps_is_theirs_together() -> None:
    with Model(random_model("tiny", "Q4_0"), "cpu", n_ctx=32) as model:
        found = profile(model, 4, 2, 1)
        steps = model.engine.plan(BatchShape(4)).steps
    assert sum((step.cost for step in found.steps), Cost()) == total_cost(steps, 2)
