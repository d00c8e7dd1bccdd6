"""The house has one direction of flow: nothing imports upwards."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[1] / "gguf_run"

LAYERS = (
    {"errors", "lazy"},
    {
        "loader",
        "hparams",
        "quants",
        "graph",
        "graph_experts",
        "graph_ops",
        "graph_params",
        "graph_recurrent",
        "graph_rows",
        "graph_tensor",
        "tiles",
    },
    {"weights", "plan", "fusion", "kv_cache", "states", "arch", "tokenizer", "host_weight"},
    {"costs", "noise", "random_model", "shapes"},
    {
        "reference",
        "reference_attention",
        "reference_backend",
        "reference_elementwise",
        "reference_moe",
        "reference_recurrent",
        "reference_sampling",
        "cuda",
    },
    {
        "sampling",
        "engine",
        "generation",
        "chat",
        "structured",
        "prompt_cache",
        "state_file",
        "drawers",
        "answer",
        "batch",
        "decoding",
        "backends",
        "cache_shape",
        "embedding",
    },
    {"model", "conversation", "hub", "hub_download"},
    {"bench", "bench_tables", "picture", "profile"},
    {"planned"},
    {"commands", "server"},
    {"cli"},
    {"__main__"},
)


def _layer(module: str) -> int:
    """The layer of `gguf_run.<module>...`; what belongs to a module by name shares its layer."""
    name = module.split(".")[1]
    family = "loader" if name.startswith("loader_") else name
    found = [i for i, layer in enumerate(LAYERS) if family in layer]
    assert found, f"{module} belongs to no layer: name it in LAYERS"
    return found[0]


def _imports(path: Path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            names.add(node.module)
        elif isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
    return names


FILES = sorted(p for p in PACKAGE.rglob("*.py") if p != PACKAGE / "__init__.py")


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_a_module_imports_its_own_layer_or_lower_ones(path: Path) -> None:
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    own = _layer(".".join(parts))
    for name in _imports(path):
        if name.startswith("gguf_run."):
            assert _layer(name) <= own, f"{path.name} imports {name} from a higher layer"


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_only_the_cuda_backend_imports_cupy(path: Path) -> None:
    if "cuda" not in path.relative_to(PACKAGE).parts:
        assert not any(name.split(".")[0].startswith("cupy") for name in _imports(path))


def test_every_source_file_stays_short() -> None:
    tests = [*Path(__file__).parent.rglob("*.py"), *PACKAGE.rglob("*.cu*")]
    long = {p.name: n for p in [*FILES, *tests] if (n := len(p.read_text().splitlines())) > 500}
    assert not long
