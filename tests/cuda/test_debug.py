"""Kernels that fail: the error names the op, its kernel, shapes and grid, down from the API and the
command line."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from gguf_run import Model
from gguf_run.cli import main
from gguf_run.commands.model_options import demo_model
from gguf_run.cuda import lowering
from gguf_run.cuda.emulator import EmulatedDevice
from gguf_run.cuda.lowering import Lowering
from gguf_run.cuda.source import KernelSource
from gguf_run.errors import DeviceError
from gguf_run.plan import Step

BROKEN = KernelSource(Path(__file__).parent / "kernels" / "broken.cu", ("write_at",))


@pytest.fixture
def broken(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows are fetched by a kernel that writes ahead of all results, where nothing stops it."""

    def get_rows(low: Lowering, step: Step) -> None:
        low.launch(BROKEN, "write_at", grid=(2, 3), block=32, args=[low.arena, -1])

    monkeypatch.setitem(lowering.LOWERINGS, "get_rows", get_rows)


NAMED = (
    r"step \d+, get_rows\(.*token_embd.*: Q8_0 \(\d+, \d+\), tokens: I32 \(\d+,\)\) -> "
    r".*: F32 \(\d+, \d+\): write_at grid=\(2, 3, 1\) block=\(32, 1, 1\)"
)


@pytest.mark.usefixtures("broken")
def test_the_error_names_op_shapes_kernel_and_grid() -> None:
    with (
        pytest.raises(DeviceError, match=NAMED),
        Model(demo_model(), "emulated", n_ctx=64, debug=True) as model,
    ):
        model.logits([1, 2, 3])


@pytest.mark.usefixtures("broken")
def test_the_command_line_asks_for_it(capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--demo", "-p", "One", "-n", "1", "-c", "64", "--device", "emulated"]
    with pytest.raises(SystemExit) as ended:
        main([*options, "--debug-kernels"])
    assert ended.value.code == 1
    assert re.search(NAMED, capsys.readouterr().err)


def test_debugging_gives_the_same_text() -> None:
    texts = []
    for debug in (False, True):
        with Model(demo_model(), "emulated", n_ctx=64, debug=debug) as model:
            device = model.engine.backend.device  # type: ignore[attr-defined]
            assert isinstance(device, EmulatedDevice)
            assert device.debug is debug
            chunks = model.generate("Once upon", max_tokens=4, temperature=0)
            texts.append("".join(chunk.text for chunk in chunks))
    assert texts[0] == texts[1]
