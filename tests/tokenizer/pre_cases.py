"""Texts on which pre-tokenizers differ, and a vocabulary that shows where words end.

Every pair of the bytes in these texts is a merge, so a word boundary that moves by one byte pairs
other bytes. `python tests/tokenizer/pre_cases.py` records llama.cpp's ids (extra `parity`) beside
this file.
"""

from __future__ import annotations

import ctypes
import itertools
import json
import tempfile
from pathlib import Path
from typing import Any

from vocabularies import ALPHABET, bpe, write_gguf

from gguf_run.tokenizer.pretokenizers import PRE_TOKENIZERS

RECORDED = Path(__file__).with_name("pre_cases.json")

TEXTS = (
    "Hello world, it's I'LL we'Ve don't 'x ''s",
    "camelCase HTTPServer iPhone ABC abcDEF xY",
    "1 12 123 1234 12345 123456 1234567x89 a1b22c333",
    "\u0661\u0662\u0663\u06641234\u0665 x\u00b2 \u2167\u00bd7",
    "  two   three    four\t\ttab \t mix\n\n\nnl \n x\r\n\r\ny \r z  ",
    "a\u00a0b \u2003c\u3000\u3000d\u2028e\u0085f\u200bg",
    "(a+b)*c-d/e=f; x->y <= z ~| `q` $5 ^ # @ !?... \n///\n",
    "\u65e5\u672c\u8a9e\u30c6\u30ad\u30b9\u30c8\u3001\u3072\u3089 \u4e2d\u6587\u3002abc\u4e2d1",
    "\ud55c\uad6d\uc5b4 \u3131\u3105 \u0e20\u0e32\u0e29\u0e32 \u0928\u092e\u0938\u094d\u0924\u0947",
    "e\u0301a\u0300\u0301 \u0308x \u0301",
    "\u00c9cole STRASSE\u00df \u0130\u01c5\u02b0\u00aa \u041f\u0440\u0418",
    "\U0001f600\U0001f916\U0001f468\u200d\U0001f469 \u2764\ufe0f!!\U0001f1e9\U0001f1ea",
    "<sentinel:12>IMGIMGABZ\x00\x07\x7f\ufeff\u0897\U0001fae9\ue000\ufffd",
    "\u201cq\u201d \u2018s\u2019 \uff01\uff1a \u2026 \u0964\u060c .,!? |(x)",
)


def vocabulary(pre: str) -> dict[str, Any]:
    """GPT-2's alphabet and all pairs of the bytes in TEXTS, ranked crosswise."""
    used = sorted({ALPHABET[byte] for byte in "".join(TEXTS).encode()})
    pairs = list(itertools.product(used, used))
    ranked = [pairs[i * 7919 % len(pairs)] for i in range(len(pairs))]
    assert len(set(ranked)) == len(pairs)
    return bpe((f"{a} {b}" for a, b in ranked), pre=pre, bos_token_id=0, eos_token_id=1)


def families() -> dict[str, str]:
    """One name of each pre-tokenizer whose words llama.cpp can make of any text."""
    by_cuts = {id(family): name for name, family in PRE_TOKENIZERS.items()}
    return {name: name for name in sorted(by_cuts.values()) if name != "whitespace"}


def record() -> None:
    """Write llama.cpp's ids of all TEXTS by all pre-tokenizers to RECORDED."""
    import llama_cpp

    silent = llama_cpp.llama_log_callback(lambda *_: None)
    llama_cpp.llama_log_set(silent, ctypes.c_void_p(0))
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        for name in families():
            path = Path(folder) / f"{name}.gguf"
            write_gguf(vocabulary(name), path)
            found[name] = _ids(llama_cpp, path)
    RECORDED.write_text(
        "{\n" + ",\n".join(f"{json.dumps(k)}: {json.dumps(v)}" for k, v in found.items()) + "\n}\n"
    )


def _ids(llama_cpp: Any, path: Path) -> list[list[int]]:
    params = llama_cpp.llama_model_default_params()
    params.vocab_only = True
    model = llama_cpp.llama_model_load_from_file(str(path).encode(), params)
    vocab = llama_cpp.llama_model_get_vocab(model)
    room = (llama_cpp.llama_token * 4096)()
    ids = []
    for text in TEXTS:
        data = text.encode()
        n = llama_cpp.llama_tokenize(vocab, data, len(data), room, len(room), False, False)
        ids.append(room[:n])
    llama_cpp.llama_model_free(model)
    return ids


if __name__ == "__main__":
    record()
