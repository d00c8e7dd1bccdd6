"""The ops of mixtures of experts, which `Graph` has beside its own."""

from __future__ import annotations

from gguf_run.graph_ops import I32
from gguf_run.graph_params import GroupParams, RouterParams
from gguf_run.graph_tensor import OpFamily, Tensor, require


class ExpertOps(OpFamily):
    """A router's logits choose `n_used` of `n_expert` experts for each token."""

    __slots__ = ()

    def moe_ids(self, logits: Tensor, params: RouterParams, bias: Tensor | None = None) -> Tensor:
        """Experts of each token, best first, the lower index first among equals.

        logits (n_tok, n_expert) f32 -> (n_tok, n_used) i32. `bias` (n_expert,) f32 is added to the
        scores for this choice alone. `SOFTMAX_SELECTED` chooses by the logits.
        """
        n = logits.shape[-1]
        ok = len(logits.shape) == 2 and 0 < params.n_used <= n and n % params.n_group == 0
        ok = ok and 0 < params.n_group_used <= params.n_group
        ok = ok and (params.n_group == 1 or n >= 2 * params.n_group)
        ok = ok and params.n_used <= n // params.n_group * params.n_group_used
        ok = ok and (bias is None or bias.shape == (n,))
        srcs = (logits,) if bias is None else (logits, bias)
        require(ok, "moe_ids", f"logits (n_tok, n_expert), bias (n_expert,) for {params}", *srcs)
        return self._op("moe_ids", (logits.shape[0], params.n_used), srcs, params, I32)

    def moe_weights(self, logits: Tensor, ids: Tensor, params: RouterParams) -> Tensor:
        """Weights of the chosen experts: logits (n_tok, n_expert), ids (n_tok, n_used) i32
        -> (n_tok, n_used) f32, from scores without the bias."""
        ok = ids.shape == (logits.shape[0], params.n_used) and ids.dtype is I32
        require(ok, "moe_weights", f"logits and ids (n_tok, {params.n_used}) i32", logits, ids)
        return self._op("moe_weights", ids.shape, (logits, ids), params)

    def moe_group(self, ids: Tensor, n_expert: int, size: int) -> Tensor:
        """The pairs of a token and one of its experts, in tiles of one expert each.

        ids (n_tok, n_used) i32; pair p is token p // n_used with expert ids.flat[p]. A row of the
        result (n_tile, 1 + size) i32 is an expert and up to `size` of its pairs in ascending order,
        then -1; experts follow each other; rows that are left over are all -1.
        """
        require(len(ids.shape) == 2 and ids.dtype is I32, "moe_group", "ids (n_tok, n_used)", ids)
        # An expert with c pairs has at most (c - 1) / size + 1 tiles.
        n_tile = ids.n_elements // size + min(n_expert, ids.n_elements)
        params = GroupParams(n_expert, size)
        return self._op("moe_group", (n_tile, 1 + size), (ids,), params, I32)

    def mul_mat_id(self, w: Tensor, x: Tensor, ids: Tensor) -> Tensor:
        """Products with chosen experts: x[t, j] @ w[ids[t, j]].T.

        w (n_expert, n_out, n_in) of any type, x (n_tok, n_used, n_in) or (n_tok, 1, n_in) for the
        same row at every expert, ids (n_tok, n_used) i32 -> (n_tok, n_used, n_out) f32. x is f32,
        or cast. A backend may append `moe_group` of the ids to the sources.
        """
        ok = len(w.shape) == len(x.shape) == 3 and w.shape[2] == x.shape[2] and ids.dtype is I32
        ok = ok and x.shape[:2] in (ids.shape, (ids.shape[0], 1))
        expected = "w (n_expert, n_out, n_in), x (n_tok, n_used or 1, n_in), ids (n_tok, n_used)"
        require(ok, "mul_mat_id", expected, w, x, ids)
        return self._op("mul_mat_id", (*ids.shape, w.shape[1]), (w, x, ids))

    def add_id(self, x: Tensor, rows: Tensor, ids: Tensor) -> Tensor:
        """x (n_tok, n_used, n) + rows[ids[t, j]], with rows (n_expert, n) f32 and ids (n_tok,
        n_used) i32."""
        ok = len(x.shape) == 3 and x.shape[:2] == ids.shape and ids.dtype is I32
        ok = ok and len(rows.shape) == 2 and rows.shape[1] == x.shape[2]
        require(ok, "add_id", "x (n_tok, n_used, n), rows (n_expert, n), ids", x, rows, ids)
        return self._op("add_id", x.shape, (x, rows, ids))

    def moe_sum(self, x: Tensor, weights: Tensor) -> Tensor:
        """Weighted sum of x (n_tok, n_used, n) by weights (n_tok, n_used) -> (n_tok, n)."""
        ok = len(x.shape) == 3 and weights.shape == x.shape[:2]
        require(ok, "moe_sum", "x (n_tok, n_used, n) and weights (n_tok, n_used)", x, weights)
        return self._op("moe_sum", (x.shape[0], x.shape[2]), (x, weights))
