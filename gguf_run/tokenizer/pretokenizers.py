"""How text is cut into words before BPE merges: every `tokenizer.ggml.pre` that llama.cpp knows.

A pre-tokenizer is a list of cuts. Each cut is a regular expression (Oniguruma's syntax) run over
every piece that the cuts before it left; its matches and the text between them are the next pieces.
The expressions are those of the models' own `tokenizer.json`, as llama.cpp 0c1e57098 applies them:
what is inside `\\p{L}`, `\\p{M}`, `\\p{N}`, `\\p{P}` and `\\p{S}` is Unicode 15.1's.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from gguf_run.errors import ModelError

# Characters that Unicode 16 assigned, whole runs with the gaps that are still unassigned. The
# regular expression library knows them; llama.cpp's tables end with Unicode 15.1.
_UNICODE_16 = """
897 1b4e-1b4f 1b7f 1c89-1c8a 2427-2429 31e4-31e5 a7cb-a7cd a7da-a7dc 105c0-105f3 10d40-10d8f
10ec2-10efc 11380-113e2 116d0-116e3 11bc0-11bf9 11f5a 13460-143fa 16100-16139 16d40-16d79 18cff
1cc00-1ceb3 1e5d0-1e5ff 1f8b2-1f8c1 1fa89-1fa8f 1fabe 1fac6 1fadc-1fadf 1fae9 1fbcb-1fbef
"""


def _code_points(ranges: str) -> str:
    """`41-5a 61` as the inside of a character class."""
    return "".join("-".join(f"\\x{{{end}}}" for end in item.split("-")) for item in ranges.split())


_TOO_NEW = _code_points(_UNICODE_16)


@dataclass(frozen=True, slots=True)
class Cut:
    """One pass over the pieces: where `pattern` matches, cut; `join` says what the match sticks to.

    `join` is a behaviour of `tokenizers.pre_tokenizers.Split`: `isolated`, `merged_with_previous`
    or `merged_with_next`.
    """

    pattern: str
    join: str = "isolated"

    def regex(self) -> str:
        """The pattern with its Unicode categories cut down to Unicode 15.1."""
        return re.sub(
            r"\\p\{([LMNPS])\}", lambda m: rf"[\p{{{m[1]}}}&&[^{_TOO_NEW}]]", self.pattern
        )


@dataclass(frozen=True, slots=True)
class PreTokenizer:
    """A family's way of cutting text, and the defaults that go with it.

    Attributes:
        cuts: passes over the text, in order.
        ignore_merges: a word that is a token stays whole, whatever the merges say.
        add_bos: BOS goes first unless the file says otherwise.
        force_bos: BOS goes first whatever the file says.
        add_sep: a separator goes between the two texts of a pair.
        default_bos: id 11 is BOS (GPT-2's heritage) where the file names none.
        raw: tokens are plain UTF-8 with `<0xXX>` for stray bytes, not GPT-2's byte alphabet.
        escape_spaces: spaces are written as U+2581.
        newline_tokens: a run of newlines that is a token stays whole.
    """

    cuts: tuple[Cut, ...]
    ignore_merges: bool = False
    add_bos: bool = False
    force_bos: bool = False
    add_sep: bool = False
    default_bos: bool = True
    raw: bool = False
    escape_spaces: bool = False
    newline_tokens: bool = False


_SHORT = r"'(?:[sdmt]|ll|ve|re)"
_SHORT_ANY_CASE = r"'(?:[sdmtSDMT]|[lL][lL]|[vV][eE]|[rR][eE])"
_LINES = r"\s*[\r\n]+"
_SPACES = r"\s+(?!\S)|\s+"
_MARKS = r" ?[^\s\p{L}\p{N}]+[\r\n]*"
_WORD = r"[^\r\n\p{L}\p{N}]?\p{L}+"
_ASCII_MARK = r"[!-/:-@\[-`{-~]"
_DIGIT = Cut(r"\p{N}")
_DIGITS = Cut(r"\p{N}+")
_DIGITS_3 = Cut(r"\p{N}{1,3}")
_NEWLINES = Cut(r"\n+")

_GPT2 = Cut(rf"{_SHORT}| ?\p{{L}}+| ?\p{{N}}+| ?[^\s\p{{L}}\p{{N}}]+|{_SPACES}")


def _llama3(numbers: str, spaces: str = _SPACES) -> Cut:
    """Llama 3's expression, with its own way of taking digits."""
    return Cut(rf"{_SHORT_ANY_CASE}|{_WORD}|{numbers}|{_MARKS}|{_LINES}|{spaces}")


_LLAMA3 = _llama3(r"\p{N}{1,3}")
_QWEN2 = _llama3(r"\p{N}")

_JAIS2_SPACES = "|".join(
    [*(rf"\s{{{n}}}(?!\S)" for n in (512, 256, 128, 64, 32, 16, 8, 4)), r"\s{1,2}(?!\S)", r"\s"]
)

_QWEN35 = Cut(
    rf"{_SHORT_ANY_CASE}|[^\r\n\p{{L}}\p{{N}}]?[\p{{L}}\p{{M}}]+|\p{{N}}"
    rf"| ?[^\s\p{{L}}\p{{M}}\p{{N}}]+[\r\n]*|{_LINES}|{_SPACES}"
)


def _cased(letters: str, upper: str, lower: str, suffix: str, numbers: str) -> Cut:
    """GPT-4o's and Tekken's expression: words end where capitals begin anew.

    llama.cpp takes every letter outside a-z for a capital and every one outside A-Z for a small
    letter, which is what `upper` and `lower` are for.
    """
    big, small = f"[{letters}&&{upper}]", f"[{letters}&&{lower}]"
    lead = r"[^\r\n\p{L}\p{N}]?"
    return Cut(
        rf"{lead}{big}*{small}+{suffix}|{lead}{big}+{small}*{suffix}|{numbers}"
        rf"| ?[^\s\p{{L}}\p{{N}}]+[\r\n/]*|{_LINES}|{_SPACES}"
    )


_CONTRACTED = f"(?:{_SHORT_ANY_CASE})?"
_TEKKEN = _cased(r"\p{L}", "[^a-z]", "[^A-Z]", "", r"\p{N}")
_GPT4O = _cased(r"\p{L}", "[^a-z]", "[^A-Z]", _CONTRACTED, r"\p{N}{1,3}")
_GRANITE_MULTI = _cased(r"[\p{L}\p{M}]", "[^a-z]", "[^A-Z]", _CONTRACTED, r"\p{N}{1,3}")
_ANY_CASE = r"[\p{L}\p{M}]"
_TINY_AYA = _cased(_ANY_CASE, _ANY_CASE, _ANY_CASE, _CONTRACTED, r"\p{N}{1,3}")
_YOUTU = _cased(_ANY_CASE, _ANY_CASE, _ANY_CASE, _CONTRACTED, r"\p{N}")

# Digits in threes counted from the right; the first group keeps the text before it.
_DIGITS_FROM_RIGHT = Cut(
    r"(?<=\p{N})\p{N}{3}|\p{N}{1,3}(?=(?:\p{N}{3})*(?!\p{N}))", "merged_with_previous"
)
# The same for ASCII digits; a group keeps the text after it.
_SUPER_DIGITS = Cut(r"(?<=[0-9])\G[0-9]{3}|[0-9]{3}(?=(?:[0-9]{3})*(?![0-9]))", "merged_with_next")

_CJK_KANA = Cut(r"[\x{4e00}-\x{9fa5}\x{3040}-\x{30ff}]+")
_CJK_HANGUL = Cut(r"[[\x{4e00}-\x{9fa5}\x{800}-\x{4e00}\x{ac00}-\x{d7ff}]&&[^\s]]+")
_DEEPSEEK3_WORDS = (
    rf"{_ASCII_MARK}[A-Za-z]+|[^\r\n\p{{L}}\p{{P}}\p{{S}}]?[\p{{L}}\p{{M}}]+| ?[\p{{P}}\p{{S}}]+"
)
_DEEPSEEK3 = Cut(rf"{_DEEPSEEK3_WORDS}[\r\n]*|{_LINES}|{_SPACES}")

_DEEPSEEK_LETTERS = _code_points("""
41-5a 61-7a b5 c0-d6 d8-f6 f8-1ba 1bc-1bf 1c4-293 295-2af 370-373 376 377 37b-37d 37f 386 388-38a
38c 38e-3a1 3a3-3f5 3f7-481 48a-52f 531-556 10a0-10c5 13a0-13f5 13f8-13fd 1c90-1cba 1cbd-1cbf
1d00-1d2b 1d6b-1d77 1d79-1d9a 1e00-1f15 1f18-1f1d 1f20-1f45 1f48-1f4d 1f50-1f57 1f59 1f5b 1f5d
1f5f-1f7d 1f80-1fb4 1fb6-1fbc 1fbe 1fc2-1fc4 1fc6-1fcc 1fd0-1fd3 1fd6-1fdb 1fe0-1fec 1ff2-1ff4
1ff6-1ffc 2102 2107 210a-2113 2115 2119-211d 2124 2126 2128 212a-212d 212f-2134 2139 213c-213f
2145-2149 214e 2183 2184 2c00-2c7b 2c7e-2ce4 2ceb-2cee 2cf2 2cf3 a640-a66d a680-a69b a722-a76f
a771-a787 a78b-a78e ab70-abbf fb00-fb06 fb13-fb17 ff21-ff3a ff41-ff5a 10400-1044f 104b0-104d3
104d8-104fb 10c80-10cb2 10cc0-10cf2 118a0-118df 1e900-1e943
""")

_HAN = _code_points("""
4e00-9fff 3400-4dbf 20000-2a6df 2a700-2b73f 2b740-2b81f 2b820-2ceaf 2ceb0-2ebef f900-faff
2f800-2fa1f
""")
_ASIAN = _code_points("""
4e00-9fff 3400-4dbf 8c48-faff 3040-309f 30a0-30ff ff65-ff9f 2f00-2fdf e40-e7f e80-eff 1780-17ff
1000-109f aa60-aa7f a9e0-a9ff ac00-d7af 1100-11ff
""")
_YOUTU_SCRIPTS = Cut(
    r"[\x{ac00}-\x{d7a3}\x{3131}-\x{318e}]+"
    r"|[\x{ff01}\x{2026}\x{201c}\x{201d}\x{2018}\x{2019}\x{2014}\x{ff1a}\x{ff1b}\x{ff0c}"
    r"\x{3001}-\x{303f}\x{fe30}-\x{fe4f}]+"
    r"|[\x{3105}-\x{312f}]+|[\x{4e00}-\x{9fa5}\x{3040}-\x{30ff}]+"
)
_BLOOM = Cut(r" ?[^(\s|.,!?\x{2026}\x{3002}\x{ff0c}\x{3001}\x{964}\x{6d4}\x{60c})]+")
_EXAONE_PHRASE = r"[^\r\n\p{L}\p{N}]?(?:\p{L}\p{M}*(?: \p{L}\p{M}*)*)+"
_KIMI_K2 = Cut(
    rf"[{_HAN}]+|[^\r\n\p{{L}}\p{{N}}]?[\p{{L}}&&[^{_HAN}]]+{_CONTRACTED}"
    rf"|\p{{N}}{{1,3}}|{_MARKS}|{_LINES}|{_SPACES}"
)
_FALCON_MARKS = r"[\p{P}$+<=>^~|`]+"
_GEMMA4 = PreTokenizer(
    (_NEWLINES,), force_bos=True, raw=True, escape_spaces=True, newline_tokens=True
)

_FAMILIES: tuple[tuple[str, PreTokenizer], ...] = (
    (
        "default",
        PreTokenizer((Cut(r"[\p{P}$+<=>^~|]+"), _GPT2, _DIGITS, Cut(r"[0-9][0-9][0-9]"))),
    ),
    (
        "llama3 llama-v3 llama-bpe falcon3 falcon-h1 pixtral midm-2.0 lfm2 jina-v5-nano",
        PreTokenizer((_LLAMA3,), ignore_merges=True, add_bos=True),
    ),
    ("minicpm5", PreTokenizer((_DIGITS_3, _llama3(r"\p{N}+")), ignore_merges=True)),
    ("dbrx smaug-bpe", PreTokenizer((_LLAMA3,))),
    ("jais-2", PreTokenizer((_llama3(r"\p{N}{1,3}", _JAIS2_SPACES),))),
    ("chatglm-bpe", PreTokenizer((_LLAMA3,), default_bos=False)),
    ("glm4 glm5", PreTokenizer((_LLAMA3,), ignore_merges=True, default_bos=False)),
    (
        "qwen2 deepseek-r1-qwen kormo f2llmv2 megrez stablelm2 hunyuan solar-open grok-2",
        PreTokenizer((_QWEN2,)),
    ),
    ("qwen35", PreTokenizer((_QWEN35,))),
    ("laguna", PreTokenizer((_NEWLINES, _QWEN2))),
    ("ufakzeka", PreTokenizer((Cut(rf"{_WORD}|\p{{N}}|{_MARKS}|{_LINES}|{_SPACES}"),))),
    (
        "seed-coder",
        PreTokenizer(
            (
                Cut(
                    rf"{_SHORT_ANY_CASE}|{_WORD}|\p{{N}}| ?[^\s\p{{L}}\p{{N}}\r\n]+"
                    rf"|{_LINES}|{_SPACES}"
                ),
            )
        ),
    ),
    (
        "bailingmoe bailingmoe2 llada-moe",
        PreTokenizer((Cut(rf"{_SHORT_ANY_CASE}|{_WORD}|\p{{N}}|{_MARKS}|\s*[\r\n]|{_SPACES}"),)),
    ),
    (
        "exaone-moe",
        PreTokenizer(
            (
                Cut(
                    rf"{_SHORT_ANY_CASE}|{_EXAONE_PHRASE}|\p{{N}}"
                    rf"| ?[^\s\p{{L}}\p{{N}}]+[\r\n/]?|\s*[\r\n]|{_SPACES}"
                ),
            )
        ),
    ),
    (
        "gpt-2 phi-2 jina-es jina-de jina-v2-es jina-v2-de gigachat a.x-4.0 mellum modern-bert"
        " exaone4 mpt olmo jais trillion granite-docling",
        PreTokenizer((_GPT2,)),
    ),
    ("jina-v1-en jina-v2-code roberta-bpe", PreTokenizer((_GPT2,), add_sep=True)),
    (
        "starcoder refact command-r smollm codeshell exaone minerva-7b mellum2",
        PreTokenizer((_DIGIT, _GPT2)),
    ),
    ("falcon", PreTokenizer((Cut(_FALCON_MARKS), _GPT2, Cut(r"[0-9][0-9][0-9]")))),
    (
        "chameleon",
        PreTokenizer(
            (
                Cut(r"<sentinel:[0-9]+>"),
                Cut(r"IMGIMG[A-I]{1,4}Z"),
                Cut(r"[\t\n]|    |  "),
                _DIGIT,
                Cut(r"[\p{P}!-/:-@\[-`{-~]"),
                _GPT2,
            ),
            add_bos=True,
        ),
    ),
    (
        "deepseek-llm",
        PreTokenizer(
            (
                Cut(r"[\r\n]"),
                Cut(rf"\s?[{_DEEPSEEK_LETTERS}]+"),
                Cut(
                    r"\s?[!-/:-~\x{ff01}-\x{ff0f}\x{ff1a}-\x{ff5e}\x{2018}-\x{201f}\x{3001}\x{3002}]+"
                ),
                Cut(r"(?<!\s)\s+\z"),
                _CJK_HANGUL,
                _DIGITS,
            )
        ),
    ),
    (
        "deepseek-coder",
        PreTokenizer((Cut(r"[\r\n]"), Cut(r"\s?\p{L}+"), Cut(r"\s?\p{P}+"), _CJK_HANGUL, _DIGIT)),
    ),
    (
        "deepseek-v3 hunyuan-dense joyai-llm hy_v4",
        PreTokenizer((_DIGITS_3, _CJK_KANA, _DEEPSEEK3)),
    ),
    (
        "spark2_5",
        PreTokenizer((_DIGITS_3, _CJK_KANA, Cut(rf"{_DEEPSEEK3_WORDS}|[\r\n]|{_SPACES}"), _DIGIT)),
    ),
    ("afmoe", PreTokenizer((_DIGITS_FROM_RIGHT, Cut(rf"[{_ASIAN}]+"), _DEEPSEEK3))),
    ("tekken", PreTokenizer((_TEKKEN,), ignore_merges=True, add_bos=True)),
    ("gpt-4o llama4 kanana2 talkie minimax-m2", PreTokenizer((_GPT4O,))),
    ("granite-embed-multi-97m", PreTokenizer((_GRANITE_MULTI,), ignore_merges=True)),
    ("tiny_aya cohere2moe", PreTokenizer((_DIGITS_FROM_RIGHT, _TINY_AYA))),
    ("youtu", PreTokenizer((_YOUTU_SCRIPTS, _YOUTU), ignore_merges=True)),
    ("kimi-k2", PreTokenizer((_KIMI_K2,))),
    ("superbpe", PreTokenizer((_DIGITS, _SUPER_DIGITS))),
    ("poro-chat bloom gpt3-finnish", PreTokenizer((_BLOOM,))),
    ("viking", PreTokenizer((_BLOOM, _DIGIT))),
    ("gemma4 granite-embed-multi-311m", _GEMMA4),
    ("sarvam-moe", PreTokenizer((_NEWLINES,), raw=True, escape_spaces=True)),
    ("whitespace", PreTokenizer((Cut(r"\S+"),), raw=True)),
)

PRE_TOKENIZERS: dict[str, PreTokenizer] = {
    name: family for names, family in _FAMILIES for name in names.split()
}


def pre_tokenizer(name: str, source: str) -> PreTokenizer:
    """The pre-tokenizer of that `tokenizer.ggml.pre`; `source` names the file in errors.

    Raises:
        ModelError: no such pre-tokenizer is known.
    """
    if name not in PRE_TOKENIZERS:
        raise ModelError(
            f"{source}: key tokenizer.ggml.pre: {name!r} is no pre-tokenizer that gguf-run knows; "
            "a newer gguf-run may, or convert the model again with a pre-tokenizer out of: "
            + ", ".join(sorted(PRE_TOKENIZERS))
        )
    return PRE_TOKENIZERS[name]
