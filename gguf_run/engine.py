"""Drives a backend: batches of sequences through the graph, and the loop from prompt to text.

The engine owns the page pool and one executable a batch shape. `forward` runs one batch of any
sequences; `evaluate` feeds one sequence in chunks.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from collections.abc import Sequence as List
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from gguf_run.arch import BatchShape, Builder, BuildFunction, CacheShape
from gguf_run.batch import BatchInputs
from gguf_run.costs import Peaks, StepTimes
from gguf_run.decoding import DecodeLoop, follow
from gguf_run.errors import ModelError
from gguf_run.graph import F32, I32, Graph, Kind, Tensor
from gguf_run.graph_ops import SAMPLER
from gguf_run.graph_rows import wanted_rows_alone
from gguf_run.hparams import HParams
from gguf_run.kv_cache import PAGE_SIZE, PagePool, Sequence, WindowPages, pages_for
from gguf_run.plan import Plan
from gguf_run.sampling import DeviceSampling
from gguf_run.states import STATES_PER_SEQUENCE, SequenceState, StatePool
from gguf_run.weights import WeightTable

Floats = npt.NDArray[np.float32]

Meanwhile = Callable[[], None]
"""What the host may do while a device works; where there is no device, it is not called."""

MAX_EXECUTABLES = 32
"""Batch shapes kept ready; prompts end in chunks of many lengths, so the oldest must go."""


class Executable(Protocol):
    """A plan bound to a device's memory."""

    def __call__(
        self, inputs: Mapping[str, npt.NDArray[Any]], meanwhile: Meanwhile | None = None
    ) -> Floats:
        """Run one step -> logits (n_out, n_vocab); `meanwhile` is called while a device works."""


class Backend(Protocol):
    """What runs plans: holds the weights and the caches."""

    name: str

    @property
    def default_cache_type(self) -> str:
        """Type of the KV cache where the user names none."""

    @property
    def default_batch(self) -> int:
        """The most tokens of a step where the user names none."""

    def step_size(self, n_tok: int) -> int:
        """Tokens of the step that `n_tok` tokens of a prompt are best run in: as many or more.

        Those that are too many have the slot -1 and must be stored nowhere.
        """

    def plan(self, graph: Graph, fuse: bool = True) -> Plan:
        """Plan a graph with the fusions that this backend has kernels for, or with none."""

    def load(self, plans: Iterable[Plan], weights: Iterable[Tensor] = ()) -> None:
        """Load what `plans` need; `DeviceError`, and nothing is loaded, where there is no room.

        `weights` may arrive while the plans are drawn.
        """

    def prepare(self, plan: Plan) -> Executable:
        """Bind a plan to memory."""

    def prepare_loop(self, plan: Plan) -> DecodeLoop | None:
        """Bind a plan that ends with drawn tokens and their log probabilities, to be repeated;
        None where drawing on the host is as good."""

    def read_cache(self, leaf: Tensor, rows: List[int]) -> npt.NDArray[np.uint8]:
        """Rows along the first dimension of a cache, as bytes (n_row, n_bytes), a new array."""

    def write_cache(self, leaf: Tensor, rows: List[int], data: npt.NDArray[np.uint8]) -> None:
        """Put back what `read_cache` gave; distinct rows."""

    def time_steps(
        self, plan: Plan, inputs: Mapping[str, npt.NDArray[Any]], repetitions: int
    ) -> StepTimes:
        """Run a plan several times -> medians of how long its steps take."""

    def peaks(self) -> Peaks | None:
        """What the device gives at most, measured now; None where that says nothing."""

    def close(self) -> None:
        """Free everything."""


@dataclass(frozen=True, slots=True)
class GraphSource:
    """Everything that a graph is built from but the batch's shape."""

    build: BuildFunction
    hp: HParams
    weights: WeightTable
    cache: CacheShape

    def graph(self, batch: BatchShape) -> Graph:
        """The graph of one batch shape; `ModelError` where the file's tensors do not fit."""
        builder = Builder(self.hp, self.weights, batch, self.cache)
        builder.g.output(self.build(builder))
        return wanted_rows_alone(builder.hidden_graph() if batch.hidden else builder.g)

    def drawing_graph(self, batch: BatchShape, op: str) -> Graph:
        """As `graph`, but its outputs are the tokens that `op` draws ("argmax", "sample" or
        "sample_all") and their log probabilities."""
        graph = self.graph(batch)
        logits = graph.outputs.pop()
        if op == "argmax":
            tokens = graph.argmax(logits)
        else:
            n, n_vocab = logits.shape
            bias = graph.input("bias", (n, n_vocab), F32)
            counts = graph.input("counts", (n, n_vocab), I32)
            sampler = graph.input("sampler", (n, len(SAMPLER)), F32)
            draw = graph.input("draw", (n, 2), I32)
            tokens = graph.sample(logits, bias, counts, sampler, draw, op)
        graph.output(tokens)
        graph.output(graph.log_prob(logits, tokens))
        return graph


