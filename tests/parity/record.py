"""Record llama.cpp's logits and tokens: `python tests/parity/record.py [names]` (extra `parity`).

Without names it records every variant of make_gguf.py and the demo model (name `demo`). Run it
again for a variant that you add or change, and commit the file that it writes under data/.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import cycle
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from make_gguf import VARIANTS, write_model  # the folder is on the path only now
from oracle import Oracle, decoded_twin
from recorded import DATA, DEMO_MODEL, Recorded, nmse, sha256
from samplers import sampler_chain

N_TOKENS = 64
ROWS = np.array([0, 1, 2, 5, 9, 14, 20, 27, 35, 44, 54, 63], np.int32)
N_PROMPT = 8
N_GREEDY = 32
LEAST_MARGIN = 1e-3
"""A smaller lead could be lost to rounding; give the variant another seed."""
ROUGHLY = 5e-3
"""NMSE that llama.cpp's own int8 activations may cost on the file as it is."""

DEMO_N_CTX = 512
DEMO_TEXT = (
    "Once upon a time there was a little girl who had a red ball. She played with it all day. "
    "Then the ball was gone, and the girl was sad. Her friend came and helped her to find it."
)
DEMO_PROMPTS = ("Once upon a time", "The dog", "One day, a boy", "")
DEMO_N_TOKENS = 80
SAMPLED: tuple[dict[str, Any], ...] = (
    {"seed": 1},
    {"seed": 7, "temperature": 1.2},
    {"seed": 3, "top_k": 0, "top_p": 1.0, "min_p": 0.0, "temperature": 1.0},
    {"seed": 5, "top_k": 5},
    {"seed": 11, "top_p": 0.5, "min_p": 0.0},
    {"seed": 13, "min_p": 0.3, "temperature": 1.5},
    {"seed": 17, "repeat_penalty": 1.3, "repeat_last_n": 32},
    {"seed": 19, "frequency_penalty": 0.8, "presence_penalty": 0.4},
    {"seed": 23, "typical_p": 0.6},
    {"seed": 29, "top_n_sigma": 1.0},
    {"seed": 31, "xtc_probability": 0.5},
    {"seed": 37, "mirostat": 2, "mirostat_tau": 3.0},
    {"seed": 41, "dry_multiplier": 0.8},
    {"seed": 43, "dynatemp_range": 0.5, "temperature": 1.0},
    {"seed": 47, "mirostat": 1},
)
"""Options of `Model.generate`, of which llama.cpp's samplers get the same."""


@contextmanager
def exact(path: Path, n_ctx: int) -> Iterator[Oracle]:
    """llama.cpp on `path` decoded to f32, after a check that it takes the file as it is, too."""
    with TemporaryDirectory() as folder:
        twin = Path(folder) / "twin.gguf"
        decoded_twin(path, twin)
        probe = list(range(3, 3 + N_PROMPT))
        with Oracle(twin, n_ctx) as oracle:
            with Oracle(path, n_ctx) as as_it_is:
                error = nmse(as_it_is.logits(probe), oracle.logits(probe))
            if error > ROUGHLY:
                raise SystemExit(f"{path.name}: llama.cpp's NMSE to the decoded file is {error}")
            yield oracle


def random_tokens(name: str) -> list[int]:
    """Begin of text, then any tokens but the specials."""
    rng = np.random.default_rng([*name.encode()])
    return [1, *rng.integers(3, 384, N_TOKENS - 1).tolist()]


def record_variant(name: str) -> None:
    variant, tokens = VARIANTS[name], random_tokens(name)
    with TemporaryDirectory() as folder:
        path = Path(folder) / f"{name}.gguf"
        write_model(name, path)
        with exact(path, variant.n_ctx) as oracle:
            logits = oracle.logits(tokens)
            greedy, margin = oracle.greedy(tokens[:N_PROMPT], N_GREEDY)
        if len(greedy) < N_GREEDY or margin < LEAST_MARGIN:
            raise SystemExit(f"{name}: {len(greedy)} tokens, lead {margin}: try another seed")
        Recorded(
            sha256=sha256(path),
            n_ctx=variant.n_ctx,
            tokens=np.array(tokens, np.int32),
            rows=ROWS,
            logits=logits[ROWS],
            prompt=np.array(tokens[:N_PROMPT], np.int32),
            greedy=np.array(greedy, np.int32),
            margin=margin,
        ).save(name)
    print(f"{name}: least lead {margin:.4f}")


def record_demo() -> None:
    """Logits of a text, greedy continuations and sampled ones of the demo model."""
    with exact(DEMO_MODEL, DEMO_N_CTX) as oracle:
        tokens = oracle.tokenize(DEMO_TEXT)[:N_TOKENS]
        rows = ROWS[: np.searchsorted(ROWS, len(tokens))]
        prompt = oracle.tokenize(DEMO_PROMPTS[0])
        greedy, margin = oracle.greedy(prompt, N_GREEDY)
        Recorded(
            sha256=sha256(DEMO_MODEL),
            n_ctx=DEMO_N_CTX,
            tokens=np.array(tokens, np.int32),
            rows=rows,
            logits=oracle.logits(tokens)[rows],
            prompt=np.array(prompt, np.int32),
            greedy=np.array(greedy, np.int32),
            margin=margin,
        ).save("demo")
        runs = {
            "greedy": [_greedy_run(oracle, prompt) for prompt in DEMO_PROMPTS],
            "sampled": [
                _sampled_run(oracle, prompt, options)
                for prompt, options in zip(cycle(DEMO_PROMPTS), SAMPLED, strict=False)
            ],
        }
    (DATA / "demo.json").write_text(_one_run_a_line(runs), encoding="utf-8")
    print(f"demo: least lead {min(run['margin'] for run in runs['greedy']):.4f}")


def _one_run_a_line(runs: dict[str, list[dict[str, Any]]]) -> str:
    kinds = (
        f"{json.dumps(kind)}: [\n"
        + ",\n".join(json.dumps(run, ensure_ascii=False) for run in rows)
        + "\n]"
        for kind, rows in runs.items()
    )
    return "{\n" + ",\n".join(kinds) + "\n}\n"


def _greedy_run(oracle: Oracle, prompt: str) -> dict[str, Any]:
    prompt_tokens = oracle.tokenize(prompt)
    tokens, margin = oracle.greedy(prompt_tokens, DEMO_N_TOKENS)
    return {
        "prompt": prompt,
        "prompt_tokens": prompt_tokens,
        "tokens": tokens,
        "text": oracle.text(tokens),
        "margin": margin,
    }


def _sampled_run(oracle: Oracle, prompt: str, options: dict[str, Any]) -> dict[str, Any]:
    chain = sampler_chain(oracle, options)
    tokens = oracle.sample(oracle.tokenize(prompt), DEMO_N_TOKENS, chain)
    text = oracle.text(tokens)
    return {"prompt": prompt, "options": options, "tokens": tokens, "text": text}


def main(names: list[str]) -> None:
    for name in names or [*VARIANTS, "demo"]:
        record_demo() if name == "demo" else record_variant(name)


if __name__ == "__main__":
    main(sys.argv[1:])
