"""Regular expressions: the text is a match of the whole."""

from __future__ import annotations

import pytest
from grammars import Accepts

from gguf_run import ModelError
from gguf_run.structured.factory import ConstraintFactory

EXPRESSIONS = [
    ("(yes|no)", ["yes", "no"], ["yesno", "y"]),
    ("^ab$", ["ab"], ["a"]),
    (r"\d{2,3}", ["12", "123"], ["1", "1234"]),
    (r"[^/]+/x", ["a/x", "é/x"], ["/x"]),
    ("a.c", ["abc", "a/c"], ["a\nc"]),
    ("(?s)a.c", ["a\nc"], ["ac"]),
    ("(?i)ab", ["AB", "aB"], ["xb"]),
    ("x*", ["", "xx"], ["y"]),
    ("one\ntwo", ["one\ntwo"], ["one"]),
]


@pytest.mark.parametrize(("regex", "matching", "others"), EXPRESSIONS)
def test_matches_may_be_written_and_nothing_else(
    factory: ConstraintFactory,
    accepts: Accepts,
    regex: str,
    matching: list[str],
    others: list[str],
) -> None:
    for text in matching:
        assert accepts(factory.from_regex(regex), text), text
    for text in others:
        assert not accepts(factory.from_regex(regex), text), text


@pytest.mark.parametrize(
    ("regex", "column", "found"),
    [("ab(c", 3, "unclosed group"), ("a(?=b)", 2, "look-ahead"), (r"(a)\1", 4, "backreferences")],
)
def test_a_wrong_expression_is_refused_with_its_column(
    factory: ConstraintFactory, regex: str, column: int, found: str
) -> None:
    with pytest.raises(ModelError, match=found) as caught:
        factory.from_regex(regex)
    assert str(caught.value).startswith(f"regex, line 1, column {column}: expected ")


def test_an_expression_that_nothing_matches_is_refused(factory: ConstraintFactory) -> None:
    with pytest.raises(ModelError):
        factory.from_regex("a[^\\s\\S]")
