"""Grammars are cut into lexemes that are large, and never read too far."""

from __future__ import annotations

from grammars import GRAMMARS

from gguf_run.structured.gbnf import parse_gbnf
from gguf_run.structured.grammar import Chars, Expr, Lexeme, Ref, Repeat, walk
from gguf_run.structured.lexemes import cut
from gguf_run.structured.simplify import simplify


def _lexemes(grammar: str) -> list[Expr]:
    rules = cut(simplify(parse_gbnf(grammar)))
    found = [e.expr for expr in rules.values() for e in walk(expr) if isinstance(e, Lexeme)]
    return list(dict.fromkeys(found))


def test_a_grammar_without_recursion_is_one_lexeme() -> None:
    assert len(_lexemes('root ::= x+ "end"\nx ::= [a-z]* y\ny ::= "," | ";"')) == 1


def test_a_rule_that_only_repeats_itself_is_a_loop() -> None:
    for spaces in ("([ \\t] ws)?", "(ws [ \\t])?", '"" | " " ws | "\\t" ws'):
        assert len(_lexemes(f'root ::= "[" ws "]"\nws ::= {spaces}')) == 1


def test_strings_of_json_are_read_in_one_piece() -> None:
    quote = ord('"')
    others = tuple(
        e for expr in _lexemes(GRAMMARS["json"]) for e in walk(expr) if isinstance(e, Ref)
    )
    assert Ref("string") in others
    assert Chars(((quote, quote),)) not in _lexemes(GRAMMARS["json"])


def test_what_may_follow_is_never_swallowed() -> None:
    """[a-z]+ would swallow the `end`, so it is read by single characters."""
    grammar = 'root ::= x | root x\nx ::= [a-z]+ y "end" "."\ny ::= "(" y ")" | ""'
    letters = Chars(((ord("a"), ord("z")),))
    assert letters in _lexemes(grammar)
    assert Repeat(letters, 1, None) not in _lexemes(grammar)


def test_what_nothing_can_follow_is_swallowed_whole() -> None:
    grammar = 'root ::= "(" root ")" | [a-z]+ | [0-9]+ "," root'
    assert Repeat(Chars(((ord("a"), ord("z")),)), 1, None) in _lexemes(grammar)
