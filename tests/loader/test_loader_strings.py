"""Strings that are read many at a time are those that are read one by one."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gguf_run.errors import GGUFError
from gguf_run.loader_cursor import Cursor, decoded
from gguf_run.loader_strings import leading_strings

TEXTS = st.one_of(
    st.binary(max_size=6),
    st.text(max_size=5).map(str.encode),
    st.sampled_from([b"", b"\0", b"\0" * 9, b"x" * 255, b"x" * 256, b"x" * 257, b"x" * 65536]),
)


def written(texts: list[bytes]) -> bytes:
    return b"".join(len(text).to_bytes(8, "little") + text for text in texts)


@settings(deadline=None)
@given(st.lists(TEXTS, max_size=12), st.binary(max_size=30), st.integers(0, 14))
def test_what_is_read_at_once_is_what_is_there(texts: list[bytes], rest: bytes, n: int) -> None:
    found, n_bytes = leading_strings(written(texts) + rest, n)
    known = texts[: len(found)]
    assert found[: len(known)] == [decoded(text) for text in known]
    assert len(found) <= n
    if len(found) <= len(texts):
        assert n_bytes == len(written(known))


@given(st.integers(0, 300))
def test_plain_strings_are_all_read_at_once(n: int) -> None:
    texts = [f"{i}\u0120" * (i % 40 + 1) for i in range(n)]
    data = written([text.encode() for text in texts])
    assert leading_strings(data + b"behind", n) == (texts, len(data))


@pytest.mark.parametrize("odd", [b"", b"a\0b", b"x" * 70000, b"\xe4\xb8", b"\xff"])
@pytest.mark.parametrize("at", [0, 3, 5000])
def test_a_cursor_reads_arrays_with_any_string_among_plain_ones(odd: bytes, at: int) -> None:
    texts = [b"token%d" % i for i in range(9000)]
    texts.insert(at, odd)
    cursor = Cursor(written(texts) + b"behind", Path("x.gguf"))
    assert cursor.strings(len(texts)) == [decoded(text) for text in texts]
    assert cursor.left == len(b"behind")


def test_an_array_that_is_cut_short_names_the_string_where_it_is() -> None:
    texts = [b"token%d" % i for i in range(9000)]
    cursor = Cursor(written(texts)[:-1] + b"", Path("x.gguf"))
    with pytest.raises(GGUFError, match="string 8999 of 9000"):
        cursor.strings(9000)
