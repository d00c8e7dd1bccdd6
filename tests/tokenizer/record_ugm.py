# ruff: noqa: RUF001
"""Record llama.cpp's tokens of a unigram vocabulary: `python tests/tokenizer/record_ugm.py`.

It trains the vocabulary `ugm.gguf`, as XLM-RoBERTa's are laid out, with a few rules that normalise,
and writes `ugm_cases.json` (needs the extra `parity`). Commit both.
"""

from __future__ import annotations

import ctypes
import io
import json
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory

import gguf
import llama_cpp
import numpy as np
import sentencepiece

HERE = Path(__file__).parent
RULES = {
    "\t": " ", "\n": " ", "\u00a0": " ", "\u3000": " ", "\u200b": "", "\u00ad": "",
    "e\u0301": "é", "a\u0308": "ä", "ﬁ": "fi", "ﬂ": "fl", "①": "1", "Ⅷ": "VIII", "㎏": "kg",
    "Ａ": "A", "Ｂ": "B", "ａ": "a", "ｂ": "b", "…": "...", "½": "1/2", "㍿": "株式会社",
}  # fmt: skip
SENTENCES = [
    *("the cat sat on the mat and the dog ran away", "she sells sea shells by the sea shore"),
    *("über allen Gipfeln ist Ruh, in allen Wipfeln spürest du", "été à la plage, où êtes-vous"),
    *("1 kg of flour, 1/2 l of milk, 3 eggs", "株式会社 東京 日本 の 会社", "VIII + IV = XII..."),
    *("Привет, как дела? Хорошо, спасибо.", "finding fluffy flowers", "AB ab Aa Bb"),
] * 3
TEXTS = (
    *(
        "",
        " ",
        "   ",
        "a",
        " a",
        "a ",
        "  a  b  ",
        "the cat sat",
        "The Cat",
        "tHe\tcat\nsat\u00a0on",
    ),
    *(
        "\u3000the\u200bcat",
        "e\u0301te\u0301",
        "ﬁnding ﬂowers",
        "① kg ½ ㎏",
        "ＡＢ ａｂ Ⅷ…",
        "㍿ 東京",
    ),
    *(
        "Привет, мир",
        "🙂",
        "a🙂🙂b",
        "x🙂 y🙂",
        "▁",
        "a▁b",
        "über  über",
        "\u00ad",
        "\u200b\u200b a",
    ),
    *("</s>the cat", "the <mask> cat", "<s>", "the\0cat", "zzzzqqqq", "…" * 5, "1/2½1/2", "\r\n a"),
    *("sea shells " * 12, "аб" * 40, "é" + "\u0301" * 3, "A\u0308a\u0308"),
)


def train() -> bytes:
    """A serialised SentencePiece model."""
    out = io.BytesIO()
    with TemporaryDirectory() as folder:
        rules = Path(folder) / "rules.tsv"
        rows = (
            " ".join(f"{ord(c):X}" for c in k) + "\t" + " ".join(f"{ord(c):X}" for c in v)
            for k, v in RULES.items()
        )
        rules.write_text("\n".join(rows) + "\n")
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(SENTENCES),
            model_writer=out,
            model_type="unigram",
            vocab_size=220,
            hard_vocab_limit=False,
            normalization_rule_tsv=str(rules),
            num_threads=1,
            minloglevel=2,
        )
    return out.getvalue()


def fields(proto: bytes) -> list[tuple[int, bytes]]:
    """The length-delimited fields of a message by number; others are passed over."""
    found, at = [], 0

    def varint() -> int:
        nonlocal at
        value = shift = 0
        while True:
            byte = proto[at]
            at, value, shift = at + 1, value | (byte & 127) << shift, shift + 7
            if byte < 128:
                return value

    while at < len(proto):
        tag = varint()
        size = {0: 0, 1: 8, 5: 4}.get(tag & 7)
        if size == 0:
            varint()
            continue
        size = varint() if size is None else size
        if tag & 7 == 2:
            found.append((tag >> 3, proto[at : at + size]))
        at += size
    return found


def write_vocab(path: Path, model: bytes) -> None:
    processor = sentencepiece.SentencePieceProcessor(model_proto=model)
    rules = next(content for number, content in fields(model) if number == 3)
    charsmap = next(content for number, content in fields(rules) if number == 2)
    kind = gguf.TokenType
    tokens = ["<s>", "<pad>", "</s>", "<unk>"]
    types = [kind.CONTROL, kind.CONTROL, kind.CONTROL, kind.UNKNOWN]
    scores = [0.0] * 4
    for i in range(processor.get_piece_size()):
        if not (processor.is_control(i) or processor.is_unknown(i)):
            tokens.append(processor.id_to_piece(i))
            types.append(kind.NORMAL)
            scores.append(processor.get_score(i))
    tokens.append("<mask>")
    types.append(kind.USER_DEFINED)
    scores.append(-10000.0)
    writer = gguf.GGUFWriter(path, "bert")
    writer.add_context_length(512)
    writer.add_embedding_length(64)
    writer.add_block_count(2)
    writer.add_feed_forward_length(96)
    writer.add_head_count(4)
    writer.add_layer_norm_eps(1e-5)
    writer.add_causal_attention(False)
    writer.add_tokenizer_model("t5")
    writer.add_tokenizer_pre("default")
    writer.add_token_list(tokens)
    writer.add_token_scores(scores)
    writer.add_token_types([int(t) for t in types])
    writer.add_add_space_prefix(True)
    writer.add_remove_extra_whitespaces(True)
    writer.add_precompiled_charsmap(charsmap)
    writer.add_token_type_count(1)
    for role, token in (("bos", 0), ("eos", 2), ("unk", 3), ("sep", 2), ("pad", 1)):
        getattr(writer, f"add_{role}_token_id")(token)
    writer.add_mask_token_id(len(tokens) - 1)
    writer.add_add_bos_token(True)
    writer.add_add_eos_token(True)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.close()


def texts() -> list[str]:
    """The texts above, and random ones."""
    rng = np.random.default_rng(5)
    signs = [*"abcdefghijklmnopqrstuvwxyz   ", *RULES, *"äéüßŷ東京日本ПриветX5.,🙂▁"]
    lengths = rng.integers(1, 40, 120)
    cuts = np.cumsum([0, *lengths])
    drawn = rng.choice(signs, cuts[-1])
    return [*TEXTS, *("".join(drawn[i:j]) for i, j in pairwise(cuts))]


@llama_cpp.llama_log_callback
def _silent(_level: int, _text: bytes, _user_data: ctypes.c_void_p) -> None: ...


def record(path: Path) -> list[dict[str, object]]:
    llama_cpp.llama_log_set(_silent, ctypes.c_void_p(0))
    options = llama_cpp.llama_model_default_params()
    options.vocab_only = True
    model = llama_cpp.llama_model_load_from_file(str(path).encode(), options)
    if not model:
        raise SystemExit("llama.cpp does not take the vocabulary")
    vocab = llama_cpp.llama_model_get_vocab(model)
    cases = []
    for text in texts():
        data, room = text.encode(), 4 * len(text.encode()) + 8
        buffer = (llama_cpp.llama_token * room)()
        n = llama_cpp.llama_tokenize(vocab, data, len(data), buffer, room, True, True)
        cases.append({"text": text, "ids": list(buffer[:n])})
    return cases


if __name__ == "__main__":
    write_vocab(HERE / "ugm.gguf", train())
    rows = ",\n".join(json.dumps(case) for case in record(HERE / "ugm.gguf"))
    (HERE / "ugm_cases.json").write_text(f"[\n{rows}\n]\n", encoding="utf-8")
