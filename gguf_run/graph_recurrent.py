"""The ops of recurrent layers, which `Graph` has beside its own."""

from __future__ import annotations

from gguf_run.graph_ops import F32, I32
from gguf_run.graph_params import DeltaParams
from gguf_run.graph_tensor import OpFamily, Tensor, require


class RecurrentOps(OpFamily):
    """States are rows of a cache (n_state, n). A batch's sequences begin with the rows state_in
    (n_seq,) i32, or with zeros where that is -1, and token t belongs to sequence seq_ids[t]
    (n_tok,) i32; the tokens of a sequence stand together, in their order."""

    __slots__ = ()

    def ssm_conv(
        self, x: Tensor, w: Tensor, states: Tensor, seq_ids: Tensor, state_in: Tensor
    ) -> Tensor:
        """A causal convolution along each sequence, a channel by itself (arXiv:2312.00752).

        y[t, c] = sum of w[c, i] * x[t - n_tap + 1 + i, c], with x (n_tok, n_ch), w (n_ch, n_tap);
        rows before the batch's first are in the sequence's state, (n_tap - 1, n_ch) flat. The
        result is flat: y (n_tok, n_ch), then the sequences' new states (n_seq, n_tap - 1, n_ch).
        """
        ok = len(x.shape) == len(w.shape) == 2 and w.shape[0] == x.shape[1]
        ok = ok and seq_ids.shape == x.shape[:1] and len(state_in.shape) == 1
        ok = ok and states.shape[1:] == ((w.shape[1] - 1) * x.shape[1],)
        require(ok, "ssm_conv", "x (n_tok, n_ch), w (n_ch, n_tap), states", x, w, states)
        n = x.n_elements + state_in.shape[0] * states.shape[1]
        return self._op("ssm_conv", (n,), (x, w, states, seq_ids, state_in))

    def ssm_scan(
        self,
        x: Tensor,
        dt: Tensor,
        a: Tensor,
        d: Tensor,
        bc: tuple[Tensor, Tensor],
        states: Tensor,
        seq_ids: Tensor,
        state_in: Tensor,
    ) -> Tensor:
        """A selective state space (arXiv:2312.00752, arXiv:2405.21060).

        x (n_tok, n_head, head_dim), dt (n_tok, n_head), a (n_head, d_state) or (n_head, 1), d
        (n_head,), b and c (n_tok, n_group, d_state); head h reads group h // (n_head / n_group).
        Each head's state S (head_dim, d_state) goes token by token, with e = softplus(dt):
        S = exp(e a) S + e x b^T; y = S c + d x. The result is flat: y (n_tok, n_head, head_dim),
        then the sequences' new states (n_seq, n_head, head_dim, d_state).
        """
        b, c = bc
        ok = len(x.shape) == len(b.shape) == 3 and b.shape == c.shape and b.shape[0] == x.shape[0]
        ok = ok and dt.shape == x.shape[:2] and x.shape[1] % b.shape[1] == 0
        ok = (
            ok and a.shape in ((x.shape[1], 1), (x.shape[1], b.shape[2])) and d.shape == a.shape[:1]
        )
        ok = ok and seq_ids.shape == x.shape[:1] and len(state_in.shape) == 1
        ok = ok and states.shape[1:] == (x.shape[1] * x.shape[2] * b.shape[2],)
        expected = (
            "x (t, h, n), dt (t, h), a (h, d_state or 1), d (h,), b and c (t, group, d_state)"
        )
        require(ok, "ssm_scan", expected, x, dt, a, d, b, c, states)
        n = x.n_elements + state_in.shape[0] * states.shape[1]
        return self._op("ssm_scan", (n,), (x, dt, a, d, b, c, states, seq_ids, state_in))

    def gated_delta_net(
        self,
        qkv: tuple[Tensor, Tensor, Tensor],
        decay: Tensor,
        beta: Tensor,
        states: Tensor,
        seq_ids: Tensor,
        state_in: Tensor,
        params: DeltaParams,
    ) -> Tensor:
        """Linear attention by the gated delta rule (arXiv:2412.06464).

        q and k (n_tok, n_head_k, d_k), v (n_tok, n_head_v, d_v), decay (logarithms) and beta
        (n_tok, n_head_v). Each head's state S (d_v, d_k) goes token by token:
        S = exp(decay) S; S += beta (v - S k) k^T; o = S q. With decay (n_tok, n_head_v, d_k) each
        column of S has its own (arXiv:2510.26692). The result is flat: o (n_tok, n_head_v, d_v),
        then the sequences' new states (n_seq, n_head_v, d_v, d_k).
        """
        q, k, v = qkv
        ok = len(q.shape) == len(v.shape) == 3 and q.shape == k.shape and q.shape[0] == v.shape[0]
        ok = ok and v.shape[1] % q.shape[1] == 0 and beta.shape == v.shape[:2]
        ok = ok and decay.shape in (beta.shape, (*beta.shape, q.shape[2]))
        ok = ok and seq_ids.shape == q.shape[:1] and len(state_in.shape) == 1
        ok = ok and states.shape[1:] == (v.shape[1] * v.shape[2] * q.shape[2],)
        expected = "q and k (n_tok, h_k, d_k), v (n_tok, h_v, d_v), decay and beta (n_tok, h_v)"
        require(ok, "gated_delta_net", expected, q, k, v, decay, beta, states)
        n = v.n_elements + state_in.shape[0] * states.shape[1]
        srcs = (q, k, v, decay, beta, states, seq_ids, state_in)
        return self._op("gated_delta_net", (n,), srcs, params)

    def set_states(self, cache: Tensor, rows: Tensor, state_out: Tensor) -> Tensor:
        """Write rows (n_seq, n) f32 into the rows state_out (n_seq,) i32 of a cache (n_state, n),
        in place. The result is the cache after the write."""
        ok = len(cache.shape) == len(rows.shape) == 2 and cache.shape[1] == rows.shape[1]
        ok = ok and state_out.shape == rows.shape[:1] and state_out.dtype is I32
        require(ok, "set_states", "cache (n_state, n), rows (n_seq, n)", cache, rows, state_out)
        view = {"strides": cache.strides, "offset": cache.offset, "view_of": cache}
        return self._op("set_states", cache.shape, (cache, rows, state_out), None, F32, **view)
