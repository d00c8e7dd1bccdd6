"""The op graph: tensors and ggml's ops, checked for shape and type as they are added.

A graph is built once per batch shape and is static; what changes from step to step (token ids,
positions, KV slots, block tables, output rows) are input tensors. It is pure: no device, no data.

Shapes are NumPy order, slowest first. The op names and their meaning are ggml's. CONTRIBUTING.md
says what else to write for a new op.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from math import prod

from gguf_run.graph_experts import ExpertOps
from gguf_run.graph_ops import (
    CAST_FORMS,
    F16,
    F16_PAIR,
    F16_SCALED,
    F16_TILES,
    F32,
    GLU_OPS,
    I32,
    OPS,
    Q8_1,
    Q16_1,
    SAMPLER,
    UNARY_OPS,
    VIEW_OPS,
)
from gguf_run.graph_params import (
    AttentionParams,
    DeltaParams,
    Gating,
    GluParams,
    GroupParams,
    NormParams,
    Params,
    RopeMode,
    RopeParams,
    RouterParams,
    ScaleParams,
    TemperatureParams,
    TopKParams,
    XieluParams,
)
from gguf_run.graph_recurrent import RecurrentOps
from gguf_run.graph_tensor import Kind, Tensor, contiguous_strides, require
from gguf_run.quants import QuantType

__all__ = [
    "CAST_FORMS",
    "F16",
    "F16_PAIR",
    "F16_SCALED",
    "F16_TILES",
    "F32",
    "GLU_OPS",
    "I32",
    "OPS",
    "Q8_1",
    "Q16_1",
    "UNARY_OPS",
    "VIEW_OPS",
    "AttentionParams",
    "DeltaParams",
    "Gating",
    "GluParams",
    "Graph",
    "GroupParams",
    "Kind",
    "NormParams",
    "Params",
    "RopeMode",
    "RopeParams",
    "RouterParams",
    "ScaleParams",
    "TemperatureParams",
    "Tensor",
    "TopKParams",
    "XieluParams",
    "contiguous_strides",
]


@dataclass(slots=True)
class Graph(ExpertOps, RecurrentOps):
    """Ops in the order of their construction, which is an order in which they can run."""

    tensors: list[Tensor] = field(default_factory=list)
    outputs: list[Tensor] = field(default_factory=list)
    _inputs: dict[str, Tensor] = field(default_factory=dict)

    # Leaves

    def input(self, name: str, shape: Iterable[int], dtype: QuantType = I32) -> Tensor:
        """A buffer that the host fills before every step."""
        return self._leaf(name, tuple(shape), dtype, Kind.INPUT)

    def weight(self, name: str, shape: Iterable[int], dtype: QuantType) -> Tensor:
        """A tensor of the model file; asking for the same name again gives the same tensor."""
        return self._leaf(name, tuple(shape), dtype, Kind.WEIGHT)

    def cache(self, name: str, shape: Iterable[int], dtype: QuantType) -> Tensor:
        """State that lives across steps."""
        return self._leaf(name, tuple(shape), dtype, Kind.CACHE)

    def _leaf(self, name: str, shape: tuple[int, ...], dtype: QuantType, kind: Kind) -> Tensor:
        if name not in self._inputs:
            self._inputs[name] = Tensor(name, shape, dtype, kind, strides=contiguous_strides(shape))
        leaf = self._inputs[name]
        require((leaf.shape, leaf.kind) == (shape, kind), name, f"{kind.value} {shape}", leaf)
        return leaf

    @property
    def leaves(self) -> tuple[Tensor, ...]:
        """Inputs, weights and caches, in order of first use."""
        return tuple(self._inputs.values())

    def output(self, x: Tensor) -> Tensor:
        """Mark a result that the host reads after the step."""
        self.outputs.append(x)
        return x

    # Views

    def reshape(self, x: Tensor, *shape: int) -> Tensor:
        """The same elements in another shape; a view with gaps may only split its last dim."""
        require(prod(shape) == x.n_elements, "reshape", f"{prod(shape)} elements", x)
        strides = contiguous_strides(shape)
        if not x.is_contiguous:
            lead = len(x.shape) - 1
            splits_last = shape[:lead] == x.shape[:-1] and x.strides[-1] == 1
            require(splits_last, "reshape", f"a tensor without gaps for {shape}", x)
            strides = x.strides[:-1] + contiguous_strides(shape[lead:])
        view = {"strides": strides, "offset": x.offset, "view_of": x}
        return self._op("reshape", shape, (x,), None, x.dtype, **view)

    def view(self, x: Tensor, start: int, stop: int) -> Tensor:
        """Elements `start:stop` of the last dimension."""
        require(0 <= start < stop <= x.shape[-1], "view", f"at least {stop} columns", x)
        view = {"strides": x.strides, "offset": x.offset + start, "view_of": x}
        return self._op("view", (*x.shape[:-1], stop - start), (x,), None, x.dtype, **view)

    # Rows

    def get_rows(self, table: Tensor, ids: Tensor) -> Tensor:
        """table (n, n_col) of any type, ids (n_row,) i32 -> (n_row, n_col) f32."""
        ok = len(table.shape) == 2 and len(ids.shape) == 1 and ids.dtype is I32
        require(ok, "get_rows", "table (n, n_col) and ids (n_row,) i32", table, ids)
        return self._op("get_rows", (ids.shape[0], table.shape[1]), (table, ids))

    def set_rows(self, cache: Tensor, rows: Tensor, slots: Tensor) -> Tensor:
        """Write rows (n_tok, n_head, n_col) f32 into a paged cache, in place.

        Slot s of cache (n_page, n_head, page_size, n_col) is row s % page_size of page
        s // page_size; slots (n_tok,) i32. The result is the cache after the write.
        """
        ok = len(cache.shape) == 4 and len(rows.shape) == 3 and slots.shape == rows.shape[:1]
        ok = ok and (cache.shape[1], cache.shape[3]) == rows.shape[1:] and slots.dtype is I32
        require(ok, "set_rows", "cache (n_page, h, size, n), rows (t, h, n)", cache, rows, slots)
        view = {"strides": cache.strides, "offset": cache.offset, "view_of": cache}
        return self._op("set_rows", cache.shape, (cache, rows, slots), None, cache.dtype, **view)

    # Products

    def cast(self, x: Tensor, dtype: QuantType) -> Tensor:
        """x f32 (..., n_col) in one of CAST_FORMS, in which products may take activations; n_col is
        a multiple of 32 (F16_TILES: 128).

        A row of Q8_1 is n_col int8 numbers q, then for each 32 of them two f32: the scale
        d = max|x| / 127 (q = round(x / d)) and d times the sum of the block's q.

        Q16_1 is the same for q = 256 h + l of 16 bits, d = max|x| / 32512: a row is n_col int8
        numbers h, n_col int8 numbers l, then the pairs. So products are sums of int8 products, too.

        F16_SCALED is all rows of n_col f16 numbers x / s, then s of each row as f32, the power of
        two that brings the row's largest |x| to 2^14 ... 2^15: so none overflows. The rest of the
        bytes is unused. F16_PAIR is all those rows h, then rows of the rounded rest x / s - h, then
        s of each row, twice. F16_TILES is the numbers of F16_SCALED in the order that `tiles.py`
        tells, then s of each row.
        """
        ok = len(x.shape) >= 2 and dtype in CAST_FORMS and x.shape[-1] % dtype.block_size == 0
        require(ok, "cast", "rows of whole blocks to a form of CAST_FORMS", x)
        return self._op("cast", x.shape, (x,), None, dtype)

    def mul_mat(self, w: Tensor, x: Tensor) -> Tensor:
        """w (n_out, n_in) of any type, x (n_tok, n_in) -> x @ w.T (n_tok, n_out) f32.

        x is f32, or cast.
        """
        ok = len(w.shape) == len(x.shape) == 2 and w.shape[1] == x.shape[1]
        require(ok, "mul_mat", "w (n_out, n_in) and x (n_tok, n_in)", w, x)
        return self._op("mul_mat", (x.shape[0], w.shape[0]), (w, x))

    def mul_mat_batched(self, w: Tensor, x: Tensor) -> Tensor:
        """A product a head: w (n_head, n_out, n_in) of any type, x (n_tok, n_head, n_in) f32 or
        cast -> x[:, h] @ w[h].T (n_tok, n_head, n_out) f32."""
        ok = len(w.shape) == len(x.shape) == 3 and x.shape[1:] == (w.shape[0], w.shape[2])
        expected = "w (n_head, n_out, n_in) and x (n_tok, n_head, n_in)"
        require(ok, "mul_mat_batched", expected, w, x)
        return self._op("mul_mat_batched", (*x.shape[:2], w.shape[1]), (w, x))

    # Rows to rows

    def rms_norm(self, x: Tensor, eps: float) -> Tensor:
        """x / sqrt(mean(x^2) + eps) over the last dimension (arXiv:1910.07467)."""
        return self._op("rms_norm", x.shape, (x,), NormParams(eps))

    def norm(self, x: Tensor, eps: float) -> Tensor:
        """(x - mean(x)) / sqrt(var(x) + eps) over the last dimension (arXiv:1607.06450)."""
        return self._op("norm", x.shape, (x,), NormParams(eps))

    def soft_max(self, x: Tensor) -> Tensor:
        """exp(x) / sum(exp(x)) over the last dimension."""
        return self._op("soft_max", x.shape, (x,))

    def sum_rows(self, x: Tensor) -> Tensor:
        """The sum of each row: (..., n) -> (..., 1)."""
        return self._op("sum_rows", (*x.shape[:-1], 1), (x,))

    def argmax(self, x: Tensor) -> Tensor:
        """Index of the largest element of each row, the lowest one among equals -> i32."""
        return self._op("argmax", x.shape[:-1], (x,), None, I32)

    def log_prob(self, x: Tensor, ids: Tensor) -> Tensor:
        """log(soft_max(x)[i, ids[i]]): x (n, n_col) f32, ids (n,) i32 -> (n,) f32; NaN where an id
        is negative."""
        ok = len(x.shape) == 2 and ids.shape == x.shape[:1] and ids.dtype is I32
        require(ok, "log_prob", "x (n, n_col) and ids (n,) i32", x, ids)
        return self._op("log_prob", ids.shape, (x, ids))

    def sample(
        self, x: Tensor, bias: Tensor, counts: Tensor, sampler: Tensor, draw: Tensor, op: str
    ) -> Tensor:
        """Draw a token of each row of logits x (n, n_vocab) by a chain of samplers -> (n,) i32.

        `op` is "sample" or "sample_all", see `graph_ops.SAMPLER`: bias f32 and counts i32 are of
        x's shape; sampler (n, 8) f32; draw (n, 2) i32.
        """
        ok = bias.shape == counts.shape == x.shape and counts.dtype is draw.dtype is I32
        ok = (
            ok and sampler.shape == (*x.shape[:1], len(SAMPLER)) and draw.shape == (*x.shape[:1], 2)
        )
        require(ok, op, "a sampler's parameters", x, bias, counts, sampler, draw)
        return self._op(op, x.shape[:1], (x, bias, counts, sampler, draw), None, I32)

    def top_k(self, x: Tensor, k: int) -> Tensor:
        """Indices of the k largest elements of each row, largest first, lower index first among
        equals: (..., n) -> (..., k) i32."""
        require(0 < k <= x.shape[-1], "top_k", f"rows of at least {k} elements", x)
        return self._op("top_k", (*x.shape[:-1], k), (x,), TopKParams(k), I32)

    # Element by element

    def add(self, a: Tensor, b: Tensor) -> Tensor:
        """a + b; b has a's shape or is one row (n,) that every row of a gets."""
        return self._broadcast("add", a, b)

    def mul(self, a: Tensor, b: Tensor) -> Tensor:
        """a * b; b has a's shape or is one row (n,) that every row of a gets."""
        return self._broadcast("mul", a, b)

    def _broadcast(self, op: str, a: Tensor, b: Tensor) -> Tensor:
        require(b.shape in (a.shape, a.shape[-1:]), op, "equal shapes, or one row second", a, b)
        return self._op(op, a.shape, (a, b))

    def scale(self, x: Tensor, value: float, bias: float = 0.0) -> Tensor:
        """x * value + bias."""
        return self._op("scale", x.shape, (x,), ScaleParams(value, bias))

    def clamp(self, x: Tensor, limit: float) -> Tensor:
        """x, no less than -limit and no more than limit."""
        return self._op("clamp", x.shape, (x,), ScaleParams(limit))

    def scale_by_position(self, x: Tensor, positions: Tensor, params: TemperatureParams) -> Tensor:
        """x (n_tok, n_head, head_dim) times 1 + growth * ln(1 + floor((p + offset) / length)),
        p the token's position in positions (n_tok,) i32 (arXiv:2501.19399)."""
        ok = len(x.shape) == 3 and positions.shape == x.shape[:1] and positions.dtype is I32
        require(ok, "scale_by_position", "x (n_tok, n_head, n), positions (n_tok,)", x, positions)
        return self._op("scale_by_position", x.shape, (x, positions), params)

    def softcap(self, x: Tensor, cap: float) -> Tensor:
        """cap * tanh(x / cap) (arXiv:2408.00118)."""
        return self._op("softcap", x.shape, (x,), ScaleParams(cap))

    def glu(self, op: str, gate: Tensor, up: Tensor) -> Tensor:
        """act(gate) * up, both (..., n_ff) (arXiv:2002.05202); `op` is one of `GLU_OPS`."""
        require(op in GLU_OPS and gate.shape == up.shape, op, "gate and up alike", gate, up)
        return self._op(op, gate.shape, (gate, up))

    def swiglu_oai(self, gate: Tensor, up: Tensor, params: GluParams) -> Tensor:
        """g * sigmoid(alpha g) * (1 + u), both (..., n_ff) (arXiv:2508.10925).

        g is the gate, limited from above; u is up, limited from both sides.
        """
        require(gate.shape == up.shape, "swiglu_oai", "gate and up alike", gate, up)
        return self._op("swiglu_oai", gate.shape, (gate, up), params)

    def xielu(self, x: Tensor, params: XieluParams) -> Tensor:
        """A function of each element (arXiv:2411.13010), see `XieluParams`."""
        return self._op("xielu", x.shape, (x,), params)

    def unary(self, op: str, x: Tensor) -> Tensor:
        """A function of each element; `op` is one of `UNARY_OPS`."""
        require(op in UNARY_OPS, op, f"one of {', '.join(UNARY_OPS)}", x)
        return self._op(op, x.shape, (x,))

    def concat(self, a: Tensor, b: Tensor) -> Tensor:
        """Heads side by side: a (n_tok, n_head, n), b (n_tok, n_head, m) or (n_tok, 1, m) for the
        same row at every head -> (n_tok, n_head, n + m)."""
        ok = len(a.shape) == len(b.shape) == 3
        ok = ok and b.shape[:2] in (a.shape[:2], (a.shape[0], 1))
        require(ok, "concat", "a (n_tok, n_head, n) and b (n_tok, n_head or 1, m)", a, b)
        return self._op("concat", (*a.shape[:2], a.shape[2] + b.shape[2]), (a, b))

    # Attention

    def rope(
        self, x: Tensor, positions: Tensor, params: RopeParams, factors: Tensor | None = None
    ) -> Tensor:
        """Rotate x (n_tok, n_head, head_dim) by positions (n_tok,) i32.

        `factors` (n_dims / 2,) f32 divides the angle of each pair.
        """
        ok = len(x.shape) == 3 and positions.shape == x.shape[:1] and params.n_dims <= x.shape[2]
        ok = ok and (factors is None or factors.shape == (params.n_dims // 2,))
        extra = () if factors is None else (factors,)
        expected = f"x (n_tok, n_head, >= {params.n_dims}), positions (n_tok,), factors (n_dims/2,)"
        require(ok and params.n_dims % 2 == 0, "rope", expected, x, positions, *extra)
        return self._op("rope", x.shape, (x, positions, *extra), params)

    def flash_attn_ext(
        self,
        q: Tensor,
        k: Tensor,
        v: Tensor,
        positions: Tensor,
        seq_ids: Tensor,
        block_table: Tensor,
        params: AttentionParams,
        sinks: Tensor | None = None,
    ) -> Tensor:
        """Attention of q (n_tok, n_head, d_k) over paged caches -> (n_tok, n_head, d_v).

        k (n_page, n_head_kv, page_size, d_k), v (..., d_v). Key j of a sequence lies in page
        block_table[sequence, j // page_size]; token t belongs to row seq_ids[t] of block_table
        (n_seq, n_page_max) and sees the keys up to positions[t], or as params say otherwise. All
        three are i32; the tokens of a sequence stand together, in their order. Query head h
        reads KV head h // (n_head / n_head_kv). `sinks` (n_head,) f32 adds exp(sink - max) to each
        head's sum of weights (arXiv:2309.17453).
        """
        ok = len(q.shape) == 3 and len(k.shape) == len(v.shape) == 4
        ok = ok and q.shape[2] == k.shape[3] and k.shape[:3] == v.shape[:3]
        ok = ok and q.shape[1] % k.shape[1] == 0 and len(block_table.shape) == 2
        ok = ok and positions.shape == seq_ids.shape == q.shape[:1]
        expected = "q (t, h, d_k), k (n_page, h_kv, size, d_k), v (n_page, h_kv, size, d_v)"
        require(ok, "flash_attn_ext", expected, q, k, v, positions, seq_ids, block_table)
        require(sinks is None or sinks.shape == (q.shape[1],), "flash_attn_ext", "a sink a head", q)
        srcs = (q, k, v, positions, seq_ids, block_table, *(() if sinks is None else (sinks,)))
        return self._op("flash_attn_ext", (*q.shape[:2], v.shape[3]), srcs, params)
