"""Where a chat's messages are read from: a terminal with line editing, or a pipe."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TextIO

from platformdirs import user_state_path

if TYPE_CHECKING:
    from prompt_toolkit.history import History
    from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent

PROMPT = "> "
CONTINUED = ". "


class Lines(Protocol):
    """Gives messages; a backslash at the end of a line continues it with the next."""

    def read(self) -> str:
        """The next message; `EOFError` at the end, `KeyboardInterrupt` at Ctrl-C."""


class PipedLines:
    """Messages from a file or pipe, one a line, with nothing shown."""

    def __init__(self, source: TextIO) -> None:
        self._source = source

    def read(self) -> str:
        lines: list[str] = []
        while True:
            line = self._source.readline()
            if not line and not lines:
                raise EOFError
            text = line.removesuffix("\n")
            lines.append(text.removesuffix("\\"))
            if not line or not text.endswith("\\"):
                return "\n".join(lines)


class TerminalLines:
    """Messages typed at a terminal: history over sessions, line editing, completed commands.

    Enter sends; Alt-Enter, or Enter after a backslash, begins a new line. Ctrl-C takes back what
    was typed, and raises where that is nothing.
    """

    def __init__(self, commands: Sequence[str]) -> None:
        """Args: commands: what may be completed at the beginning of a line."""
        # A quarter of a second to load, which only chats should wait for.
        from prompt_toolkit import PromptSession
        from prompt_toolkit.completion import WordCompleter
        from prompt_toolkit.output import create_output
        from prompt_toolkit.utils import is_dumb_terminal

        # Without an output, the session asks a terminal that has no escape codes in plain text.
        output = None if is_dumb_terminal() else create_output(always_prefer_tty=True)
        self._session: PromptSession[str] = PromptSession(
            history=_history(),
            output=output,
            completer=WordCompleter(commands, sentence=True),
            complete_while_typing=False,
            key_bindings=_keys(),
            multiline=True,
            prompt_continuation=CONTINUED,
            enable_suspend=True,
        )

    def read(self) -> str:
        return self._session.prompt(PROMPT)


def _history() -> History:
    """In the user's folder for state; in memory where that can't be written."""
    from prompt_toolkit.history import FileHistory, InMemoryHistory

    path: Path = user_state_path("gguf-run") / "chat_history"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch(mode=0o600)
    except OSError:
        return InMemoryHistory()
    return FileHistory(path)


def _keys() -> KeyBindings:
    from prompt_toolkit.key_binding import KeyBindings

    keys = KeyBindings()

    @keys.add("enter")
    def send(event: KeyPressEvent) -> None:
        buffer = event.current_buffer
        if buffer.document.char_before_cursor == "\\":
            buffer.delete_before_cursor()
            buffer.insert_text("\n")
        else:
            buffer.validate_and_handle()

    @keys.add("escape", "enter")
    def new_line(event: KeyPressEvent) -> None:
        event.current_buffer.insert_text("\n")

    @keys.add("c-c")
    def take_back(event: KeyPressEvent) -> None:
        if event.current_buffer.text:
            event.current_buffer.reset()
        else:
            event.app.exit(exception=KeyboardInterrupt, style="class:aborting")

    return keys
