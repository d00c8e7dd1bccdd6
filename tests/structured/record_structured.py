"""Record what llama.cpp allows and writes under grammars; needs the extra `parity`:

    python tests/structured/record_structured.py

A walk is a random text of a grammar with a digest of what may come at
each step; a run is a text that llama.cpp's programs write: they draw freely, test the token by the
grammar, and where it fails draw again among what the grammar allows.
"""

from __future__ import annotations

import ctypes
import json
import random
import sys
from pathlib import Path
from typing import Any

import llama_cpp
import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "parity"))

from grammars import DATA, DEMO_MODEL, GRAMMARS, N_TOKENS, OPTIONS, PROMPT, Mask, digest, walked
from oracle import Oracle
from record import exact
from samplers import sampler_chain

from gguf_run.tokenizer import Tokenizer

N_WALKS = 2
N_STEPS = 25
N_CTX = 512

_CANDIDATE = np.dtype([("id", "i4"), ("logit", "f4"), ("p", "f4")])


class Candidates:
    """llama.cpp's array of candidates over the whole vocabulary, or over one token."""

    def __init__(self, ids: Any, logits: Any) -> None:
        self._items = np.zeros(len(ids), _CANDIDATE)
        self._items["id"], self._items["logit"] = ids, logits
        data = self._items.ctypes.data_as(ctypes.POINTER(llama_cpp.llama_token_data))
        self._array = llama_cpp.llama_token_data_array(
            data=data, size=len(ids), selected=-1, sorted=False
        )

    def apply(self, sampler: Any) -> Candidates:
        llama_cpp.llama_sampler_apply(sampler, ctypes.byref(self._array))
        return self

    @property
    def logits(self) -> Any:
        return self._items["logit"]

    @property
    def chosen(self) -> int:
        return int(self._items["id"][self._array.selected])


def grammar_sampler(oracle: Oracle, grammar: str) -> Any:
    sampler = llama_cpp.llama_sampler_init_grammar(oracle.vocab, grammar.encode(), b"root")
    if not sampler:
        raise SystemExit(f"llama.cpp refuses the grammar {grammar}")
    return sampler


def walk(oracle: Oracle, grammar: str, compared: Mask, seed: int) -> dict[str, Any]:
    """A random text, and at each step whether it may end and a digest of what may follow."""
    rng = random.Random(seed)
    sampler = grammar_sampler(oracle, grammar)
    ids = np.arange(oracle.n_vocab)
    eog = np.array([llama_cpp.llama_vocab_is_eog(oracle.vocab, int(i)) for i in ids])
    tokens: list[int] = []
    ends, digests = [], []
    for _ in range(N_STEPS):
        allowed = Candidates(ids, np.zeros(len(ids))).apply(sampler).logits == 0
        ends.append(int(allowed[eog].any()))
        digests.append(digest(allowed & compared & ~eog))
        options = np.flatnonzero(allowed & compared & ~eog).tolist()
        if not options:
            break
        tokens.append(rng.choice(options))
        llama_cpp.llama_sampler_accept(sampler, tokens[-1])
    llama_cpp.llama_sampler_free(sampler)
    return {"tokens": tokens, "ends": ends, "digests": digests}


def run(oracle: Oracle, grammar: str, options: dict[str, Any]) -> list[int]:
    """The tokens that llama.cpp's programs draw, up to one that ends the generation."""
    chain = llama_cpp.llama_sampler_chain_init(llama_cpp.llama_sampler_chain_default_params())
    for part in sampler_chain(oracle, options):
        llama_cpp.llama_sampler_chain_add(chain, part)
    sampler = grammar_sampler(oracle, grammar)
    prompt = oracle.tokenize(PROMPT)
    for token in prompt:
        llama_cpp.llama_sampler_accept(chain, token)
    ids = np.arange(oracle.n_vocab)

    def choose() -> int:
        logits = oracle._last_logits()
        token = Candidates(ids, logits).apply(chain).chosen
        if np.isneginf(Candidates([token], [1.0]).apply(sampler).logits[0]):
            token = Candidates(ids, logits).apply(sampler).apply(chain).chosen
        llama_cpp.llama_sampler_accept(sampler, token)
        llama_cpp.llama_sampler_accept(chain, token)
        return token

    tokens = oracle._generate(prompt, N_TOKENS, choose)
    llama_cpp.llama_sampler_free(chain)
    llama_cpp.llama_sampler_free(sampler)
    ended = llama_cpp.llama_vocab_is_eog(oracle.vocab, tokens[-1])
    return tokens[:-1] if ended else tokens


def main() -> None:
    tokenizer = Tokenizer.from_gguf(DEMO_MODEL)
    compared = walked([tokenizer.token_bytes(i, special=False) for i in range(tokenizer.n_vocab)])
    rows = []
    with exact(DEMO_MODEL, N_CTX) as oracle:
        for name, grammar in GRAMMARS.items():
            walks = [walk(oracle, grammar, compared, seed) for seed in range(N_WALKS)]
            runs = [
                {"options": options, "tokens": run(oracle, grammar, options)} for options in OPTIONS
            ]
            rows.append({"grammar": name, "walks": walks, "runs": runs})
            print(name, repr(oracle.text(runs[1]["tokens"])[:70]))
    lines = ",\n".join(json.dumps(row) for row in rows)
    DATA.write_text(f"[\n{lines}\n]\n", encoding="utf-8")


if __name__ == "__main__":
    main()
