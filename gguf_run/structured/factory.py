"""Makes constraints for a vocabulary, with llguidance as the engine.

Why llguidance and not XGrammar: see `benchmarks/LOG.md`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

import llguidance as ll

from gguf_run.errors import ModelError
from gguf_run.structured.constraint import Constraint
from gguf_run.structured.gbnf import parse_gbnf
from gguf_run.structured.grammar_limits import check_limits
from gguf_run.structured.json_schema import place_of, read_schema
from gguf_run.structured.lark import write_lark
from gguf_run.structured.lexemes import cut
from gguf_run.structured.negation import InexactError
from gguf_run.structured.replies import ReplyPlan, write_reply
from gguf_run.structured.rewriting import rewritten
from gguf_run.structured.schema_limits import Schema
from gguf_run.structured.schema_limits import check_limits as check_schema_limits
from gguf_run.structured.simplify import simplify
from gguf_run.structured.spelling import Spelling, json_rule
from gguf_run.tokenizer import Tokenizer

MAX_REGEX = 1 << 16

MAX_ITEMS = 400_000
"""Parser items that one mask may take. The engine's own 50,000 are too few where a grammar must be
followed by single characters through a vocabulary of 150,000 tokens."""

_HEADER = '%llguidance {"no_forcing": true}\n'
"""Where one text alone may follow, all tokens that begin it are allowed, not the longest alone."""

_CARET = re.compile(r"regex parse error:\n    (?P<text>.*)\n    (?P<indent> *)\^", re.MULTILINE)

_PREFIX = re.compile(r"^(at \d+\(\d+\): )?(failed to compile JSON schema: )?")


class ConstraintFactory:
    """Constraints for the tokens of one vocabulary.

    Making one reads the whole vocabulary (0.7 s for 150,000 tokens); constraints cost little.

    Args:
        tokenizer: whose tokens are drawn. Control tokens, which have no text, are never allowed.
        n_logits: how many logits a position has.
    """

    def __init__(self, tokenizer: Tokenizer, n_logits: int) -> None:
        self._n_logits = n_logits
        self._eog_ids = tokenizer.eog_ids
        n_tokens = max(tokenizer.n_vocab, n_logits)
        pieces = [
            tokenizer.token_bytes(token, special=False) if token < tokenizer.n_vocab else b""
            for token in range(n_tokens)
        ]
        self._controls = {
            text: token
            for token, piece in enumerate(pieces[: tokenizer.n_vocab])
            if not piece and (text := tokenizer.token_bytes(token).decode(errors="replace"))
        }
        self._tokens = ll.LLTokenizer(ll.TokenizerWrapper(_Vocabulary(pieces, tokenizer)))

    def make(
        self,
        grammar: str | None = None,
        json_schema: Schema | str | None = None,
        regex: str | None = None,
        reply: ReplyPlan | None = None,
    ) -> Constraint:
        """For the one that is given of a GBNF grammar, a JSON schema and a regular expression.

        In a `reply` it binds the content, behind reasoning; none may be given where it has tools.

        Raises:
            ModelError: it is wrong, or more than one is given.
        """
        wanted = {"grammar": grammar, "json_schema": json_schema, "regex": regex}
        given = [name for name, value in wanted.items() if value is not None]
        if len(given) > 1 or not (given or (reply and reply.tools)):
            raise ModelError(
                f"expected one of {', '.join(wanted)}, found {' and '.join(given) or 'none'}"
            )
        what, rules = self._rules(grammar, json_schema, regex) if given else ("tools", None)
        if reply is not None:
            spelling = Spelling(self._controls, self._eog_ids)
            rules = write_reply(reply, spelling, self._read_schema, rules)
        return self._constraint(what, f"{_HEADER}{rules}")

    def from_gbnf(self, grammar: str) -> Constraint:
        """For texts that match the `root` rule of a GBNF grammar.

        Raises:
            ModelError: the grammar is wrong, with line and column, or too large.
        """
        return self.make(grammar=grammar)

    def from_json_schema(self, schema: Mapping[str, Any] | str) -> Constraint:
        """For JSON texts that are valid by a schema, given as data or as JSON text.

        Properties come in the schema's order, the required ones always.

        Raises:
            ModelError: the schema is wrong, asks for what is not supported, or can't be fulfilled,
                with the place as a JSON pointer.
        """
        return self.make(json_schema=schema)

    def from_regex(self, pattern: str) -> Constraint:
        """For texts that match a regular expression (Rust's `regex` syntax) as a whole.

        Raises:
            ModelError: the expression is wrong or too large.
        """
        return self.make(regex=pattern)

    def _rules(
        self, grammar: str | None, json_schema: Schema | str | None, regex: str | None
    ) -> tuple[str, str]:
        """What it is called, and its rules, of which the first is `start`."""
        if grammar is not None:
            return "grammar", _gbnf_rules(grammar)
        if regex is not None:
            return "regex", _regex_rules(regex)
        schema = self._read_schema({} if json_schema is None else json_schema)
        return "JSON schema", f"start: {json_rule(schema)}\n"

    def _read_schema(self, schema: Schema | str) -> Schema:
        data = read_schema(schema)
        error = self._schema_error(data)
        if error:
            raise ModelError(
                f"JSON schema, at {place_of(error, data, self._schema_error)}: expected a schema "
                f"that can be followed, found: {error}"
            )
        return _for_engine(data)

    def _schema_error(self, schema: Schema) -> str:
        try:
            grammar = f"{_HEADER}start: {json_rule(_for_engine(schema))}"
        except InexactError as error:
            return str(error)
        return _reason(ll.LLMatcher.validate_grammar(grammar, self._tokens))

    def _constraint(self, what: str, grammar: str) -> Constraint:
        limits = ll.LLParserLimits(step_max_items=MAX_ITEMS)
        matcher = ll.LLMatcher(self._tokens, grammar, log_level=0, limits=limits)
        if matcher.is_error():
            raise ModelError(_explained(what, matcher.get_error()))
        constraint = Constraint(matcher, self._n_logits, self._eog_ids)
        if not constraint.is_complete:
            constraint.mask()  # Tells now of texts that there are none of.
        return constraint


def _for_engine(schema: Schema) -> Schema:
    """The schema in the engine's keywords; `InexactError` where they can't say it."""
    plain = rewritten(json.loads(json.dumps(schema)))
    check_schema_limits(plain)
    return plain


def _gbnf_rules(grammar: str) -> str:
    parsed = parse_gbnf(grammar)
    simple = simplify(parsed)
    rules = cut(simple)
    check_limits(rules, parsed.lines)
    return write_lark(rules, simple.rules)


def _regex_rules(pattern: str) -> str:
    if len(pattern) > MAX_REGEX:
        raise ModelError(
            f"regex: expected at most {MAX_REGEX} characters, found {len(pattern)}; shorten it"
        )
    rules: str = json.loads(ll.LLMatcher.grammar_from_regex(pattern))["grammars"][0]["lark_grammar"]
    return rules


def _explained(what: str, error: str) -> str:
    """The engine's error: its reason, and for a regular expression the column."""
    place = ""
    caret = _CARET.search(error)
    if caret is not None:
        place = f", line 1, column {len(caret['indent']) + 1}"
    return f"{what}{place}: expected one that can be followed, found: {_reason(error)}"


def _reason(error: str) -> str:
    """The engine's reason alone: its errors go on with the place in its own notation."""
    if "'coerce_one_of'" in error:
        return "a oneOf whose schemas may hold at once; make them exclude each other, or use anyOf"
    in_regex = [line for line in error.split("\n") if line.startswith("error: ")]
    if in_regex:
        return in_regex[0].removeprefix("error: ")
    return _PREFIX.sub("", error.split("\n", 1)[0])


class _Vocabulary:
    """A vocabulary as the engine asks for it."""

    bos_token_id = None

    def __init__(self, pieces: list[bytes], tokenizer: Tokenizer) -> None:
        # The engine wants one token that ends a text; all that do are treated in `Constraint`.
        self.tokens = [*pieces, b"<end>"]
        self.eos_token_id = len(pieces)
        self.special_token_ids = [len(pieces)]
        self._tokenizer = tokenizer

    def __call__(self, text: str) -> list[int]:
        return self._tokenizer.encode(text, add_special=False)
