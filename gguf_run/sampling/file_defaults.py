"""The sampling defaults that a model file may carry."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping

from gguf_run.errors import ModelError
from gguf_run.sampling.params import SamplingParams

_PREFIX = "general.sampling."


def _integer(text: str) -> int:
    """Converters store some of them as floats: 40.0 is 40."""
    number = float(text)
    if not number.is_integer():
        raise ValueError(f"not a whole number: {text}")
    return int(number)


#: Key in the file, after the prefix -> parameter, and how its value is read.
_KEYS: dict[str, tuple[str, Callable[[str], object]]] = {
    "sequence": ("samplers", lambda names: tuple(names.split(";"))),
    "top_k": ("top_k", _integer),
    "top_p": ("top_p", float),
    "min_p": ("min_p", float),
    "xtc_probability": ("xtc_probability", float),
    "xtc_threshold": ("xtc_threshold", float),
    "temp": ("temperature", float),
    "penalty_last_n": ("repeat_last_n", _integer),
    "penalty_repeat": ("repeat_penalty", float),
    "mirostat": ("mirostat", _integer),
    "mirostat_tau": ("mirostat_tau", float),
    "mirostat_eta": ("mirostat_eta", float),
}


def file_defaults(metadata: Mapping[str, object], given: Collection[str] = ()) -> dict[str, object]:
    """Arguments for SamplingParams out of `general.sampling.*`, but for those `given` by the user.

    Numbers may be stored as numbers or as text, as llama.cpp takes them. A value that is not valid
    raises ModelError naming its key.
    """
    defaults: dict[str, object] = {}
    for key, (name, read) in _KEYS.items():
        if _PREFIX + key not in metadata or name in given:
            continue
        value = metadata[_PREFIX + key]
        try:
            defaults[name] = read(str(value))
            SamplingParams(**{name: defaults[name]})  # type: ignore[arg-type]
        except (ValueError, ModelError) as error:
            raise ModelError(
                f"{_PREFIX}{key}: expected a sampling default, found {value!r} ({error}); "
                "set the option yourself"
            ) from error
    return defaults
