"""Makes models/demo.gguf from nothing: its stories, its vocabulary, its weights.

    python models/train_demo.py --out models/demo.gguf

Needs torch, sentencepiece, numpy and gguf. Minutes on one GPU; a CPU does for `--steps 20`.
Same seed, steps, hardware and versions: same file.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import time
from pathlib import Path

import sentencepiece as spm
import torch
from demo.export import export
from demo.network import Llama, Shape
from demo.training import Schedule, sample, train
from demo.vocabulary import BOS, EOS, pack_stories, train_vocabulary

PROMPTS = (
    "Once upon a time",
    "One day, a little girl named Lily",
    "The dog was hungry.",
    "In a small village",
    "Have you ever",
    "Tom and his mother went to the park. They",
)


N_HELD_OUT = 1000
N_PROCESSES = min(16, os.cpu_count() or 1)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Train the demo model and write it as GGUF.")
    parser.add_argument("--out", type=Path, required=True, help="the GGUF file to write")
    parser.add_argument("--steps", type=int, default=3500, help="training steps (default 3500)")
    parser.add_argument("--rows", type=int, default=128, help="rows of 512 tokens in a step")
    parser.add_argument("--stories", type=int, default=400_000, help="stories to learn from")
    parser.add_argument("--seed", type=int, default=2026)
    parser.add_argument("--f32", type=Path, help="also write the weights unquantised, to this file")
    return parser.parse_args()


def main() -> None:
    args = arguments()
    began = time.perf_counter()

    def say(text: str) -> None:
        print(f"[{time.perf_counter() - began:6.1f} s] {text}", flush=True)

    shape = Shape()
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # PyTorch asks for it
    torch.use_deterministic_algorithms(True, warn_only=True)
    torch.manual_seed(args.seed)

    vocabulary = train_vocabulary(args.seed, min(args.stories, 20_000), shape.n_vocab)
    say(f"vocabulary of {shape.n_vocab} pieces")
    packed, packed_held_out = (
        pack_stories(vocabulary, args.seed, start, n, shape.n_ctx + 1, N_PROCESSES)
        for start, n in ((N_HELD_OUT, args.stories), (0, N_HELD_OUT))
    )
    say(f"{args.stories} stories in {len(packed)} rows of {shape.n_ctx} tokens")

    # The processes above are forked, so the GPU is first touched here.
    device = "cuda" if torch.cuda.is_available() else "cpu"
    rows, held_out = (
        torch.from_numpy(part.astype("int16")).to(device) for part in (packed, packed_held_out)
    )
    model = Llama(shape).to(device)
    say(f"{sum(p.numel() for p in model.parameters()):,} weights on {device}")
    train(model, rows, held_out, Schedule(args.steps, args.rows), args.seed)
    say("trained")

    export(args.out, model, vocabulary)
    if args.f32:
        export(args.f32, model, vocabulary, quantised=False)
    show(model, vocabulary)
    data = args.out.read_bytes()
    say(f"{args.out}: {len(data):,} bytes, SHA256 {hashlib.sha256(data).hexdigest()}")


def show(model: Llama, vocabulary: bytes) -> None:
    """Prints what the model writes, greedily and at temperature 0.8."""
    processor = spm.SentencePieceProcessor(model_proto=vocabulary)
    for seed, prompt in enumerate(PROMPTS):
        for temperature in (0.0, 0.8):
            ids = [BOS, *processor.encode(prompt)]
            text = processor.decode(sample(model, ids, 160, EOS, temperature, seed))
            print(f"--- temperature {temperature}\n{text}\n")


if __name__ == "__main__":
    main()
