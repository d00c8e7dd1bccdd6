"""The stories that the demo model learns from: right, varied, and the same on every machine."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from pathlib import Path
from random import Random
from types import SimpleNamespace

import pytest

MODELS = Path(__file__).parents[1] / "models"


@pytest.fixture(scope="module")
def demo() -> Iterator[SimpleNamespace]:
    """The modules beside the model, which are no part of the package."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(MODELS))
        from demo import cast, corpus, grammar

        yield SimpleNamespace(cast=cast, corpus=corpus, grammar=grammar)


@pytest.fixture(scope="module")
def texts(demo: SimpleNamespace) -> list[str]:
    return list(demo.corpus.stories(7, 0, 2000))


def test_a_story_depends_on_its_seed_and_number_alone(
    demo: SimpleNamespace, texts: list[str]
) -> None:
    assert demo.corpus.story(7, 123) == texts[123]
    assert list(demo.corpus.stories(7, 100, 3)) == texts[100:103]
    assert demo.corpus.story(8, 123) != texts[123]


def test_stories_are_the_same_on_every_python_and_machine(texts: list[str]) -> None:
    digest = hashlib.sha256("\0".join(texts).encode()).hexdigest()
    assert digest == "98ca4c3c9292fc52e2928cd0ca1e1c9015c34bd581af9b7d1b803b513857ee2c", (
        "the grammar changed: models/demo.gguf must be trained again (models/README.md)"
    )


def test_no_two_stories_are_the_same(texts: list[str]) -> None:
    assert len(set(texts)) == len(texts)


def test_every_plot_is_told(demo: SimpleNamespace) -> None:
    plots = demo.corpus.PLOTS
    assert len({plot.name for plot in plots}) == len(plots) >= 15
    assert all(len(plot.beats) >= 6 for plot in plots)


def test_every_sentence_of_the_grammar_can_be_filled(demo: SimpleNamespace) -> None:
    corpus, grammar = demo.corpus, demo.grammar
    everything = [(plot.helper, beat) for plot in corpus.PLOTS for beat in plot.beats]
    everything += [("b", rule) for rule in corpus.RULES.values()]
    for helper, templates in everything:
        for template in templates:
            for seed in range(20):
                rng = Random(f"fill/{seed}")
                cast = demo.cast.Cast(rng, helper, "one day")
                text = grammar.polish(grammar.expand(template, corpus.RULES, rng, cast))
                assert not re.search(r"[\[\]|<>{}^]", text), text


def test_stories_start_with_a_capital_and_end_with_a_full_stop(texts: list[str]) -> None:
    assert not [text for text in texts if not re.match(r'"?[A-Z]', text)]
    assert not [text for text in texts if not re.search(r'[.!?]"?\Z', text)]


def test_every_sentence_starts_with_a_capital(texts: list[str]) -> None:
    assert not [hit for text in texts for hit in re.findall(r'(?:[.!?]|\.")\s+"?[a-z]\w*', text)]


def test_spaces_and_signs_are_in_their_places(texts: list[str]) -> None:
    wrong = re.compile(r"  | [.,!?]|[.,!?][A-Za-z]|\.\.|,\.| \n|\n |\n\n\n|[^\n]\n[^\n]")
    assert not [hit for text in texts for hit in wrong.findall(text)]
    assert all(text.isascii() for text in texts)


def test_what_is_said_stands_between_quotation_marks(texts: list[str]) -> None:
    assert not [text for text in texts if text.count('"') % 2]
    spoken = [part for text in texts for part in text.split('"')[1::2]]
    assert not [part for part in spoken if part[-1] not in ".,!?"]
    # Speech that starts small goes on after a comma: "Yes," he said, "and you, too."
    assert not [hit for text in texts for hit in re.findall(r'(?<!,) "[a-z]\w*', text)]


def test_an_stands_before_vowels_and_a_before_the_rest(texts: list[str]) -> None:
    assert not [hit for text in texts for hit in re.findall(r"\b[Aa] [aeiou]\w*", text)]
    assert not [hit for text in texts for hit in re.findall(r"\b[Aa]n [^aeiou\W]\w*", text)]


def test_pronouns_of_a_person_agree(demo: SimpleNamespace) -> None:
    for seed in range(200):
        cast = demo.cast.Cast(Random(seed), "b", "one day")
        forms = tuple(cast.form("a", form) for form in ("he", "him", "his", "himself"))
        assert forms in {("she", "her", "her", "herself"), ("he", "him", "his", "himself")}
        kind = cast.form("a", "a")
        assert not (" girl " in kind and forms[0] == "he"), kind
        assert not (" boy " in kind and forms[0] == "she"), kind
        assert cast.form("m", "name").startswith(forms[2] + " ")


def test_a_friend_is_introduced_once_then_called_by_name(demo: SimpleNamespace) -> None:
    for seed in range(200):
        cast = demo.cast.Cast(Random(seed), "b", "one day")
        first, second = cast.form("b", ""), cast.form("b", "")
        assert first.startswith("a ")
        assert second == cast.form("b", "name") != first


def test_nobody_in_a_story_shares_a_name(demo: SimpleNamespace) -> None:
    for seed in range(200):
        cast = demo.cast.Cast(Random(seed), "b", "one day")
        assert len({cast.form(who, "name") for who in "abdckm"}) == 6


@pytest.mark.parametrize("template", ["[red|blue", "red]", "red|blue", "[[red]"])
def test_a_template_with_loose_brackets_is_refused(demo: SimpleNamespace, template: str) -> None:
    with pytest.raises(ValueError, match="brackets or bars that do not match"):
        demo.grammar.parse(template)
