"""The CUDA backend: how a plan becomes launches, copies, graphs, and errors that name the step."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
from emulated import KERNEL_CACHE, emulated

from gguf_run.cuda import staging
from gguf_run.cuda.backend import CudaBackend
from gguf_run.cuda.device import Buffer, Event, Launch, Module, Progress, Stream
from gguf_run.cuda.device import Graph as DeviceGraph
from gguf_run.cuda.emulator import EmulatedDevice
from gguf_run.cuda.executable import CudaExecutable
from gguf_run.cuda.lowering import LOWERINGS, Lowering
from gguf_run.cuda.source import KernelSource
from gguf_run.errors import DeviceError
from gguf_run.graph import F32, Graph, Tensor
from gguf_run.loader import open_gguf
from gguf_run.plan import Step


class Recorder(EmulatedDevice):
    """An emulated device that notes what it is asked for."""

    def __init__(self, **options: Any) -> None:
        self.uploads: list[int] = []
        self.captures = 0
        self.modules_made = 0
        self.order: list[tuple[str, Stream | None, Any]] = []
        super().__init__(KERNEL_CACHE, **options)

    def upload_async(self, buffer: Buffer, pinned: Any, stream: Stream | None = None) -> Event:
        self.uploads.append(pinned.nbytes)
        return super().upload_async(buffer, pinned, stream)

    def modules(
        self, sources: Sequence[KernelSource], progress: Progress | None = None
    ) -> list[Module]:
        self.modules_made += len(sources)
        return super().modules(sources, progress)

    def _launch(self, launch: Launch, stream: Stream | None) -> None:
        self.order.append(("launch", stream, launch))
        super()._launch(launch, stream)

    def record(self, stream: Stream | None = None) -> Event:
        event = super().record(stream)
        self.order.append(("record", stream, event))
        return event

    def wait(self, event: Event, stream: Stream | None = None) -> None:
        self.order.append(("wait", stream, event))
        super().wait(event, stream)

    @contextmanager
    def capture(self) -> Iterator[DeviceGraph]:
        self.captures += 1
        with super().capture() as graph:
            yield graph


@pytest.fixture
def device() -> Recorder:
    return Recorder()


def prepared(
    device: EmulatedDevice, *results: Tensor, graph: Graph, **options: Any
) -> CudaExecutable:
    """The executable of a graph without weights."""
    for t in results:
        graph.output(t)
    backend = CudaBackend(None, device, **options)  # type: ignore[arg-type]  # no weights, no file
    return backend.prepare(backend.plan(graph))


def branches(g: Graph) -> Tensor:
    """(x * x) + (y * y) + (x * y), three branches that join."""
    x, y = g.input("x", (4, 8), F32), g.input("y", (4, 8), F32)
    return g.add(g.add(g.mul(x, x), g.mul(y, y)), g.mul(x, y))


def values(seed: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    return {name: rng.standard_normal((4, 8)).astype(np.float32) for name in "xy"}


def expected(v: dict[str, np.ndarray]) -> np.ndarray:
    return v["x"] ** 2 + v["y"] ** 2 + v["x"] * v["y"]


def test_inputs_travel_in_one_copy(device: Recorder) -> None:
    g = Graph()
    run = prepared(device, branches(g), graph=g)
    device.uploads.clear()
    run(values(0))
    assert len(device.uploads) == 1


def test_inputs_left_out_keep_their_values_and_unknown_ones_are_passed_over(
    device: Recorder,
) -> None:
    g = Graph()
    run = prepared(device, branches(g), graph=g)
    first, second = values(0), values(1)
    run(first)
    found = run({"y": second["y"], "z": np.zeros(3)})
    np.testing.assert_allclose(found, expected({**first, "y": second["y"]}), rtol=1e-6)


def test_an_input_of_another_shape_is_refused_by_name(device: Recorder) -> None:
    g = Graph()
    run = prepared(device, branches(g), graph=g)
    with pytest.raises(DeviceError, match=r"input x: expected shape \(4, 8\), found \(8, 4\)"):
        run({"x": np.zeros((8, 4), np.float32)})


def test_a_plan_is_recorded_at_its_second_run_and_then_replayed(device: Recorder) -> None:
    g = Graph()
    run = prepared(device, branches(g), graph=g)
    counts = []
    for seed in range(4):
        np.testing.assert_allclose(run(values(seed)), expected(values(seed)), rtol=1e-6)
        counts.append(device.captures)
    assert counts == [0, 1, 1, 1]


def test_without_graphs_nothing_is_recorded(device: Recorder) -> None:
    g = Graph()
    run = prepared(device, branches(g), graph=g, use_graphs=False)
    for seed in range(3):
        np.testing.assert_allclose(run(values(seed)), expected(values(seed)), rtol=1e-6)
    assert device.captures == 0


def test_a_device_that_debugs_records_nothing(device: Recorder) -> None:
    device.debug = True
    g = Graph()
    run = prepared(device, branches(g), graph=g)
    for seed in range(3):
        run(values(seed))
    assert device.captures == 0


def test_a_recorded_graph_has_the_edges_of_the_plan(device: Recorder) -> None:
    g = Graph()
    run = prepared(device, branches(g), graph=g)
    device.order.clear()
    run.capture()
    done = _done_before(device.order)
    assert len(done) == len(run.steps) == 5
    for bound, before in zip(run.steps, done, strict=True):
        assert set(bound.step.edges) <= before
    assert any(not before for before in done[1:]), "no branch runs beside another"
    assert _awaited_in_the_end(device.order, device.main) == set(range(5))


def _done_before(order: list[tuple[str, Any, Any]]) -> list[set[int]]:
    """For each launch, the numbers of those that are over when it starts."""
    in_stream: dict[int, set[int]] = {}
    marks: dict[int, set[int]] = {}
    before = []
    for what, stream, thing in order:
        done = in_stream.setdefault(id(stream), set())
        if what == "launch":
            before.append(set(done))
            done.add(len(before) - 1)
        elif what == "record":
            marks[id(thing)] = set(done)
        else:
            done |= marks[id(thing)]
    return before


def _awaited_in_the_end(order: list[tuple[str, Any, Any]], main: Stream) -> set[int]:
    """The launches that the main stream's end comes after."""
    probe = (*order, ("launch", main, None))
    return _done_before(list(probe))[-1]


