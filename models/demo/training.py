"""Training: AdamW, warm-up and cosine decay, bf16 autocast on a GPU, all rows on the device."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from .network import Llama
from .vocabulary import UNK


@dataclass(frozen=True, slots=True)
class Schedule:
    """How long and how fast. `n_rows` rows a step; the learning rate falls to a 50th at the end."""

    n_steps: int
    n_rows: int
    peak: float = 2e-3
    warmup: int = 100

    def rate(self, step: int) -> float:
        if step < self.warmup:
            return self.peak * (step + 1) / self.warmup
        done = (step - self.warmup) / max(1, self.n_steps - self.warmup)
        return self.peak * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * done)))


def loss_of(model: Llama, rows: Tensor) -> Tensor:
    """Mean cross-entropy of the next token over rows (n_rows, n_ctx + 1), padding left out."""
    rows = rows.long()
    with torch.autocast(rows.device.type, torch.bfloat16, enabled=rows.is_cuda):
        logits = model(rows[:, :-1])
    return F.cross_entropy(logits.flatten(0, 1).float(), rows[:, 1:].flatten(), ignore_index=UNK)


def _batches(rows: Tensor, n_rows: int, seed: int) -> Iterator[Tensor]:
    """Batches without end: all rows in a new order in each round."""
    order = torch.Generator().manual_seed(seed)
    while True:
        shuffled = torch.randperm(len(rows), generator=order).to(rows.device)
        for start in range(0, len(rows) - n_rows + 1, n_rows):
            yield rows[shuffled[start : start + n_rows]]


def train(model: Llama, rows: Tensor, held_out: Tensor, schedule: Schedule, seed: int) -> None:
    """Trains in place and prints losses. `rows`, `held_out`: (n, n_ctx + 1), where the model is."""
    matrices = [p for p in model.parameters() if p.ndim == 2]
    norms = [p for p in model.parameters() if p.ndim == 1]
    groups = [{"params": matrices, "weight_decay": 0.1}, {"params": norms, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=0.0, betas=(0.9, 0.95), fused=rows.is_cuda)
    batches = _batches(rows, schedule.n_rows, seed)
    began = time.perf_counter()
    for step in range(schedule.n_steps):
        for group in optimizer.param_groups:
            group["lr"] = schedule.rate(step)
        loss = loss_of(model, next(batches))
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        if step % 100 == 0 or step == schedule.n_steps - 1:
            spent = time.perf_counter() - began
            print(f"step {step:5d}  loss {loss.item():.4f}  {spent:6.1f} s", flush=True)
    print(f"held-out loss {evaluate(model, held_out):.4f}")


@torch.no_grad()
def evaluate(model: Llama, rows: Tensor) -> float:
    """Mean loss over rows of stories that the training has not seen."""
    parts = rows.split(32)
    return sum(loss_of(model, part).item() for part in parts) / len(parts)


@torch.no_grad()
def sample(
    model: Llama, prompt: list[int], n_tokens: int, eos: int, temperature: float, seed: int
) -> list[int]:
    """The prompt and what the model adds to it, up to `eos`; greedy at temperature 0."""
    draws = torch.Generator().manual_seed(seed)
    ids = list(prompt)
    while len(ids) < min(len(prompt) + n_tokens, model.shape.n_ctx):
        row = torch.tensor([ids], device=model.token_embd.weight.device)
        logits = model(row)[0, -1].float().cpu()
        if temperature == 0:
            ids.append(int(logits.argmax()))
        else:
            odds = (logits / temperature).softmax(-1)
            ids.append(int(torch.multinomial(odds, 1, generator=draws)))
        if ids[-1] == eos:
            break
    return ids
