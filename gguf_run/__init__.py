"""gguf-run: run llama.cpp's GGUF model files from Python.

from gguf_run import Model

with Model("model.gguf") as model:
    for chunk in model.generate("Once upon a time", max_tokens=40):
        print(chunk.text, end="", flush=True)
"""

from typing import TYPE_CHECKING

from gguf_run.lazy import lazily

if TYPE_CHECKING:
    from gguf_run.answer import Answer
    from gguf_run.chat import ChatTemplate, Reply, ToolCall
    from gguf_run.conversation import Conversation
    from gguf_run.errors import DeviceError, GGUFError, GGUFRunError, ModelError
    from gguf_run.generation import Chunk, Generation, Timings
    from gguf_run.loader import GGUFFile, TensorInfo, open_gguf
    from gguf_run.model import Model
    from gguf_run.prompt_cache import PromptCache
    from gguf_run.sampling import SamplingParams
    from gguf_run.tokenizer import StreamingDetokenizer, Tokenizer

__version__ = "0.1.0"

__all__ = [
    "Answer",
    "ChatTemplate",
    "Chunk",
    "Conversation",
    "DeviceError",
    "GGUFError",
    "GGUFFile",
    "GGUFRunError",
    "Generation",
    "Model",
    "ModelError",
    "PromptCache",
    "Reply",
    "SamplingParams",
    "StreamingDetokenizer",
    "TensorInfo",
    "Timings",
    "Tokenizer",
    "ToolCall",
    "__version__",
    "open_gguf",
]

__getattr__ = lazily(
    __name__,
    {
        "answer": ("Answer",),
        "chat": ("ChatTemplate", "Reply", "ToolCall"),
        "conversation": ("Conversation",),
        "errors": ("DeviceError", "GGUFError", "GGUFRunError", "ModelError"),
        "generation": ("Chunk", "Generation", "Timings"),
        "loader": ("GGUFFile", "TensorInfo", "open_gguf"),
        "model": ("Model",),
        "prompt_cache": ("PromptCache",),
        "sampling": ("SamplingParams",),
        "tokenizer": ("StreamingDetokenizer", "Tokenizer"),
    },
)


def __dir__() -> list[str]:
    return __all__