def test_plans_share_one_arena(device: Recorder) -> None:
    backend = CudaBackend(None, device)  # type: ignore[arg-type]

    def run(n: int) -> CudaExecutable:
        g = Graph()
        x = g.input("x", (n, 256), F32)
        g.output(g.mul(g.add(x, x), x))
        return backend.prepare(backend.plan(g))

    large = run(64)
    small = run(2)
    assert small.arena.ptr == large.arena.ptr
    for _ in range(2):
        assert large({"x": np.full((64, 256), 3, np.float32)}).sum() == 18 * 64 * 256
        assert small({"x": np.full((2, 256), 2, np.float32)}).sum() == 8 * 2 * 256


def test_an_executable_that_is_dropped_gives_its_memory_back() -> None:
    device = emulated()
    backend = CudaBackend(None, device)  # type: ignore[arg-type]

    def run(n: int) -> None:
        g = Graph()
        x = g.input("x", (n, 256), F32)
        g.output(g.add(x, x))
        executable = backend.prepare(backend.plan(g))
        for _ in range(2):
            executable({"x": np.ones((n, 256), np.float32)})

    run(64)
    free = device.memory_free
    for n in range(1, 20):
        run(n)
    assert device.memory_free == free


@pytest.mark.parametrize("chunk", [100, 128, 1 << 20])
def test_results_larger_than_the_pinned_memory_arrive_whole(
    device: Recorder, monkeypatch: pytest.MonkeyPatch, chunk: int
) -> None:
    monkeypatch.setattr(staging, "CHUNK_BYTES", chunk)
    g = Graph()
    run = prepared(device, branches(g), graph=g)
    np.testing.assert_allclose(run(values(5)), expected(values(5)), rtol=1e-6)


