"""How a step of a plan becomes kernel launches: the registry of wrappers and what they work with.

A wrapper is a function under `cuda/ops/`, registered by the step's op:

    @lowering("rms_norm", "rms_norm_mul")
    def rms_norm(low: Lowering, step: Step) -> None:
        x, out = step.parts[0].srcs[0], step.outputs[-1]
        low.launch(NORM, "rms_norm_f32", grid=..., block=256, args=[low.at(x), ...])

It checks types and shapes, chooses kernel, grid and shared memory, and records launches; it
allocates nothing and never looks at data. A fused op without a wrapper is not fused on this
backend. Kernels are named by module: `kernel_module` declares a `.cu` file with every instance that
may be launched, so that all of them can be listed and compiled for any architecture without a plan.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from gguf_run.cuda.capabilities import ALL
from gguf_run.cuda.device import Buffer, Device
from gguf_run.cuda.source import KernelSource
from gguf_run.graph import Kind, Tensor
from gguf_run.plan import Step

KERNELS = Path(__file__).parent / "kernels"

MODULES: dict[KernelSource, frozenset[int]] = {}
"""Every module of the backend with all its kernels, and the compute capabilities of the devices
that it is launched on."""


def kernel_module(
    file: str, names: Sequence[str], capabilities: frozenset[int] = ALL, **defines: str | int
) -> KernelSource:
    """Declare the kernels of `kernels/<file>`: plain names and template instances."""
    source = KernelSource(_path(file), tuple(names), tuple(sorted(defines.items())))
    MODULES[source] = capabilities
    return source


@cache
def _path(file: str) -> Path:
    """One path for all modules of a file: making and hashing them is what declaring takes."""
    return KERNELS / file


@dataclass(frozen=True, slots=True)
class Call:
    """A launch to come: its kernel by module and name, grid, block, arguments, shared bytes.

    With `pdl` it may start before the launch ahead has ended; it then waits itself (`pdl_wait`).
    """

    module: KernelSource
    kernel: str
    grid: int | Sequence[int]
    block: int | Sequence[int]
    args: Sequence[Any]
    shared: int
    pdl: bool


@dataclass(slots=True)
class Lowering:
    """What a wrapper sees of the device and of the plan's memory.

    `at` gives any tensor's first byte: weights, caches and inputs in their own buffers, results in
    the arena, views at their offset.
    """

    device: Device
    arena: Buffer
    offsets: dict[Tensor, int]
    leaves: dict[Tensor, Buffer]
    calls: list[Call]

    def at(self, t: Tensor) -> Buffer:
        """The memory of `t`, from its first element on."""
        base = t.base
        if base.kind is Kind.OP:
            whole = self.arena.at(self.offsets[base], base.n_bytes)
        else:
            whole = self.leaves[base]
        if not t.offset:
            return whole
        return whole.at(t.offset // t.dtype.block_size * t.dtype.type_size)

    def workspace(self, step: Step) -> Buffer:
        """The scratch memory that the step's op asked for (`workspace`)."""
        assert step.workspace is not None, f"{step.op} has no workspace"
        return self.arena.at(step.workspace)

    def launch(
        self,
        module: KernelSource,
        kernel: str,
        *,
        grid: int | Sequence[int],
        block: int | Sequence[int],
        args: Sequence[Any],
        shared: int = 0,
        pdl: bool = False,
    ) -> None:
        """Record a launch; steps run in order, and so do the launches of one step."""
        assert kernel in module.names, f"{kernel} is not declared in {module.path.name}"
        self.calls.append(Call(module, kernel, grid, block, args, shared, pdl))


LoweringFunction = Callable[[Lowering, Step], None]
WorkspaceFunction = Callable[[Device, tuple[Tensor, ...]], int]

AcceptsFunction = Callable[[Device, tuple[Tensor, ...]], bool]

LOWERINGS: dict[str, LoweringFunction] = {}
WORKSPACES: dict[str, WorkspaceFunction] = {}
ACCEPTS: dict[str, AcceptsFunction] = {}


def lowering(*ops: str) -> Callable[[LoweringFunction], LoweringFunction]:
    """Register the wrapper of `ops` (an op of the graph or the name of a fusion)."""

    def register(function: LoweringFunction) -> LoweringFunction:
        for op in ops:
            if op in LOWERINGS:
                raise ValueError(f"op {op!r} has two wrappers")
            LOWERINGS[op] = function
        return function

    return register


def accepts(*ops: str) -> Callable[[AcceptsFunction], AcceptsFunction]:
    """Register which groups of parts the kernels of the fusions `ops` can run; default: all."""

    def register(function: AcceptsFunction) -> AcceptsFunction:
        ACCEPTS.update(dict.fromkeys(ops, function))
        return function

    return register


def workspace(*ops: str) -> Callable[[WorkspaceFunction], WorkspaceFunction]:
    """Register how many bytes of scratch memory a step of `ops` needs, from its parts."""

    def register(function: WorkspaceFunction) -> WorkspaceFunction:
        WORKSPACES.update(dict.fromkeys(ops, function))
        return function

    return register
