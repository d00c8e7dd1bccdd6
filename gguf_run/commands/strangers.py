"""Options of llama.cpp's programs that a command here lacks, as scripts have them.

Those that leave the text as it is are passed over, with a note; the others are refused, with what
to do instead.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import click

SWITCH = ("on", "off", "auto", "true", "false", "enabled", "disabled", "0", "1", "0,1", "1,0")
"""What may follow an option that may be given bare."""


@dataclass(frozen=True, slots=True)
class Stranger:
    """Options that are alike: their spellings, what is so here instead, and what follows them.

    value: "one", "none", or "maybe" (of `SWITCH`).
    refused: whether the text would be another.
    """

    names: str
    instead: str
    value: str = "one"
    refused: bool = False


_DEVICE = "the whole model runs on one device, --device"
_MAPPED = "files are always mapped"
_THREADS = "NumPy chooses its threads"
_LOG = "-v says more"
_DRAFT = "no second model guesses ahead; the text is the same"
_SHIFT = "the text ends where the context is full; -c makes it larger"
_TEMPLATE = "chats are written by the model's template: gguf-run chat"
_ROPE = "positions are scaled as the file says; gguf-new-metadata writes another"

_STRANGERS = (
    Stranger("-ngl --gpu-layers --n-gpu-layers -sm --split-mode -ts --tensor-split", _DEVICE),
    Stranger("-mg --main-gpu -ot --override-tensor -ncmoe --n-cpu-moe -ncffn", _DEVICE),
    Stranger("-fit --fit -fitt --fit-target -fitc --fit-ctx", _DEVICE),
    Stranger("-cmoe --cpu-moe -nkvo --no-kv-offload -kvo --kv-offload", _DEVICE, "none"),
    Stranger("--no-host --op-offload --no-op-offload", _DEVICE, "none"),
    Stranger("-dev", "choose with --device", refused=True),
    Stranger("-fa --flash-attn", "attention is always fused", "maybe"),
    Stranger("-t --threads -tb --threads-batch --numa --prio --poll", _THREADS),
    Stranger("-C --cpu-mask -Cr --cpu-range --cpu-strict", _THREADS),
    Stranger("--mlock --mmap --no-mmap -dio --direct-io -ndio --no-direct-io", _MAPPED, "none"),
    Stranger("-lm --load-mode -mmp", _MAPPED),
    Stranger("--check-tensors", "files are always checked", "none"),
    Stranger("--repack -nr --no-repack --swa-full", "layouts are chosen here", "none"),
    Stranger("-kvu --kv-unified -no-kvu --no-kv-unified", "there is one sequence", "none"),
    Stranger("-np --parallel -dt --defrag-thold", "there is one sequence"),
    Stranger("-cb --cont-batching -nocb --no-cont-batching", "there is one sequence", "none"),
    Stranger("-co --color", "terminals get colours by themselves", "maybe"),
    Stranger("--simple-io --display-prompt", "it is always so", "none"),
    Stranger("--warmup --no-warmup --perf --no-perf", "speeds are always shown", "none"),
    Stranger("--show-timings --no-show-timings", "speeds are always shown", "none"),
    Stranger("--log-disable --log-timestamps --log-prefix", _LOG, "none"),
    Stranger("--no-log-timestamps --no-log-prefix", _LOG, "none"),
    Stranger("--log-colors", _LOG, "maybe"),
    Stranger("--log-file -lv --verbosity --log-verbosity", _LOG),
    Stranger("--jinja --no-jinja", "templates are always Jinja's", "none"),
    Stranger("--reasoning-format", "reasoning is always told from the answer"),
    Stranger("-bs --backend-sampling", "the GPU samples where it can", "none"),
    Stranger("-mli --multiline-input", "a backslash ends a line that goes on", "none"),
    Stranger("--verbose-prompt", "gguf-run tokenize shows a prompt's tokens", "none"),
    Stranger("--prompt-cache", "a chat keeps what it has computed; /save --cache FILE writes it"),
    Stranger("--prompt-cache-all --prompt-cache-ro", "they are of --prompt-cache", "none"),
    Stranger("--keep", _SHIFT),
    Stranger("--context-shift --ctx-shift", _SHIFT, "none"),
    Stranger("--no-context-shift --no-ctx-shift", _SHIFT, "none"),
    Stranger("-md --model-draft -hfd --hf-repo-draft -devd -ngld", _DRAFT),
    Stranger("--draft-max --draft-min --draft-n --draft-p-min -cd --ctx-size-draft", _DRAFT),
    Stranger("-i --interactive -if -ins", "to talk with a model: gguf-run chat", "none", True),
    Stranger("--in-prefix --in-suffix", _TEMPLATE, refused=True),
    Stranger("--in-prefix-bos", _TEMPLATE, "none", True),
    Stranger("--rope-scaling --rope-scale --rope-freq-base --rope-freq-scale", _ROPE, refused=True),
    Stranger("--yarn-orig-ctx --yarn-ext-factor --yarn-attn-factor", _ROPE, refused=True),
    Stranger("--yarn-beta-slow --yarn-beta-fast", _ROPE, refused=True),
    Stranger("--override-kv", "gguf-new-metadata writes a file with others", refused=True),
    Stranger(
        "--lora --lora-scaled",
        "an adapter must be merged into its model before: llama-export-lora",
        refused=True,
    ),
    Stranger("--control-vector --control-vector-scaled", "there is no such thing", refused=True),
    Stranger("-mm --mmproj -mmu --image --audio", "models read text alone", refused=True),
    Stranger("-bf --binary-file", "-f reads a prompt", refused=True),
    Stranger("-sp --special", "gguf-run tokenize shows control tokens", "none", True),
    Stranger("-mu --model-url", "-hf USER/REPO fetches, -hff FILE of it", refused=True),
    Stranger(
        "-hft --hf-token", "it is read from HF_TOKEN, or what hf auth login left", refused=True
    ),
    Stranger("-rea --reasoning", "--reasoning-budget 0 asks for none", refused=True),
)

_BY_NAME = {name: stranger for stranger in _STRANGERS for name in stranger.names.split()}


def without_strangers(arguments: Sequence[str], command: click.Command) -> list[str]:
    """The arguments without those that change nothing; a line on stderr names them.

    Left to click, some would be taken for others: -ngl for -n with the value "gl".

    Raises `click.UsageError` for one that matters.
    """
    passed: dict[str, list[str]] = {}
    left: list[str] = []
    rest = deque(arguments)
    for name in _names(rest, left, _Spellings.of(command)):
        stranger = _BY_NAME[name]
        if stranger.refused:
            raise click.UsageError(f"{name} is llama.cpp's: {stranger.instead}; leave it out")
        if stranger.value == "one" or (stranger.value == "maybe" and rest and rest[0] in SWITCH):
            _drop_value(rest, name)
        passed.setdefault(stranger.instead, []).append(name)
    if passed:
        said = "; ".join(f"{', '.join(names)}: {why}" for why, names in passed.items())
        click.echo(f"ignored {said}", err=True)
    return left


@dataclass(frozen=True, slots=True)
class _Spellings:
    """How a command's options are spelt: all of them, and those that a value follows."""

    known: frozenset[str]
    valued: frozenset[str]

    @classmethod
    def of(cls, command: click.Command) -> _Spellings:
        options = [p for p in command.params if isinstance(p, click.Option)]
        return cls(
            frozenset(name for o in options for name in (*o.opts, *o.secondary_opts)),
            frozenset(name for o in options if not o.is_flag for name in o.opts),
        )

    def refuse_single_dash(self, argument: str) -> None:
        """-prompt would be taken for -p with the value "rompt"."""
        is_word = argument[:1] == "-" != argument[1:2] and len(argument) > 2
        if is_word and argument not in self.known and f"-{argument}" in self.known:
            raise click.UsageError(f"No such option: {argument}. Did you mean -{argument}?")


def _names(rest: deque[str], left: list[str], own: _Spellings) -> Iterator[str]:
    """The strangers' names, one after another; what comes before each goes to `left`."""
    while rest:
        argument = rest.popleft()
        name, equals, value = argument.partition("=")
        if argument == "--":
            left.append(argument)
            break
        if name in _BY_NAME and name not in own.known:
            if equals:
                rest.appendleft(value)
            yield name
            continue
        own.refuse_single_dash(argument)
        left.append(argument)
        if argument in own.valued and rest:
            left.append(rest.popleft())
    left += rest


def _drop_value(rest: deque[str], name: str) -> None:
    if not rest:
        raise click.UsageError(f"Option '{name}' requires an argument.")
    rest.popleft()
