"""Plans for a GPU, which need not be there: what its kernels take, and how many they are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import ClassVar, cast

import gguf_run.cuda.ops as _ops  # noqa: F401  (registers the wrappers)
from gguf_run.cuda.activations import activations_as_products_take_them
from gguf_run.cuda.buffer import Buffer
from gguf_run.cuda.capabilities import SHARED_BYTES, full_arch
from gguf_run.cuda.device import Device
from gguf_run.cuda.lowering import ACCEPTS, LOWERINGS, WORKSPACES, Lowering
from gguf_run.cuda.select import open_device
from gguf_run.errors import DeviceError
from gguf_run.fusion import FUSIONS
from gguf_run.graph import Graph, Tensor
from gguf_run.plan import Plan, make_plan

TYPICAL: Mapping[int, tuple[str, int]] = MappingProxyType(
    {
        75: ("T4", 40),
        80: ("A100", 108),
        86: ("RTX 3090", 82),
        89: ("RTX 4090", 128),
        90: ("H200", 132),
        100: ("B200", 148),
        120: ("RTX 5090", 170),
    }
)
"""A GPU of each capability and its multiprocessors."""


@dataclass(frozen=True, slots=True)
class Gpu:
    """What wrappers ask of a device while a plan is made: `Device` says what these are."""

    compiles_shapes: ClassVar[bool] = False
    name: str
    arch: str
    capability: int
    n_sm: int
    max_shared: int

    @classmethod
    def typical(cls, capability: int) -> Gpu:
        """A GPU of a compute capability (times ten). Raises `DeviceError` for an unknown one."""
        if capability not in TYPICAL:
            known = ", ".join(f"sm_{c}" for c in TYPICAL)
            raise DeviceError(f"architecture sm_{capability}: expected one of {known}")
        name, n_sm = TYPICAL[capability]
        arch = full_arch(capability)
        return cls(f"{name} (sm_{capability})", arch, capability, n_sm, SHARED_BYTES[capability])


def find_gpu(device: str, capability: int | None) -> Gpu:
    """A typical GPU of `capability`; where that is None, what the device "cuda" or "emulated" is.

    Raises `DeviceError` where there is none.
    """
    if capability is not None:
        return Gpu.typical(capability)
    try:
        with open_device("cuda" if device == "auto" else device) as found:
            return Gpu(found.name, found.arch, found.capability, found.n_sm, found.max_shared)
    except DeviceError as error:
        raise DeviceError(
            f"{error}; or plan for one that isn't here, as with --arch sm_90"
        ) from None


def plan_graph(graph: Graph, gpu: Device | Gpu, fuse: bool = True) -> Plan:
    """Plan `graph` with the fusions that `gpu` has kernels for, or with none; activations are cast
    as its products take them."""
    device = cast(Device, gpu)
    fusions = tuple(f for f in FUSIONS if f.name in LOWERINGS) if fuse else ()

    def accepts(op: str, parts: tuple[Tensor, ...]) -> bool:
        return op not in ACCEPTS or ACCEPTS[op](device, parts)

    def workspace(op: str, parts: tuple[Tensor, ...]) -> int:
        return workspace_bytes(gpu, op, parts)

    return make_plan(
        activations_as_products_take_them(graph, gpu.capability), fusions, workspace, accepts
    )


def workspace_bytes(gpu: Device | Gpu, op: str, parts: tuple[Tensor, ...]) -> int:
    """Scratch memory of a step."""
    return WORKSPACES[op](cast(Device, gpu), parts) if op in WORKSPACES else 0


def count_launches(plan: Plan, gpu: Device | Gpu) -> list[int]:
    """How many kernels each step of a plan for `gpu` launches."""
    # Wrappers look at no memory: any address does.
    memory = Buffer(1 << 20, 1 << 60, None)
    leaves = dict.fromkeys(plan.leaves, memory)
    low = Lowering(cast(Device, gpu), memory, plan.offsets, leaves, [])
    ends = []
    for step in plan.steps:
        LOWERINGS[step.op](low, step)
        ends.append(len(low.calls))
    return [end - start for start, end in zip([0, *ends], ends, strict=False)]
