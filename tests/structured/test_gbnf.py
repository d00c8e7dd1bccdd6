"""GBNF: what grammars stand for, and what is said of wrong ones."""

from __future__ import annotations

import re

import pytest
from grammars import Accepts
from hypothesis import given, settings
from hypothesis import strategies as st

from gguf_run import ModelError
from gguf_run.structured.factory import ConstraintFactory
from gguf_run.structured.gbnf import parse_gbnf

LANGUAGES = [
    ('root ::= "ab"', ["ab"], ["", "a", "abc", "b"]),
    ('root ::= "a" | "b" "c" | ""', ["a", "bc", ""], ["b", "ab"]),
    ('root ::= x "," x\nx ::= [0-9]+', ["1,22"], ["1", "1,", ",1"]),
    ('root ::= ("a" | "b"){2,3}', ["ab", "bab"], ["a", "abab"]),
    ('root ::= "a"{2}', ["aa"], ["a", "aaa"]),
    ('root ::= "a"{2,}', ["aa", "aaaa"], ["a"]),
    ('root ::= "a"{0,2} "b"', ["b", "aab"], ["aaab"]),
    ('root ::= "a"{0} "b"', ["b"], ["ab"]),
    ('root ::= "ab"? "c"*', ["", "ab", "abcc", "c"], ["a", "abab"]),
    ('root ::= "ab"+', ["ab", "abab"], ["", "aba"]),
    ("root ::= [a-cx]", ["a", "c", "x"], ["d", ""]),
    ("root ::= [^a-c]", ["d", "é", "\n"], ["a", "dd"]),
    ("root ::= [a-]", ["a", "-"], ["b"]),
    (r"root ::= [\]\[\\]", ["]", "[", "\\"], ["a"]),
    (r'root ::= "\"\\\n\t\r"', ['"\\\n\t\r'], ["n"]),
    (r'root ::= "\x41\u00e9\U0001F600"', ["Aé😀"], ["A"]),
    ("root ::= [あ-ん]+ .", ["ひらがな", "ひ!"], ["abc"]),
    ("root ::= . .", ["ab", "é\n"], ["a"]),
    ("# first\nroot ::= x # then\n\n# more\nx ::= (\n  [a] # in a group\n)", ["a"], ["b"]),
    ('root ::=\n  "a" |\n  "b"', ["a", "b"], ["ab"]),
    ('a-b_C ::= "x"\nroot ::= a-b_C', ["x"], ["a-b_C"]),
    ('root ::= "a"\nroot ::= "b"', ["b"], ["a"]),
    ('root ::= "(" root ")" | ""', ["", "(())"], ["(", ")("]),
    ('root ::= root "a" | "b"', ["b", "baa"], ["a"]),
    ('root ::= root "+" root | [0-9]', ["1+2+3"], ["1+"]),
    ('root ::= "a" "bc" | "ab" "d" | "(" root ")"', ["abc", "abd", "((abc))"], ["ab"]),
    ('root ::= [a-z]+ "end" | "(" root ")"', ["xend", "endend", "(xend)"], ["end", "xen"]),
    ('root ::= x\nx ::= "a" x | y\ny ::= "b" | y y', ["b", "aabb"], ["a", "ba"]),
]


@pytest.mark.parametrize(("grammar", "inside", "outside"), LANGUAGES)
def test_a_grammar_takes_its_texts_and_no_others(
    factory: ConstraintFactory,
    accepts: Accepts,
    grammar: str,
    inside: list[str],
    outside: list[str],
) -> None:
    for text in inside:
        assert accepts(factory.from_gbnf(grammar), text), text
    for text in outside:
        assert not accepts(factory.from_gbnf(grammar), text), text


