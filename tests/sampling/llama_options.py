"""llama.cpp's command-line options as SamplingParams, for runs recorded with its own program."""

from __future__ import annotations

from collections.abc import Callable, Sequence

_OPTIONS: dict[str, tuple[str, Callable[[str], object]]] = {
    "-s": ("seed", int),
    "--seed": ("seed", int),
    "--temp": ("temperature", float),
    "--top-k": ("top_k", int),
    "--top-p": ("top_p", float),
    "--min-p": ("min_p", float),
    "--typical": ("typical_p", float),
    "--top-nsigma": ("top_n_sigma", float),
    "--repeat-penalty": ("repeat_penalty", float),
    "--repeat-last-n": ("repeat_last_n", int),
    "--frequency-penalty": ("frequency_penalty", float),
    "--presence-penalty": ("presence_penalty", float),
    "--dry-multiplier": ("dry_multiplier", float),
    "--dry-base": ("dry_base", float),
    "--dry-allowed-length": ("dry_allowed_length", int),
    "--dry-penalty-last-n": ("dry_penalty_last_n", int),
    "--xtc-probability": ("xtc_probability", float),
    "--xtc-threshold": ("xtc_threshold", float),
    "--dynatemp-range": ("dynatemp_range", float),
    "--dynatemp-exp": ("dynatemp_exponent", float),
    "--mirostat": ("mirostat", int),
    "--mirostat-ent": ("mirostat_tau", float),
    "--mirostat-lr": ("mirostat_eta", float),
    "--adaptive-target": ("adaptive_target", float),
    "--adaptive-decay": ("adaptive_decay", float),
    "--samplers": ("samplers", lambda names: names.split(";")),
}


def options_to_kwargs(options: Sequence[str]) -> dict[str, object]:
    """["-s", "1", "--top-k", "5"] -> {"seed": 1, "top_k": 5}; KeyError for an unknown option."""
    pairs = zip(options[::2], options[1::2], strict=True)
    return {_OPTIONS[name][0]: _OPTIONS[name][1](value) for name, value in pairs}
