"""A tiny random model that chats: `tiny-llama` with ChatML's control tokens and template."""

from __future__ import annotations

from pathlib import Path

import gguf
import make_gguf
import tiny_data
from model_maker import Maker

TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message.role }}\n"
    "{% if message.reasoning_content %}<think>{{ message.reasoning_content }}</think>{% endif %}"
    "{{ message.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n"
    "{% if enable_thinking is defined and not enable_thinking %}<think>\n\n</think>\n{% endif %}"
    "{% endif %}"
)
CONTROL = ("<|im_start|>", "<|im_end|>")


class _ChatMaker(Maker):
    def _write_vocabulary(self) -> None:
        tokens, types, scores = tiny_data.vocabulary()
        writer = self._writer
        writer.add_tokenizer_model("llama")
        writer.add_tokenizer_pre("default")
        writer.add_token_list([*tokens, *CONTROL])
        writer.add_token_scores([*scores, 0.0, 0.0])
        writer.add_token_types([*types, *[int(gguf.TokenType.CONTROL)] * len(CONTROL)])
        writer.add_unk_token_id(0)
        writer.add_bos_token_id(1)
        writer.add_eos_token_id(len(tokens) + 1)
        writer.add_chat_template(TEMPLATE)
        self.n_vocab = len(tokens) + len(CONTROL)


def write_chat_model(path: Path, name: str = "llama") -> None:
    """Write the variant `name` with a chat template; it answers with noise."""
    variant = make_gguf.VARIANTS[name]
    maker = _ChatMaker(name, path, variant)
    variant.build(maker)
    maker.close()
