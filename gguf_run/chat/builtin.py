# ruff: noqa: RUF001 (marks of families that are written with full-width characters)
"""Chat templates by name, for files that bring none.

The names and the texts are those of llama.cpp's `--chat-template NAME`, and each is checked against
what llama.cpp makes of the same messages. As there, BOS is left to the tokenizer. Two things
differ: system messages in the middle of a conversation are never dropped (gigachat, hunyuan-dense,
hunyuan-vl), and one that goes in front of what the user says waits for that.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace

from gguf_run.chat.guards import names
from gguf_run.chat.turns import Turns


def _roles(form: str, generation: str) -> Turns:
    """Turns that differ by the name of their role alone, `@` in `form` and `generation`."""
    system, user, assistant = (form.replace("@", role) for role in ("system", "user", "assistant"))
    return Turns(system, user, assistant, generation.replace("@", "assistant"))


def _llama2(fold: str, content: str = "{content}", between: str = "") -> Turns:
    return Turns(
        user=f"{{between}}[INST] {content} [/INST]",
        assistant=f"{content}</s>",
        fold=fold,
        between=between,
    )


_SYS = "<<SYS>>\n{content}\n<</SYS>>\n\n"
_EXAONE = Turns(
    system="[|system|]{stripped}[|endofturn|]\n",
    user="[|user|]{stripped}\n",
    assistant="[|assistant|]{stripped}[|endofturn|]\n",
    generation="[|assistant|]",
)
_GRANITE = _roles(
    "<|start_of_role|>@<|end_of_role|>{content}<|end_of_text|>\n",
    "<|start_of_role|>@<|end_of_role|>",
)
_BAILING = Turns(
    system="<role>SYSTEM</role>{content}",
    user="<role>HUMAN</role>{content}",
    assistant="<role>ASSISTANT</role>{content}",
    generation="<role>ASSISTANT</role>",
)

BUILTIN: Mapping[str, Turns] = {
    "bailing": _BAILING,
    "bailing-think": replace(_BAILING, generation="<role>ASSISTANT</role><think>"),
    "bailing2": Turns(
        system="<role>SYSTEM</role>{content}<|role_end|>",
        user="<role>HUMAN</role>{content}<|role_end|>",
        assistant="<role>ASSISTANT</role>{content}<|role_end|>",
        generation="<role>ASSISTANT</role>",
        default_system="detailed thinking off",
    ),
    "chatglm3": replace(_roles("<|@|>\n {content}", "<|@|>"), start="[gMASK]sop"),
    "chatglm4": replace(_roles("<|@|>\n{content}", "<|@|>\n"), start="[gMASK]<sop>"),
    "chatml": _roles("<|im_start|>@\n{content}<|im_end|>\n", "<|im_start|>@\n"),
    "command-r": Turns(
        system="<|START_OF_TURN_TOKEN|><|SYSTEM_TOKEN|>{stripped}<|END_OF_TURN_TOKEN|>",
        user="<|START_OF_TURN_TOKEN|><|USER_TOKEN|>{stripped}<|END_OF_TURN_TOKEN|>",
        assistant="<|START_OF_TURN_TOKEN|><|CHATBOT_TOKEN|>{stripped}<|END_OF_TURN_TOKEN|>",
        generation="<|START_OF_TURN_TOKEN|><|CHATBOT_TOKEN|>",
    ),
    "deepseek": Turns(
        system="{content}",
        user="### Instruction:\n{content}\n",
        assistant="### Response:\n{content}\n<|EOT|>\n",
        generation="### Response:\n",
    ),
    "deepseek-ocr": Turns(system="{content}", user="{content}", assistant="{content}"),
    "deepseek2": Turns(
        system="{content}\n\n",
        user="User: {content}\n\n",
        assistant="Assistant: {content}<｜end▁of▁sentence｜>",
        generation="Assistant:",
    ),
    "deepseek3": Turns(
        system="{content}\n\n",
        user="<｜User｜>{content}",
        assistant="<｜Assistant｜>{content}<｜end▁of▁sentence｜>",
        generation="<｜Assistant｜>",
    ),
    "exaone-moe": _roles("<|@|>\n{stripped}<|endofturn|>\n", "<|@|>\n"),
    "exaone3": _EXAONE,
    "exaone4": _EXAONE,
    "falcon3": _roles("<|@|>\n{content}\n", "<|@|>\n"),
    "gemma": Turns(
        user="<start_of_turn>user\n{stripped}<end_of_turn>\n",
        assistant="<start_of_turn>model\n{stripped}<end_of_turn>\n",
        generation="<start_of_turn>model\n",
        fold="{stripped}\n\n",
    ),
    "gigachat": Turns(
        system="{content}<|message_sep|>",
        user="user<|role_sep|>{content}<|message_sep|>"
        "available functions<|role_sep|>[]<|message_sep|>",
        assistant="assistant<|role_sep|>{content}<|message_sep|>",
        generation="assistant<|role_sep|>",
        start="<s>",
    ),
    "glmedge": _roles("<|@|>\n{content}", "<|@|>"),
    "gpt-oss": replace(
        _roles("<|start|>@<|message|>{content}<|end|>", "<|start|>@"),
        assistant="<|start|>assistant<|message|>{content}<|return|>",
    ),
    "granite": _GRANITE,
    "granite-4.0": _GRANITE,
    "granite-4.1": _GRANITE,
    "grok-2": Turns(
        system="System: {stripped}<|separator|>\n\n",
        user="Human: {stripped}<|separator|>\n\n",
        assistant="Assistant: {content}<|separator|>\n\n",
        generation="Assistant:",
    ),
    "hunyuan-dense": Turns(
        system="{content}<｜hy_place▁holder▁no▁3｜>",
        user="<｜hy_User｜>{content}<｜hy_Assistant｜>",
        assistant="<｜hy_Assistant｜>{content}<｜hy_place▁holder▁no▁2｜>",
    ),
    "hunyuan-moe": Turns(
        system="<|startoftext|>{content}<|extra_4|>",
        user="<|startoftext|>{content}<|extra_0|>",
        assistant="{content}<|eos|>",
    ),
    "hunyuan-vl": Turns(
        system="{content}<｜hy_place▁holder▁no▁3｜>",
        user="{content}<｜hy_User｜>",
        assistant="{content}<｜hy_Assistant｜>",
        start="<｜hy_begin▁of▁sentence｜>",
    ),
    "kimi-k2": _roles("<|im_@|>@<|im_middle|>{content}<|im_end|>", "<|im_@|>@<|im_middle|>"),
    "llama2": _llama2("{content}\n"),
    "llama2-sys": _llama2(_SYS),
    "llama2-sys-bos": _llama2(_SYS, between="<s>"),
    "llama2-sys-strip": _llama2(_SYS.replace("content", "stripped"), "{stripped}"),
    "llama3": _roles(
        "<|start_header_id|>@<|end_header_id|>\n\n{stripped}<|eot_id|>",
        "<|start_header_id|>@<|end_header_id|>\n\n",
    ),
    "llama4": _roles(
        "<|header_start|>@<|header_end|>\n\n{stripped}<|eot|>",
        "<|header_start|>@<|header_end|>\n\n",
    ),
    "megrez": _roles(
        "<|role_start|>@<|role_end|>{content}<|turn_end|>", "<|role_start|>@<|role_end|>"
    ),
    "minicpm": Turns(system="{stripped}", user="<用户>{stripped}<AI>", assistant="{stripped}"),
    "mistral-v1": Turns(
        user=" [INST] {content} [/INST]", assistant=" {content}</s>", fold="{content}\n\n"
    ),
    "mistral-v3": Turns(
        user="[INST] {content}[/INST]", assistant=" {stripped}</s>", fold="{content}\n\n"
    ),
    "mistral-v3-tekken": Turns(
        user="[INST]{content}[/INST]", assistant="{content}</s>", fold="{content}\n\n"
    ),
    "mistral-v7": Turns(
        system="[SYSTEM_PROMPT] {content}[/SYSTEM_PROMPT]",
        user="[INST] {content}[/INST]",
        assistant=" {content}</s>",
    ),
    "mistral-v7-tekken": Turns(
        system="[SYSTEM_PROMPT]{content}[/SYSTEM_PROMPT]",
        user="[INST]{content}[/INST]",
        assistant="{content}</s>",
    ),
    "monarch": replace(_roles("{between}@\n{content}</s>\n", "{between}@\n"), between="<s>"),
    "openchat": Turns(
        system="{content}<|end_of_turn|>",
        user="GPT4 Correct User: {content}<|end_of_turn|>",
        assistant="GPT4 Correct Assistant: {content}<|end_of_turn|>",
        generation="GPT4 Correct Assistant:",
    ),
    "orion": Turns(
        user="Human: {content}\n\nAssistant: </s>",
        assistant="{content}</s>",
        fold="{content}\n\n",
    ),
    "pangu-embedded": Turns(
        system="[unused9]系统：{content}[unused10]",
        user="[unused9]用户：{content}[unused10]",
        assistant="[unused9]助手：{content}[unused10]",
        generation="[unused9]助手：",
        default_system="",
    ),
    "phi3": _roles("<|@|>\n{content}<|end|>\n", "<|@|>\n"),
    "phi4": _roles("<|im_start|>@<|im_sep|>{content}<|im_end|>", "<|im_start|>@<|im_sep|>"),
    "rwkv-world": Turns(
        system="System: {stripped}\n\n",
        user="User: {stripped}\n\nAssistant:",
        assistant=" {stripped}\n\n",
    ),
    "seed_oss": replace(
        _roles("<seed:bos>@\n{content}<seed:eos>", "<seed:bos>@\n"),
        assistant="<seed:bos>assistant\n{stripped}<seed:eos>",
    ),
    "smolvlm": Turns(
        system="{content}\n\n",
        user="User: {content}<end_of_utterance>\n",
        assistant="Assistant: {content}<end_of_utterance>\n",
        generation="Assistant:",
        start="<|im_start|>",
    ),
    "solar-open": _roles("<|begin|>@<|content|>{content}<|end|>", "<|begin|>@"),
    "vicuna": Turns(
        system="{content}\n\n",
        user="USER: {content}\n",
        assistant="ASSISTANT: {content}</s>\n",
        generation="ASSISTANT:",
    ),
    "vicuna-orca": Turns(
        system="SYSTEM: {content}\n",
        user="USER: {content}\n",
        assistant="ASSISTANT: {content}</s>\n",
        generation="ASSISTANT:",
    ),
    "yandex": Turns(
        user=" Пользователь: {content}\n\n",
        assistant=" Ассистент: {content}\n\n",
        generation=" Ассистент:[SEP]",
    ),
    "zephyr": _roles("<|@|>\n{content}<|endoftext|>\n", "<|@|>\n"),
}
"""Name -> how turns are written."""

_SIGNS: tuple[tuple[frozenset[str], str], ...] = (
    (names("<|start|> <|channel|> <|message|>"), "gpt-oss"),
    (names("<|header_start|>"), "llama4"),
    (names("<|start_header_id|>"), "llama3"),
    (names("<|im_start|> <|im_sep|>"), "phi4"),
    (names("<|im_start|> <end_of_utterance>"), "smolvlm"),
    (names("<|im_middle|>"), "kimi-k2"),
    (names("<|im_start|>"), "chatml"),
    (names("<start_of_turn>"), "gemma"),
    (names("<|START_OF_TURN_TOKEN|>"), "command-r"),
    (names("<|start_of_role|>"), "granite"),
    (names("<｜User｜>"), "deepseek3"),
    (names("<｜hy_User｜>"), "hunyuan-dense"),
    (names("[SYSTEM_PROMPT]"), "mistral-v7-tekken"),
    (names("[INST] Ġthe"), "mistral-v3-tekken"),
    (names("[INST]"), "mistral-v3"),
    (names("<|end|> <|user|> <|assistant|>"), "phi3"),
    (names("[gMASK] <sop> <|user|>"), "chatglm4"),
    (names("[|endofturn|]"), "exaone3"),
    (names("<|role_start|>"), "megrez"),
    (names("<seed:bos>"), "seed_oss"),
    (names("<|end_of_turn|>"), "openchat"),
)


def detect(tokens: Collection[str]) -> str:
    """The name of the template whose marks are tokens of this vocabulary; "chatml" if none is."""
    known = tokens if isinstance(tokens, (set, frozenset, dict)) else frozenset(tokens)
    return next((name for signs, name in _SIGNS if all(s in known for s in signs)), "chatml")


def builtin_source(name: str) -> str:
    """The Jinja text of a built-in template."""
    return BUILTIN[name].jinja()
