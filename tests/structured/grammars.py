"""GBNF grammars that llama.cpp's masks and texts are recorded for, and what is compared of them."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt

from gguf_run.structured import Constraint

DATA = Path(__file__).parent / "data" / "llama_cpp.json"
DEMO_MODEL = Path(__file__).resolve().parents[2] / "models" / "demo.gguf"

PROMPT = "Once upon a time"
N_TOKENS = 60
OPTIONS = (
    {"temperature": 0.0, "seed": 1},
    {"seed": 2},
    {"seed": 3, "temperature": 1.5, "top_k": 0, "top_p": 1.0, "min_p": 0.0},
    {"seed": 4, "mirostat": 2, "mirostat_tau": 3.0},
)

GRAMMARS = {
    "sentence": r'root ::= [A-Z] [a-z]+ (" " [a-z]+){3,9} [.!?]',
    "json": r"""
        root   ::= object
        value  ::= object | array | string | number | ("true" | "false" | "null") ws
        object ::= "{" ws ( string ":" ws value ("," ws string ":" ws value)* )? "}" ws
        array  ::= "[" ws ( value ("," ws value)* )? "]" ws
        string ::= "\"" ( [^"\\\x7F\x00-\x1F] | "\\" (["\\/bfnrt] | "u" [0-9a-fA-F]{4}) )* "\"" ws
        number ::= "-"? ("0" | [1-9] [0-9]{0,15}) ("." [0-9]+)? ([eE] [-+]? [0-9] [1-9]{0,15})? ws
        ws     ::= | " " | "\n" [ \t]{0,20}   # at most one line
    """,
    "sums": r"""
        root  ::= (expr "=" ws term "\n")+
        expr  ::= term ([-+*/] term)*
        term  ::= ident | num | "(" ws expr ")" ws
        ident ::= [a-z] [a-z0-9_]* ws
        num   ::= [0-9]+ ws
        ws    ::= [ \t\n]*
    """,
    "statements": r"""
        root      ::= (type name "(" (type name)? ")" "{" statement* "}")+
        type      ::= ("int" | "float" | "char") ws
        name      ::= [a-zA-Z_] [a-zA-Z_0-9]*
        statement ::= ( type name ws "=" ws value ";" ) |
                      ( name ws "=" ws value ";" ) |
                      ( "return" ws value ";" ) |
                      ( "while" "(" value ("<=" | "<" | "==") value ")" "{" statement* "}" ) |
                      ( "//" [^\n]* "\n" ) | ( "/*" ( [^*] | ("*" [^/]) )* "*/" )
        value     ::= factor (("+" | "-") factor)*
        factor    ::= name | [0-9]+ | "-" factor | name "(" value? ")" | "(" ws value ws ")"
        ws        ::= [ \t\n]+
    """,
    "spaces by recursion": r"""
        root ::= "[" ws (root ("," root)*)? "]" ws
        ws   ::= ([ \t\n] ws)?
    """,
    "prefixes that part late": r'root ::= "a" "bc" | "ab" "d"',
    "words before a word": 'root ::= x\nx ::= [a-z]+ "end" x | "." x "!" | ";"',
    "overlapping classes": 'root ::= [a-m]+ root [g-z]+ | "," | "abc" root "xyz"',
    "palindromes": 'root ::= "a" root "a" | "b" root "b" | [ab]?',
    "lines": r'root ::= ("- " [^\r\n\x0b\x0c\u0085\u2028\u2029]+ "\n")+',
    "other alphabets": 'root ::= [à-ÿ\\u3042-\\u3093]{2,5} "é"? "\\U00000021" .',
    "counted": r'root ::= ("ab" | "c"){2,3} "x"{2} [0-9]{1,} ("." [0-9]{0,2})?',
    "chess": r"""
        root    ::= "1. " move " " move "\n" ([1-9] [0-9]? ". " move " " move "\n")+
        move    ::= (pawn | piece | castle) [+#]?
        piece   ::= [NBKQR] [a-h]? [1-8]? "x"? [a-h] [1-8]
        pawn    ::= ([a-h] "x")? [a-h] [1-8] ("=" [NBKQR])?
        castle  ::= "O-O" "-O"?
    """,
    "empty text": 'root ::= "" | "a" root "b"',
    "loops in loops": 'root ::= (("a"? "b"?)* "c"){1,3} ("d" root)?',
    "any character": 'root ::= "(" [^)]* ")" (root | .)* "()"',
    "quotes and brackets": r'root ::= "\"" [\]\[\\"^-]+ "\"" "\t"?',
}

Mask = npt.NDArray[np.bool_]
Accepts = Callable[[Constraint, str], bool]


def walked(pieces: list[bytes]) -> Mask:
    """Tokens that are compared: whole characters, none of them NUL.

    Of a part of a character llama.cpp guesses whether it can become one that is allowed.
    """
    return np.array([bool(p) and b"\0" not in p and _is_utf8(p) for p in pieces])


def digest(allowed: Mask) -> str:
    return hashlib.sha256(np.packbits(allowed).tobytes()).hexdigest()[:8]


def _is_utf8(piece: bytes) -> bool:
    try:
        piece.decode()
    except UnicodeDecodeError:
        return False
    return True