WRONG = [
    ('root ::= "a', 1, 10, 'closing "'),
    ("root ::= [a", 1, 10, "closing ]"),
    ('root ::= ("a"', 1, 10, "closing )"),
    ('root ::= ("a" ]', 1, 15, "closing )"),
    ("root ::= a", 1, 10, "a rule a"),
    ('x ::= "a"', 1, 10, "named root"),
    ('root ::= "a"\n | "b"', 2, 2, "a rule's name"),
    ("root ::= *", 1, 10, "something to repeat"),
    ('root ::= "a"{3,2}', 1, 13, "at least 3"),
    ('root ::= "a"{2001}', 1, 13, "at most 2000"),
    ('root ::= "a"{99999999999999999999}', 1, 13, "at most 2000"),
    ('root ::= "a"{x}', 1, 14, "number"),
    ('root ::= "a"{1,', 1, 16, "}"),
    (r'root ::= "\q"', 1, 11, "an escape"),
    (r'root ::= "\x4"', 1, 11, "2 hexadecimal digits"),
    (r"root ::= [\uD800]", 1, 11, "a character of Unicode"),
    (r"root ::= [\U00110000]", 1, 11, "a character of Unicode"),
    ("root ::= [z-a]", 1, 11, "ascends"),
    ("root ::= []", 1, 10, "at least one character"),
    ('\n\nroot = "a"', 3, 6, "::="),
    ('root ::= "a" )', 1, 14, "the end of the line"),
    ("root ::= " + "(" * 60, 1, 60, "at most 50 deep"),
    ('root ::= "a"****', 1, 16, "at most 3"),
    ('root ::= "a" root', 1, 1, "some text can complete"),
    ('\nroot ::= x\nx ::= y "a"\ny ::= x', 2, 1, "some text can complete"),
    ("", 1, 1, "named root"),
]


@pytest.mark.parametrize(("grammar", "line", "column", "expected"), WRONG)
def test_a_wrong_grammar_is_refused_with_line_and_column(
    factory: ConstraintFactory, grammar: str, line: int, column: int, expected: str
) -> None:
    with pytest.raises(ModelError, match=re.escape(expected)) as caught:
        factory.from_gbnf(grammar)
    assert str(caught.value).startswith(f"grammar, line {line}, column {column}: expected ")


@settings(deadline=None)
@given(st.text('root:= "[](){}|*+?.,\\^-#\nab19', max_size=40))
def test_any_text_is_a_grammar_or_refused(text: str) -> None:
    for grammar in (text, f"root ::= {text}"):
        said = ""
        try:
            parse_gbnf(grammar)
        except ModelError as error:
            said = str(error)
        assert re.match(r"$|grammar, line \d+, column \d+: expected .*, found ", said)


@st.composite
def grammars(draw: st.DrawFn) -> tuple[str, str]:
    """A grammar that does not recurse, and the regular expression of the same language."""
    leaf = st.sampled_from([('"a"', "a"), ('"b"', "b"), ("[ab]", "[ab]"), ('"ba"', "(?:ba)")])

    def joined(pairs: list[tuple[str, str]], by: str, bar: str) -> tuple[str, str]:
        return f"({by.join(p[0] for p in pairs)})", f"(?:{bar.join(p[1] for p in pairs)})"

    def grown(inner: st.SearchStrategy[tuple[str, str]]) -> st.SearchStrategy[tuple[str, str]]:
        several = st.lists(inner, min_size=1, max_size=3)
        return st.one_of(
            several.map(lambda pairs: joined(pairs, " ", "")),
            several.map(lambda pairs: joined(pairs, " | ", "|")),
            st.tuples(inner, st.sampled_from(["*", "?", "+", "{1,2}"])).map(
                lambda pair: (f"({pair[0][0]}){pair[1]}", f"(?:{pair[0][1]}){pair[1]}")
            ),
        )

    return draw(st.recursive(leaf, grown, max_leaves=6))


@settings(deadline=None, max_examples=150)
@given(st.lists(grammars(), min_size=3, max_size=3), st.text("ab()", max_size=10))
def test_lexemes_beside_recursion_change_no_language(
    factory: ConstraintFactory,
    accepts: Accepts,
    parts: list[tuple[str, str]],
    text: str,
) -> None:
    """x ("(" (root | y) ")" | y) z: the text's parentheses are at most five deep."""
    (x, rx), (y, ry), (z, rz) = parts
    grammar = f'root ::= {x} ("(" inner ")" | {y}) {z}\ninner ::= root | {y}'
    expected = re.fullmatch(_language(rx, ry, rz, 6), text) is not None
    assert accepts(factory.from_gbnf(grammar), text) == expected


def _language(x: str, y: str, z: str, depth: int) -> str:
    if not depth:
        return "(?!)"
    return f"(?:{x}(?:\\((?:{_language(x, y, z, depth - 1)}|{y})\\)|{y}){z})"
