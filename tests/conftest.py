"""Fixtures shared by all tests."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest
from chat_model import write_chat_model
from make_gguf import write_model


def pytest_configure(config: pytest.Config) -> None:
    """Shells start what runs in the background deaf to Ctrl-C, and processes that tests start
    would inherit it."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of reference material beside the checkout; tests that need it skip without it."""
    folder = Path(__file__).resolve().parents[2] / "shared"
    if not folder.is_dir():
        pytest.skip("the folder of reference material is not here")
    return folder


@pytest.fixture(scope="session")
def tiny_llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random llama model with an SPM vocabulary of 384 tokens and a context of 256."""
    path = tmp_path_factory.mktemp("models") / "llama.gguf"
    write_model("llama", path)
    return path


@pytest.fixture(scope="session")
def tiny_chat(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random llama model with ChatML's control tokens and template."""
    path = tmp_path_factory.mktemp("models") / "chat.gguf"
    write_chat_model(path)
    return path
