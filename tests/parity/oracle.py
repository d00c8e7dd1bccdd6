"""llama.cpp on the CPU in f32, through llama-cpp-python (extra `parity`): what we compare with.

Activations stay in f32 only where the weights are f32, so quantised files are given to it decoded
(`decoded_twin`): what it then computes is the exact product that our own kernels aim at.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType

import gguf
import llama_cpp
import numpy as np
import numpy.typing as npt

FLASH_ATTENTION_OFF = 0


class OracleError(Exception):
    """llama.cpp refused the file or the batch; the text is what it logged."""


_log: list[str] = []


@llama_cpp.llama_log_callback
def _collect_log(_level: int, text: bytes, _user_data: ctypes.c_void_p) -> None:
    _log.append(text.decode(errors="replace"))


class Oracle:
    """One model file open in llama.cpp, every pass from an empty cache; a context manager.

    With `pooling`, by llama.cpp's number, it gives embeddings.
    """

    def __init__(self, path: Path, n_ctx: int, pooling: int | None = None) -> None:
        _log.clear()
        llama_cpp.llama_log_set(_collect_log, ctypes.c_void_p(0))
        llama_cpp.llama_backend_init()
        options = llama_cpp.llama_model_default_params()
        options.n_gpu_layers = 0
        model = llama_cpp.llama_model_load_from_file(str(path).encode(), options)
        if not model:
            raise OracleError("".join(_log))
        self._model = model
        settings = llama_cpp.llama_context_default_params()
        settings.n_ctx = settings.n_batch = settings.n_ubatch = n_ctx
        settings.n_threads = settings.n_threads_batch = 1
        settings.flash_attn_type = FLASH_ATTENTION_OFF
        settings.type_k = settings.type_v = int(gguf.GGMLQuantizationType.F32)
        if pooling is not None:
            settings.embeddings = True
            settings.pooling_type = pooling
        self._pooled = bool(pooling)
        context = llama_cpp.llama_init_from_model(model, settings)
        if not context:
            llama_cpp.llama_model_free(model)
            raise OracleError("".join(_log))
        self._context = context
        self.log = "".join(_log)
        self.vocab = llama_cpp.llama_model_get_vocab(model)
        self.n_vocab = llama_cpp.llama_vocab_n_tokens(self.vocab)
        self.n_embd = llama_cpp.llama_model_n_embd(model)

    def __enter__(self) -> Oracle:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        llama_cpp.llama_free(self._context)
        llama_cpp.llama_model_free(self._model)

    def logits(self, tokens: Sequence[int]) -> npt.NDArray[np.float32]:
        """Logits (n_tokens, n_vocab) of all positions, computed in one batch."""
        self._clear()
        self._decode(tokens, 0)
        rows = [llama_cpp.llama_get_logits_ith(self._context, i) for i in range(len(tokens))]
        return np.stack([np.ctypeslib.as_array(row, (self.n_vocab,)) for row in rows])

    def embedding(self, tokens: Sequence[int]) -> npt.NDArray[np.float32]:
        """The embedding of a text (1, n_embd), or without pooling of its tokens (n_tok, n_embd)."""
        self._clear()
        self._decode(tokens, 0)
        if self._pooled:
            rows = [llama_cpp.llama_get_embeddings_seq(self._context, 0)]
        else:
            rows = [
                llama_cpp.llama_get_embeddings_ith(self._context, i) for i in range(len(tokens))
            ]
        return np.stack([np.ctypeslib.as_array(row, (self.n_embd,)) for row in rows])

    def greedy(self, prompt: Sequence[int], n: int) -> tuple[list[int], float]:
        """The likeliest tokens after `prompt`, `n` or up to an end-of-generation token, and their
        least lead over the second likeliest."""
        margins: list[float] = []

        def choose() -> int:
            row = self._last_logits()
            second, first = np.partition(row, -2)[-2:]
            margins.append(float(first - second))
            return int(row.argmax())

        return self._generate(prompt, n, choose), min(margins)

    def sample(self, prompt: Sequence[int], n: int, chain: Sequence[object]) -> list[int]:
        """Tokens drawn by llama.cpp's samplers in order, `n` or up to an end-of-generation one.

        The samplers see the prompt first. They become the chain's, which frees them.
        """
        params = llama_cpp.llama_sampler_chain_default_params()
        sampler = llama_cpp.llama_sampler_chain_init(params)
        for part in chain:
            llama_cpp.llama_sampler_chain_add(sampler, part)
        for token in prompt:
            llama_cpp.llama_sampler_accept(sampler, token)
        try:
            return self._generate(
                prompt, n, lambda: llama_cpp.llama_sampler_sample(sampler, self._context, -1)
            )
        finally:
            llama_cpp.llama_sampler_free(sampler)

    def tokenize(self, text: str) -> list[int]:
        """Tokens of `text`, begin-of-text included where the file asks for it."""
        data, room = text.encode(), len(text.encode()) + 8
        buffer = (llama_cpp.llama_token * room)()
        n = llama_cpp.llama_tokenize(self.vocab, data, len(data), buffer, room, True, False)
        return list(buffer[:n])

    def text(self, tokens: Sequence[int]) -> str:
        """The pieces of `tokens` put together, a leading space kept, special tokens left out."""
        buffer, pieces = ctypes.create_string_buffer(64), []
        for token in tokens:
            n = llama_cpp.llama_token_to_piece(self.vocab, token, buffer, len(buffer), 0, False)
            pieces.append(buffer.raw[:n])
        return b"".join(pieces).decode(errors="replace")

    def _generate(self, prompt: Sequence[int], n: int, choose: Callable[[], int]) -> list[int]:
        self._clear()
        self._decode(prompt, 0)
        chosen: list[int] = []
        for position in range(len(prompt), len(prompt) + n):
            token = choose()
            chosen.append(token)
            if llama_cpp.llama_vocab_is_eog(self.vocab, token):
                break
            self._decode([token], position)
        return chosen

    def _clear(self) -> None:
        llama_cpp.llama_memory_clear(llama_cpp.llama_get_memory(self._context), True)

    def _last_logits(self) -> npt.NDArray[np.float32]:
        pointer = llama_cpp.llama_get_logits_ith(self._context, -1)
        return np.ctypeslib.as_array(pointer, (self.n_vocab,)).copy()

    def _decode(self, tokens: Sequence[int], start: int) -> None:
        batch = llama_cpp.llama_batch_init(len(tokens), 0, 1)
        batch.n_tokens = len(tokens)
        for i, token in enumerate(tokens):
            batch.token[i], batch.pos[i] = token, start + i
            batch.n_seq_id[i], batch.seq_id[i][0], batch.logits[i] = 1, 0, True
        status = llama_cpp.llama_decode(self._context, batch)
        llama_cpp.llama_batch_free(batch)
        if status:
            raise OracleError(f"llama_decode: {status}: {''.join(_log)}")


def decoded_twin(source: Path, target: Path) -> None:
    """Write the model `source` to `target` with every tensor decoded to f32."""
    reader = gguf.GGUFReader(source)
    architecture = reader.fields["general.architecture"].contents()
    writer = gguf.GGUFWriter(target, architecture)
    for field in reader.fields.values():
        if field.name.startswith("GGUF.") or field.name == "general.architecture":
            continue
        element = field.types[-1] if len(field.types) > 1 else None
        writer.add_key_value(field.name, field.contents(), field.types[0], sub_type=element)
    for tensor in reader.tensors:
        shape = tuple(int(n) for n in reversed(tensor.shape))
        values = gguf.quants.dequantize(tensor.data, tensor.tensor_type).reshape(shape)
        writer.add_tensor(tensor.name, values.astype(np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
