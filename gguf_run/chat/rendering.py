"""One template text: compiled once, rendered in the sandbox, its failures told with their lines."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime
from types import TracebackType
from typing import Any

from jinja2 import Template, TemplateSyntaxError
from jinja2.exceptions import SecurityError

from gguf_run.chat.limits import LimitError, Limits, Meter
from gguf_run.chat.sandbox import Sandbox
from gguf_run.chat.values import RaisedByTemplate
from gguf_run.errors import ModelError

_TRIAL_STEPS = 0.05
_TRIAL_SECONDS = 0.2
"""Shares of the limits, for a rendering that only tries what a template takes."""
_FILE_NAME = "<template>"
"""What Jinja calls a template without a name, in tracebacks."""


class StoppedError(ModelError):
    """A template went beyond a limit, or reached for what it must not."""


class CompiledTemplate:
    """A template that may be hostile; safe to be used by several threads, one after another."""

    def __init__(
        self, text: str, name: str, limits: Limits, now: Callable[[], datetime] = datetime.now
    ) -> None:
        """Compile.

        Args:
            text: the template.
            name: names it in errors.
            limits: of each rendering.
            now: what `strftime_now` tells.

        Raises:
            ModelError: it is too long, or no valid template; with the line.
        """
        self.name = name
        if len(text) > limits.source_chars:
            raise ModelError(
                f"{name}: expected at most {limits.source_chars} characters, found {len(text)}"
            )
        self._limits = limits
        self._sandbox = Sandbox(limits, now)
        self._lock = threading.Lock()
        try:
            self._template: Template = self._sandbox.from_string(self._sandbox.parsed(text))
        except TemplateSyntaxError as error:
            raise ModelError(
                f"{name}, line {error.lineno}: not a valid Jinja template: {error.message}"
            ) from None
        except (RecursionError, MemoryError, SyntaxError, ValueError, OverflowError) as error:
            raise ModelError(
                f"{name}: Jinja can't compile it ({type(error).__name__}): "
                "it is nested too deep, or too complicated"
            ) from None

    def render(self, values: Mapping[str, Any], n_input: int) -> str:
        """The text for `values`, plain values of `n_input` characters and parts.

        Raises:
            StoppedError: the template goes beyond a limit; with the line.
            ModelError: it refuses the values, or fails; with the line.
        """
        return self._render(values, Meter(self._limits, n_input))

    def try_out(self, values: Mapping[str, Any]) -> str:
        """The text for few and short values, with a share of the limits; raises as `render`."""
        limits = replace(
            self._limits,
            seconds=self._limits.seconds * _TRIAL_SECONDS,
            steps=int(self._limits.steps * _TRIAL_STEPS),
        )
        return self._render(values, Meter(limits))

    def _render(self, values: Mapping[str, Any], meter: Meter) -> str:
        with self._lock:
            self._sandbox.meter = meter
            parts: list[str] = []
            total = 0
            try:
                for part in self._template.generate(values):
                    parts.append(part)
                    total += len(part)
                    meter.room(total)
            except Exception as error:  # Whatever a template does, it is the template's failure.
                raise self._failure(error) from None
        return "".join(parts)

    def _failure(self, error: Exception) -> ModelError:
        line = _line(error.__traceback__)
        at = f"{self.name}, line {line}" if line else self.name
        if isinstance(error, RaisedByTemplate):
            return ModelError(f"{at}: the template refuses these messages: {error.message}")
        if isinstance(error, LimitError):
            return StoppedError(f"{at}: the template was stopped: it {error}")
        if isinstance(error, SecurityError):
            return StoppedError(f"{at}: the template was stopped: it reaches for {error}")
        if isinstance(error, RecursionError):
            return StoppedError(f"{at}: the template was stopped: it calls itself too deep")
        return ModelError(
            f"{at}: the template fails with these messages: {type(error).__name__}: {error}"
        )


def _line(trace: TracebackType | None) -> int | None:
    """The innermost line of the template; Jinja has put its lines into the traceback."""
    line = None
    while trace:
        if trace.tb_frame.f_code.co_filename == _FILE_NAME:
            line = trace.tb_lineno
        trace = trace.tb_next
    return line
