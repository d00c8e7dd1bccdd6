"""`Model`: opens a GGUF file, chooses architecture, backend and tokenizer, and runs it."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import cached_property
from operator import index
from types import TracebackType
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from gguf_run.arch import ENCODERS, find_architecture
from gguf_run.backends import Progress, open_backend, wake
from gguf_run.cache_shape import cache_shape
from gguf_run.drawers import Drawers
from gguf_run.engine import Engine, GraphSource
from gguf_run.errors import ModelError
from gguf_run.generation import Generation, check_stops
from gguf_run.hparams import HParams, architecture_name
from gguf_run.loader import GGUFFile, MetaValue, open_gguf
from gguf_run.tokenizer import Tokenizer
from gguf_run.weights import WeightTable

if TYPE_CHECKING:
    # Chats and the like are imported by the methods that need them: generating text does not.
    from gguf_run.answer import Answer
    from gguf_run.chat import ChatTemplate
    from gguf_run.prompt_cache import PromptCache


class Model:
    """A model file, ready to run; a context manager.

    Args:
        path: the GGUF file; of several shards the first. An open one is closed with the model.
        device: "cpu" (NumPy), "cuda" (an NVIDIA GPU), "emulated" (the CUDA kernels on the CPU), or
            "auto": "cuda" where there is a GPU, else "cpu".
        n_ctx: tokens that a sequence may have; default: what the model was trained with.
        n_batch: the most tokens that are evaluated in one step, default 2048 on a GPU and 512 on
            the CPU; of an encoder, `n_ctx` at least.
        n_parallel: sequences that may be open at once, with `n_ctx` tokens each.
        cache_type_k, cache_type_v: types of the KV cache, "F32", "F16", "Q8_0" or "Q4_0"; default:
            F16 on a GPU, F32 on the CPU and for the vectors of latent attention, whose type is
            `cache_type_k`.
        fuse, use_graphs: turn the fusion of ops, and CUDA graphs, off to look for a fault.
        debug: wait after each kernel, so that an error names its op, kernel, shapes and grid; slow.
        progress: called as progress(what, done, total) while the model loads, and while a prompt
            takes several steps.

    Raises:
        GGUFError: the file is malformed. ModelError: it can't be run. DeviceError: not there.
    """

    def __init__(
        self,
        path: str | os.PathLike[str] | GGUFFile,
        device: str = "auto",
        *,
        n_ctx: int | None = None,
        n_batch: int | None = None,
        n_parallel: int = 1,
        cache_type_k: str | None = None,
        cache_type_v: str | None = None,
        fuse: bool = True,
        use_graphs: bool = True,
        debug: bool = False,
        progress: Progress | None = None,
    ) -> None:
        _check_at_least_one(n_ctx=n_ctx, n_batch=n_batch, n_parallel=n_parallel)
        wake(device)
        self.file = path if isinstance(path, GGUFFile) else open_gguf(path)
        with ExitStack() as where_it_fails:
            if self.file is not path:
                where_it_fails.callback(self.file.close)
            source = str(self.file.path)
            build = find_architecture(architecture_name(self.file.metadata, source), source)
            self.hparams = HParams.from_metadata(self.file.metadata, source)
            backend = open_backend(device, self.file, use_graphs, debug, progress)
            where_it_fails.callback(backend.close)
            n_batch = n_batch or backend.default_batch
            n_ctx = n_ctx or self.hparams.n_ctx_train
            if self._is_encoder:
                # What sees both ways needs all of a text at once.
                n_batch = max(n_batch, n_ctx)
            types = (cache_type_k, cache_type_v, backend.default_cache_type)
            cache = cache_shape(self.hparams, n_ctx, n_batch, *types, n_parallel)
            table = WeightTable.from_gguf(self.file)
            graphs = GraphSource(build, self.hparams, table, cache)
            self.engine = Engine(graphs, backend, n_batch, fuse, progress)
            # In a thread: there is time for it while weights arrive.
            pool = ThreadPoolExecutor(1, "gguf-run-tokenizer")
            self._tokenizer = pool.submit(Tokenizer.from_gguf, self.file)
            pool.shutdown(wait=False)
            self.engine.warm_up()
            where_it_fails.pop_all()
        self._drawers = Drawers(self.file.metadata, lambda: self.tokenizer, self.hparams.n_vocab)

    @property
    def metadata(self) -> Mapping[str, MetaValue]:
        """The file's metadata: key -> value."""
        return self.file.metadata

    @property
    def device(self) -> str:
        """The name of the device that the model runs on."""
        return self.engine.backend.name

    @property
    def n_ctx(self) -> int:
        """Tokens that a sequence may have."""
        return self.engine.n_ctx

    @property
    def tokenizer(self) -> Tokenizer:
        """The file's tokenizer; `ModelError` where that can't be."""
        return self._tokenizer.result()

    @cached_property
    def chat_template(self) -> ChatTemplate:
        """The file's chat template; where it has none, a built-in one that fits its vocabulary."""
        from gguf_run.chat import ChatTemplate

        return ChatTemplate.from_metadata(self.metadata, self.tokenizer)

    @cached_property
    def _chat_cache(self) -> PromptCache:
        return self.prompt_cache()

    @property
    def unused_tensors(self) -> list[str]:
        """Tensors of the file that this architecture makes no use of."""
        return self.engine.source.weights.unused

    def tokenize(
        self, text: str, add_special: bool = True, parse_special: bool = False
    ) -> list[int]:
        """Token ids of `text`.

        Args:
            add_special: with the tokens that the model wants around a text, such as BOS.
            parse_special: `text` may spell control tokens, such as "<|im_end|>".

        Raises `ModelError` where the file has no vocabulary, or one that can't be read.
        """
        return self.tokenizer.encode(text, add_special=add_special, parse_special=parse_special)

    def detokenize(self, ids: Sequence[int], special: bool = False) -> str:
        """The text of token ids; `special` spells control tokens out.

        Raises `ValueError` where an id is no token, `ModelError` as `tokenize`.
        """
        return self.tokenizer.decode(ids, special=special)

    def logits(self, ids: Sequence[int]) -> npt.NDArray[np.float32]:
        """Logits (n_tokens, n_vocab) float32 after each of `ids`, from an empty cache.

        Raises `ModelError` where there are no ids, or one is no token, the context is too small,
        or the model is one of embeddings.
        """
        self._check_writes_text()
        tokens = [index(token) for token in ids]
        _check_some(tokens)
        seq = self.engine.new_sequence()
        try:
            return self.engine.evaluate(seq, tokens, every_row=True)
        finally:
            seq.close()

    def embed(
        self,
        texts: str | Iterable[str | Sequence[int]],
        pooling: str | None = None,
        normalize: bool = True,
    ) -> npt.NDArray[np.float32]:
        """Embeddings of one text or several, float32 (n_texts, n_embd).

        Texts get the special tokens that the model wants around them, and run side by side as far
        as a step and the cache have room.

        Args:
            texts: each a text, or token ids as they are.
            pooling: which of a text's tokens make its vector: "mean" of all, "cls" for the first,
                "last"; "none" gives a row for each token (n_tokens, n_embd), those of all texts one
                after another. Default: what the file says (`<arch>.pooling_type`), else "mean".
            normalize: scale rows to length 1.

        Raises `ModelError` where a text has no tokens or more than the context.
        """
        from gguf_run.embedding import embed, pooling_of

        texts = [texts] if isinstance(texts, str) else texts
        ids = [
            self.tokenize(text, parse_special=True)
            if isinstance(text, str)
            else [index(token) for token in text]
            for text in texts
        ]
        return embed(self.engine, ids, pooling_of(self.hparams, pooling), normalize)

    def generate(
        self,
        prompt: str | Iterable[int],
        max_tokens: int | None = None,
        *,
        temperature: float | None = None,
        top_k: int | None = None,
        top_p: float | None = None,
        min_p: float | None = None,
        repeat_penalty: float | None = None,
        seed: int | None = None,
        stop: str | Sequence[str] | None = None,
        ignore_eos: bool = False,
        grammar: str | None = None,
        json_schema: Mapping[str, Any] | str | None = None,
        regex: str | None = None,
        logprobs: int = 0,
        cache: PromptCache | None = None,
        **sampling: Any,
    ) -> Generation:
        """Continue `prompt`: an iterator of `Chunk`s, one a token.

        Args:
            prompt: a text (special tokens are added, and read where they are spelt out), or ids.
            max_tokens: how many at most; default: until the model ends or the context is full.
            temperature: 0 or less is greedy. It and the following: default the file's
                (`general.sampling.*`), else llama.cpp's (see `SamplingParams`).
            seed: the same seed draws the same tokens as llama.cpp; default: a random one.
            stop: texts that end the generation and are not part of it.
            ignore_eos: never draw a token that ends the generation.
            grammar, json_schema, regex: what the text must be, one of them: what the `root` rule of
                a GBNF grammar stands for, JSON that is valid by a schema (data or JSON text), a
                match of a regular expression. A text that stops for its length may be cut short.
            logprobs: how many of the likeliest tokens each chunk tells, in `top_logprobs`.
            cache: what to go on from, of `prompt_cache`; it then holds this prompt and its text.
            sampling: any other field of `SamplingParams`.

        Raises `ModelError` where a parameter is out of range, a grammar is wrong (the place is
        named), or the prompt does not fit.
        """
        self._check_writes_text()
        if isinstance(prompt, str):
            text, ids = prompt, self.tokenize(prompt, parse_special=True)
        else:
            ids = [index(token) for token in prompt]
            text = "" if cache is None else self.detokenize(ids, special=True)
        self._check_prompt(ids)
        drawer = self._drawers.make(
            temperature=temperature,
            top_k=top_k,
            top_p=top_p,
            min_p=min_p,
            repeat_penalty=repeat_penalty,
            seed=seed,
            ignore_eos=ignore_eos,
            grammar=grammar,
            json_schema=json_schema,
            regex=regex,
            logprobs=logprobs,
            **sampling,
        )
        kept = None if cache is None else cache.open(text, ids)
        stops = check_stops(stop)
        return Generation(self.engine, self.tokenizer, drawer, ids, max_tokens, stops, kept=kept)

    def chat(
        self,
        messages: Sequence[Mapping[str, Any]],
        tools: Sequence[Mapping[str, Any]] | None = None,
        max_tokens: int | None = None,
        *,
        tool_choice: str | Mapping[str, Any] = "auto",
        parallel_tool_calls: bool = True,
        response_format: Mapping[str, Any] | None = None,
        reasoning_budget: int | None = None,
        stop: str | Sequence[str] | None = None,
        template: ChatTemplate | None = None,
        template_args: Mapping[str, Any] | None = None,
        cache: PromptCache | None = None,
        **options: Any,
    ) -> Answer:
        """Answer a chat: an iterator of `Chunk`s, one a token.

        What the messages have in common with those before is not computed again, as long as
        nothing else has needed the room; `Conversation` keeps messages as well.

        Args:
            messages: mappings with "role" and "content", as `ChatTemplate.render` takes them.
            tools: JSON schemas of functions that the model may call.
            max_tokens, stop: as in `generate`.
            tool_choice: as in OpenAI's API: "auto"; "required": the answer is a call; `{"type":
                "function", "function": {"name": ...}}`: of that one; "none": without the tools.
                Arguments follow their schema where a call is required or a function has `"strict":
                True`; else they are what the model writes.
            parallel_tool_calls: False: one call at most.
            response_format: what the answer must be, as in OpenAI's API: `{"type": "json_object"}`,
                or `{"type": "json_schema", "json_schema": {"schema": ...}}`. As `json_schema`,
                `grammar` and `regex` among the options, it binds the content, not the reasoning.
            reasoning_budget: so many tokens of reasoning at most, then its end is forced; default,
                or -1: as the model likes.
            template: default: `chat_template`.
            template_args: whatever else the template reads, such as `enable_thinking`.
            cache: what to go on from; default: one that all chats without their own share.
            options: any other option of `generate`: sampling, `seed`, `ignore_eos`, `json_schema`.

        Raises `ModelError` where the template refuses the messages, they do not fit the context, or
        an option is wrong.
        """
        from gguf_run.answer import Answer, response_options
        from gguf_run.structured import ToolChoice

        self._check_writes_text()
        template = template or self.chat_template
        cache = cache or self._chat_cache
        choice = ToolChoice.of(tools, tool_choice, parallel_tool_calls)
        tools = choice.shown
        text = template.render(messages, tools, **template_args or {})
        reply = choice.plan(template.reply_form(tools), text)
        ids = cache.encode(text)
        self._check_prompt(ids)
        generation = Generation(
            self.engine,
            self.tokenizer,
            self._drawers.make(
                reply=reply,
                reasoning_budget=reasoning_budget,
                **response_options(response_format),
                **options,
            ),
            ids,
            max_tokens,
            check_stops(stop),
            special=True,
            kept=cache.open(text, ids),
        )
        return Answer(generation, template.reply_parser(text, tools))

    def prompt_cache(self) -> PromptCache:
        """An empty cache for prompts that begin alike: of each, only what is new is computed.

        It lasts while nothing else needs the room, and in a file (`PromptCache.save`, `load`).
        """
        from gguf_run.prompt_cache import PromptCache

        return PromptCache(self.engine, self.tokenizer)

    @property
    def _is_encoder(self) -> bool:
        """Whether it sees a text both ways, and so can't go on from one."""
        return self.hparams.arch in ENCODERS or not self.hparams.causal

    def _check_writes_text(self) -> None:
        if self._is_encoder:
            raise ModelError(
                f"{self.file.path}: expected a model that writes text, found one of embeddings "
                f"({self.hparams.arch}); use Model.embed, or gguf-run embed MODEL TEXT"
            )

    def _check_prompt(self, ids: list[int]) -> None:
        _check_some(ids)
        if len(ids) >= self.n_ctx:
            raise ModelError(
                f"the prompt has {len(ids)} tokens and leaves no room in the context of "
                f"{self.n_ctx}; raise n_ctx (-c) or shorten it"
            )

    def close(self) -> None:
        """Free the device's memory and let go of the file."""
        self.engine.close()
        self.file.close()

    def __enter__(self) -> Model:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def _check_some(ids: list[int]) -> None:
    if not ids:
        raise ModelError("the prompt: expected at least one token, found none")


def _check_at_least_one(**options: int | None) -> None:
    for name, value in options.items():
        if value is not None and value < 1:
            raise ModelError(f"{name}: expected at least 1, found {value}")
