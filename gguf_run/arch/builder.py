"""What an architecture builds with: the graph, the file's weights and the batch's inputs."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import prod

from gguf_run.errors import ModelError
from gguf_run.graph import F32, I32, Graph, Tensor
from gguf_run.hparams import HParams
from gguf_run.kv_cache import PAGE_SIZE, pages_for
from gguf_run.quants import QuantType
from gguf_run.weights import WeightTable


@dataclass(frozen=True, slots=True)
class BatchShape:
    """The sizes that a graph is built for: tokens, sequences, rows whose logits are wanted.

    With `hidden` it ends with the states that logits are made of.
    """

    n_tok: int
    n_seq: int = 1
    n_out: int = 1
    hidden: bool = False


@dataclass(frozen=True, slots=True)
class CacheShape:
    """Room and types of the KV cache: pages of all sequences, tokens of one, types of K and V, and
    of the vectors that latent attention keeps in their place.

    `n_state` is how many recurrent states there are, in models that have them; `n_page_window` how
    many pages in layers that see a window, 0 where these have as many as all others.
    """

    n_page: int
    n_ctx: int
    type_k: QuantType
    type_v: QuantType
    type_latent: QuantType
    n_state: int = 0
    n_page_window: int = 0


@dataclass(slots=True)
class Builder:
    """One graph under construction. Weights are asked for by name and checked for shape.

    `hidden` are the states (n_out, n_embd) of the wanted rows behind the last norm, once known.
    """

    hp: HParams
    weights: WeightTable
    batch: BatchShape
    cache: CacheShape
    g: Graph = field(default_factory=Graph)
    hidden: Tensor | None = None

    def hidden_graph(self) -> Graph:
        """The graph up to `hidden`, its output: without what logits alone need."""
        assert self.hidden is not None
        tensors = self.g.tensors[: self.g.tensors.index(self.hidden) + 1]
        read = {source for tensor in tensors for source in tensor.srcs}
        leaves = {leaf.name: leaf for leaf in self.g.leaves if leaf in read}
        return Graph(tensors, [self.hidden], leaves)

    def weight(self, name: str, *shape: int) -> Tensor:
        """The tensor `name` of the file; `ModelError` if missing or of another shape."""
        return self.g.weight(name, shape, self.weights.require(name, shape).type)

    def maybe(self, name: str, *shape: int) -> Tensor | None:
        """As `weight`, but None where the file has no such tensor."""
        info = self.weights.find(name, shape)
        return None if info is None else self.g.weight(name, shape, info.type)

    def has(self, name: str) -> bool:
        """Whether the file has a tensor `name`."""
        return name in self.weights.tensors

    def vector(self, name: str, *shape: int) -> Tensor:
        """The tensor `name` of `shape` as one row of all its elements."""
        return self.g.weight(name, (prod(shape),), self.weights.require(name, shape).type)

    def column(self, name: str, n: int) -> Tensor:
        """The tensor `name` of `n` elements as rows of one (n, 1)."""
        return self.g.weight(name, (n, 1), self.weights.require(name, (n,)).type)

    # Inputs, all i32

    @property
    def tokens(self) -> Tensor:
        """Token ids (n_tok,)."""
        return self.g.input("tokens", (self.batch.n_tok,), I32)

    @property
    def token_types(self) -> Tensor:
        """Which text of several a token belongs to (n_tok,), for encoders: 0."""
        return self.g.input("token_types", (self.batch.n_tok,), I32)

    @property
    def positions(self) -> Tensor:
        """Position of each token in its sequence (n_tok,)."""
        return self.g.input("positions", (self.batch.n_tok,), I32)

    def slots(self, window: int = 0) -> Tensor:
        """Cache slot of each token (n_tok,), in layers that see `window` keys or all."""
        return self.g.input(f"slots{self._kind(window)}", (self.batch.n_tok,), I32)

    @property
    def seq_ids(self) -> Tensor:
        """Row of the block table that each token belongs to (n_tok,)."""
        return self.g.input("seq_ids", (self.batch.n_tok,), I32)

    def block_table(self, window: int = 0) -> Tensor:
        """Pages of each sequence in the order of its tokens (n_seq, n_page_max); in layers that see
        `window` keys, those that have left it may be any."""
        shape = (self.batch.n_seq, pages_for(self.cache.n_ctx))
        return self.g.input(f"block_table{self._kind(window)}", shape, I32)

    def _kind(self, window: int) -> str:
        """The suffix of the inputs of layers that keep a window's pages alone."""
        return "_window" if window and self.cache.n_page_window else ""

    @property
    def out_rows(self) -> Tensor:
        """Tokens of the batch whose logits are wanted (n_out,)."""
        return self.g.input("out_rows", (self.batch.n_out,), I32)

    @property
    def state_in(self) -> Tensor:
        """Row of the state caches that each sequence goes on from, or -1 (n_seq,)."""
        return self.g.input("state_in", (self.batch.n_seq,), I32)

    @property
    def state_out(self) -> Tensor:
        """Row of the state caches that each sequence's new state is written to (n_seq,)."""
        return self.g.input("state_out", (self.batch.n_seq,), I32)

    # State

    def states(self, il: int, name: str, n: int) -> Tensor:
        """Recurrent states of layer `il` (n_state, n) f32."""
        return self.g.cache(f"state_{name}.{il}", (self.cache.n_state, n), F32)

    def cache_k(self, il: int, n_head_kv: int, head_dim: int, window: int = 0) -> Tensor:
        """Keys of layer `il` (n_page, n_head_kv, PAGE_SIZE, head_dim)."""
        n_page = self._n_page(window)
        return self._cache(f"cache_k.{il}", n_page, n_head_kv, head_dim, self.cache.type_k)

    def cache_v(self, il: int, n_head_kv: int, head_dim: int, window: int = 0) -> Tensor:
        """Values of layer `il` (n_page, n_head_kv, PAGE_SIZE, head_dim)."""
        n_page = self._n_page(window)
        return self._cache(f"cache_v.{il}", n_page, n_head_kv, head_dim, self.cache.type_v)

    def cache_latent(self, il: int, width: int) -> Tensor:
        """Latent vectors of layer `il` (n_page, 1, PAGE_SIZE, width)."""
        return self._cache(f"cache_k.{il}", self.cache.n_page, 1, width, self.cache.type_latent)

    def _n_page(self, window: int) -> int:
        return (self.cache.n_page_window if window else 0) or self.cache.n_page

    def _cache(
        self, name: str, n_page: int, n_head_kv: int, head_dim: int, dtype: QuantType
    ) -> Tensor:
        if head_dim % dtype.block_size:
            raise ModelError(
                f"{self.weights.source}: a KV cache of type {dtype.name} needs heads of a multiple "
                f"of {dtype.block_size} elements, and this model's have {head_dim}; use F16 or F32"
            )
        return self.g.cache(name, (n_page, n_head_kv, PAGE_SIZE, head_dim), dtype)