@dataclass(slots=True)
class Engine:
    """Runs batches; `n_batch` bounds the tokens of one step, `fuse` turns the fusions on.

    `progress`, where there is one, is called as progress("prompt", done, total) in tokens while
    `evaluate` takes several steps.
    """

    source: GraphSource
    backend: Backend
    n_batch: int
    fuse: bool = True
    progress: Callable[[str, int, int], None] | None = None
    pool: PagePool = field(init=False)
    window_pool: PagePool = field(init=False)
    states: StatePool = field(init=False)
    idle: dict[object, Callable[[], None]] = field(init=False, default_factory=dict)
    """Who keeps a sequence that nothing runs in, and what gives its room back; oldest first."""
    _ready: OrderedDict[BatchShape, Executable] = field(init=False, default_factory=OrderedDict)
    _loops: dict[str, DecodeLoop | None] = field(init=False, default_factory=dict)
    """By the op that draws; None where the backend has none."""

    def __post_init__(self) -> None:
        cache = self.source.cache
        inputs = {leaf.name for leaf in self.source.graph(BatchShape(1)).leaves}
        self.pool = PagePool(cache.n_page)
        self.window_pool = PagePool(cache.n_page_window if "slots_window" in inputs else 0)
        self.states = StatePool(cache.n_state if "state_in" in inputs else 0)

    @property
    def n_ctx(self) -> int:
        return self.source.cache.n_ctx

    def new_sequence(self) -> Sequence:
        """An empty sequence; close it to give its pages back."""
        self.make_room()
        state = window = None
        if self.states.n_state:
            state = SequenceState(self.states)
        if self.window_pool.n_page:
            window = WindowPages(self.window_pool, self.source.hp.window)
        return Sequence(self.pool, self.n_ctx, state=state, window=window)

    def make_room(self, seq: Sequence | None = None) -> None:
        """Let go of idle sequences until `seq`, or one more, can fill the whole context."""
        while self.idle and not self._has_room(seq):
            self.idle.pop(next(iter(self.idle)))()

    def _has_room(self, seq: Sequence | None) -> bool:
        cache, n_page = self.source.cache, pages_for(self.n_ctx)
        held = 0 if seq is None else len(seq.pages)
        held_window = 0 if seq is None or seq.window is None else len(seq.window.pages)
        n_sequence = max(1, cache.n_page // n_page)
        return (
            held + self.pool.n_free >= n_page
            and held_window + self.window_pool.n_free >= self.window_pool.n_page // n_sequence
            and self.states.n_free
            >= min(self.states.n_state, STATES_PER_SEQUENCE - (seq is not None))
        )

    def warm_up(self) -> None:
        """Load all that steps of one token and of `n_batch` need, and prepare that of one."""
        one, most = BatchShape(1), BatchShape(min(self.n_batch, self.n_ctx))
        plans: dict[BatchShape, Plan] = {}

        def draw() -> Iterator[Plan]:
            for shape in (one, most):
                plans[shape] = self.plan(shape)
                yield plans[shape]

        leaves = self.source.graph(one).leaves
        self.backend.load(draw(), (t for t in leaves if t.kind is Kind.WEIGHT))
        self._ready[one] = self.backend.prepare(plans.get(one) or self.plan(one))

    def plan(self, batch: BatchShape) -> Plan:
        """The plan of one batch shape."""
        return self.backend.plan(self.source.graph(batch), self.fuse)

    def forward(
        self,
        work: List[tuple[Sequence, list[int]]],
        every_row: bool = False,
        meanwhile: Meanwhile | None = None,
        hidden: bool = False,
    ) -> Floats:
        """Append tokens to each sequence and run them as one batch.

        Args:
            work: sequences, each at most once, with their new tokens (at least one each).
            every_row: logits of every token, else of each sequence's last.
            meanwhile: called while a device works; not called where there is none.
            hidden: states behind the last norm in place of logits.

        Returns:
            float32 (n_out, n_vocab), or (n_out, n_embd), in the order of `work`.

        Raises:
            ModelError: a token is no token, or a sequence has no room; nothing has changed then.
        """
        for _, tokens in work:
            self._check_tokens(tokens)
        inputs = BatchInputs()
        appended: list[tuple[Sequence, int]] = []
        try:
            for seq, tokens in work:
                before = len(seq)
                inputs.add(seq, tokens, seq.append(tokens), every_row)
                appended.append((seq, before))
        except ModelError:
            for seq, before in appended:
                seq.rollback(before)
            raise
        for seq, tokens in work:
            inputs.add_state(seq, len(tokens))
        if len(work) == len(inputs.out_rows) == 1 and self._can_pad(work[0][0]):
            n_tok = len(inputs.tokens)
            most = min(self.n_batch, self.n_ctx)  # what there is memory for
            inputs.pad(max(n_tok, min(most, self.backend.step_size(n_tok))))
        shape = BatchShape(len(inputs.tokens), len(work), len(inputs.out_rows), hidden)
        return self._executable(shape)(inputs.arrays(pages_for(self.n_ctx)), meanwhile)

    def _can_pad(self, seq: Sequence) -> bool:
        """Whether a token only changes what comes after it, and only through the cache."""
        return seq.state is None and self.source.hp.causal

    def evaluate(
        self, seq: Sequence, tokens: list[int], every_row: bool = False, hidden: bool = False
    ) -> Floats:
        """Append `tokens` (at least one) in chunks of `n_batch` -> logits of the last or of all, or
        their states as in `forward`."""
        rows: list[Floats] = []
        tell = self.progress if len(tokens) > self.n_batch else None
        try:
            for start in range(0, len(tokens), self.n_batch):
                if tell is not None:
                    tell("prompt", start, len(tokens))
                work = [(seq, tokens[start : start + self.n_batch])]
                found = self.forward(work, every_row, hidden=hidden)
                rows = [*rows, found] if every_row else [found]
        finally:
            if tell is not None:
                tell("prompt", len(tokens), len(tokens))
        return np.concatenate(rows)

    def follow(
        self, seq: Sequence, token: int, limit: int, sampling: DeviceSampling | None = None
    ) -> Generator[tuple[int, float], None, None] | None:
        """Tokens after `token` with their log probabilities, at most `limit`, drawn on the device,
        by default the likeliest; None where that is left to the host. A token of -1 stands for one
        that could not be drawn.

        A step is already running when the token that it evaluates is given; closing the iterator
        takes it back, so that `seq` ends before the last token given.
        """
        sampling = sampling or DeviceSampling()
        n_room = pages_for(self.n_ctx) * PAGE_SIZE
        can_go_back = seq.state is None or seq.state.can_alternate
        if not can_go_back or not sampling.fits(n_room, limit):
            return None
        op = sampling.op
        if op not in self._loops:
            plan = self.backend.plan(self.source.drawing_graph(BatchShape(1), op), self.fuse)
            self._loops[op] = self.backend.prepare_loop(plan)
        loop = self._loops[op]
        if loop is None or loop.n_unread:  # somebody else's tokens are on their way
            return None
        drawing = {}
        if op != "argmax":
            drawing = sampling.arrays(self.source.hp.n_vocab, n_room, limit)
        return follow(loop, seq, token, limit, drawing)

    def close(self) -> None:
        """Free the device's memory."""
        self._loops.clear()
        self._ready.clear()
        self.backend.close()

    def _check_tokens(self, tokens: list[int]) -> None:
        n_vocab = self.source.hp.n_vocab
        if not tokens:
            raise ModelError("expected at least one token, found none: the prompt is empty")
        for token in tokens:
            if not 0 <= token < n_vocab:
                raise ModelError(f"token {token}: expected an id in 0..{n_vocab - 1}")

    def _executable(self, shape: BatchShape) -> Executable:
        if shape not in self._ready:
            while len(self._ready) >= MAX_EXECUTABLES:
                self._ready.popitem(last=False)
            self._ready[shape] = self.backend.prepare(self.plan(shape))
        self._ready.move_to_end(shape)
        return self._ready[shape]