def test_a_failing_launch_names_its_step_with_its_shapes(
    device: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    mul = LOWERINGS["mul"]

    def absurd(low: Lowering, step: Step) -> None:
        mul(low, step)
        call = low.calls.pop()
        low.launch(call.module, call.kernel, grid=(1, 70000), block=call.block, args=call.args)

    monkeypatch.setitem(LOWERINGS, "mul", absurd)
    g = Graph()
    run = prepared(device, branches(g), graph=g)
    with pytest.raises(DeviceError) as caught:
        run(values(0))
    message = str(caught.value)
    assert "step 0, mul(x: F32 (4, 8)" in message
    assert "grid=(1, 70000, 1)" in message
    assert "a grid has at most" in message


def weighted(path: Path) -> Graph:
    """x * w + x, a cache beside it, and a file that holds w."""
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_tensor("w", np.full(256, 3, np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    g = Graph()
    x = g.input("x", (8, 256), F32)
    g.output(g.add(g.mul(x, g.weight("w", (256,), F32)), x))
    g.cache("cache", (1 << 20,), F32)
    return g


def test_too_little_memory_is_found_before_anything_is_loaded(tmp_path: Path) -> None:
    device = Recorder(memory=4 << 20)
    g = weighted(tmp_path / "w.gguf")
    with open_gguf(tmp_path / "w.gguf") as file:
        backend = CudaBackend(file, device)
        free = device.memory_free
        plan = backend.plan(g)
        with pytest.raises(DeviceError, match=r"weights 1\.0 KiB, KV cache 4\.0 MiB, activations"):
            backend.load([plan])
        assert device.memory_free == free
        assert not backend.caches


def test_loading_compiles_the_kernels_of_every_plan(tmp_path: Path) -> None:
    device = Recorder()
    g = weighted(tmp_path / "w.gguf")
    with open_gguf(tmp_path / "w.gguf") as file:
        backend = CudaBackend(file, device)
        plan = backend.plan(g)
        backend.load([plan])
        assert device.modules_made > 0
        device.modules_made = 0
        backend.prepare(plan)
        assert device.modules_made == 0


def test_a_closed_backend_has_given_everything_back(tmp_path: Path) -> None:
    device = Recorder()
    g = weighted(tmp_path / "w.gguf")
    with open_gguf(tmp_path / "w.gguf") as file:
        free = device.memory_free
        backend = CudaBackend(file, device)
        backend.load([backend.plan(g)])
        assert device.memory_free < free - g.leaves[1].n_bytes
        backend.close()
        assert device.memory_free == free


def test_after_an_allocation_fails_something_smaller_runs(tmp_path: Path) -> None:
    device = Recorder(memory=4 << 20)
    g = weighted(tmp_path / "w.gguf")
    with open_gguf(tmp_path / "w.gguf") as file:
        backend = CudaBackend(file, device)
        plan = backend.plan(g)
        with pytest.raises(DeviceError, match="out of device memory"):
            backend.prepare(plan)
        del backend
        g = Graph()
        run = prepared(device, branches(g), graph=g)
        np.testing.assert_allclose(run(values(2)), expected(values(2)), rtol=1e-6)


def test_what_is_loaded_is_not_asked_for_again(tmp_path: Path) -> None:
    device = Recorder(memory=5 << 20)
    g = weighted(tmp_path / "w.gguf")
    with open_gguf(tmp_path / "w.gguf") as file:
        backend = CudaBackend(file, device)
        plan = backend.plan(g)
        backend.load([plan])
        backend.load([plan])
        found = backend.prepare(plan)({"x": np.ones((8, 256), np.float32)})
        assert (found == 4).all()
