"""The exceptions of gguf-run: everything that bad input or a missing device can raise.

Each message says what was expected, what was found, where, and what to do about it.
"""

from __future__ import annotations


class GGUFRunError(Exception):
    """Base of every error that gguf-run raises on purpose; the CLI shows it as one line."""


class GGUFError(GGUFRunError):
    """The file is not a well-formed GGUF file."""


class ModelError(GGUFRunError):
    """The file is well-formed, but the model in it can't be run as asked."""


class DeviceError(GGUFRunError):
    """The device, its driver or its memory can't do what was asked."""
