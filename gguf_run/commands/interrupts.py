"""Ctrl-C that asks before it breaks off."""

from __future__ import annotations

import signal
from types import FrameType, TracebackType
from typing import Any


class Interrupts:
    """A context in which the first Ctrl-C is taken note of, and the second raises.

    Work that looks at `asked` can stop where nothing is left half done. As long as it does not
    look, being at a long first step, it sets `patient` to False, and the first Ctrl-C raises, too.
    """

    def __init__(self, patient: bool = True) -> None:
        self.asked = False
        self.patient = patient
        self._before: Any = None

    def __enter__(self) -> Interrupts:
        self.asked = False
        self._before = signal.signal(signal.SIGINT, self._take_note)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        signal.signal(signal.SIGINT, self._before)

    def _take_note(self, number: int, frame: FrameType | None) -> None:
        if self.asked or not self.patient:
            raise KeyboardInterrupt
        self.asked = True
