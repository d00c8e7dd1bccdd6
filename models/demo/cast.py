"""People and things of a story, and the forms in which sentences name them.

Slots by letter: a hero, b and d friends, c a small creature, k a grown-up, m an elder of the
hero's family, x whoever helps in this plot; p q r places, o toy, f food, v something that breaks,
w treasure, g gift, n plant, j skill; "when" opens the plot.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from random import Random

from .grammar import read_sections

Noun = dict[str, str]
"""Forms of one noun: "a" (first mention), "name" (every later one), "he", "his", "walked", ..."""

PRONOUNS: dict[str, Noun] = {
    "f": {"he": "she", "him": "her", "his": "her", "himself": "herself"},
    "m": {"he": "he", "him": "him", "his": "his", "himself": "himself"},
    "it": {"he": "it", "him": "it", "his": "its", "himself": "itself"},
}
WALKED = ("walked", "walked", "ran", "went", "hurried")
CHILD_HOMES = (
    "in a little house",
    "in a small house by the river",
    "in a red house at the end of the road",
    "in a big city",
    "in a small village",
    "in a little town",
    "on a farm",
    "near the forest",
    "by the sea",
)
ANIMAL_HOMES = (
    "in the forest",
    "in a hole under an old tree",
    "in a little house in the woods",
    "in a cave",
    "in the tall grass",
    "near a pond",
    "on a farm",
    "behind an old barn",
    "at the foot of a hill",
    "in a big garden",
)
ADULT_TRAITS = ("old", "kind", "friendly", "strong", "young", "clever")
CREATURE_TRAITS = ("tiny", "little", "small", "young", "baby")


def _split(lines: Iterable[str]) -> tuple[str, ...]:
    return tuple(item.strip() for line in lines for item in line.split(",") if item.strip())


WORDS = {section.name: _split(section.lines) for section in read_sections("words.txt")}


def _thing(entry: str, traits: tuple[str, ...] = ()) -> Callable[[Random], Noun]:
    """Forms of "indefinite > definite", "*" after plurals, or of a bare noun with its traits."""
    plural = entry.endswith("*")
    first, _, later = entry.rstrip("* ").partition(" > ")
    them, was, be = ("them", "were", "are") if plural else ("it", "was", "is")
    they = "they" if plural else "it"

    def make(rng: Random) -> Noun:
        trait = rng.choice(traits) + " " if traits and rng.random() < 0.7 else ""
        a, the = (first, later) if later else (f"a {trait}{entry}", f"the {entry}")
        noun = the.removeprefix("the ")
        forms = {"a": a, "name": the, "noun": noun}
        return forms | {"they": they, "it": them, "was": was, "is": be}

    return make


def _place(entry: str) -> Noun:
    the = entry[entry.index("the ") :]
    return {"a": the, "name": the, "at": entry}


THINGS: dict[str, tuple[Callable[[Random], Noun], ...]] = {
    "o": tuple(_thing(entry, WORDS["toy_traits"]) for entry in WORDS["toys"]),
    "f": tuple(_thing(entry) for entry in WORDS["foods"]),
    "v": tuple(_thing(entry) for entry in WORDS["breakables"]),
    "w": tuple(_thing(entry) for entry in WORDS["treasures"]),
}


class Cast:
    """Who and what is in one story. Each is drawn when a sentence first names it."""

    def __init__(self, rng: Random, helper: str, when: str) -> None:
        self._rng = rng
        self._helper = helper
        self._nouns: dict[str, Noun] = {"when": {"a": when, "name": when}}
        self._mentioned: set[str] = set()
        self._taken: set[str] = set()
        self._child = rng.random() < 0.55

    def form(self, who: str, form: str) -> str:
        """The form of `who`. No form: the indefinite one at first, the name later."""
        who = self._helper if who == "x" else who
        noun = self._nouns.get(who)
        if noun is None:
            noun = self._nouns[who] = self._draw(who)
        if form in ("", "a", "name", "Is"):
            form = form or ("name" if who in self._mentioned else "a")
            self._mentioned.add(who)
        return noun[form]

    def _draw(self, who: str) -> Noun:
        rng = self._rng
        if who in THINGS:
            return rng.choice(THINGS[who])(rng)
        if who in ("p", "q", "r"):
            return _place(self._fresh(WORDS["places"]))
        if who == "g":
            gift = rng.choice(WORDS["gifts"])
            return {"a": gift, "name": gift}
        if who == "n":
            plant, fruit = rng.choice(WORDS["plants"]).split(" > ")
            return {"a": plant, "name": plant, "fruit": fruit}
        if who == "j":
            skill, doing = rng.choice(WORDS["skills"]).split(" > ")
            return {"a": skill, "name": skill, "ing": doing}
        if who == "m":
            return self._elder()
        if who == "k":
            return self._adult()
        if who == "c":
            return self._animal(WORDS["creatures"], CREATURE_TRAITS, "it", named=False)
        if self._child and (who == "a" or rng.random() < 0.6):
            return self._make_child()
        gender = rng.choice("fm")
        return self._animal(WORDS["animals"], WORDS["animal_traits"], gender, rng.random() < 0.7)

    def _fresh(self, words: tuple[str, ...]) -> str:
        """A word that this story does not use yet."""
        while (word := self._rng.choice(words)) in self._taken:
            pass
        self._taken.add(word)
        return word

    def _make_child(self) -> Noun:
        gender = self._rng.choice("fm")
        name = self._fresh(WORDS["girls" if gender == "f" else "boys"])
        noun = "girl" if gender == "f" else "boy"
        trait = self._rng.choice(WORDS["child_traits"])
        return self._person(name, f"a {trait} {noun}", gender, self._rng.choice(CHILD_HOMES))

    def _animal(
        self, entries: tuple[str, ...], traits: tuple[str, ...], gender: str, named: bool
    ) -> Noun:
        rng = self._rng
        entry = rng.choice(entries)
        while entry.partition(":")[0] in self._taken:
            entry = rng.choice(entries)
        noun, _, walked = entry.partition(":")
        self._taken.add(noun)
        kind = f"a {rng.choice(traits)} {noun}"
        home = rng.choice(ANIMAL_HOMES)
        if named:
            person = self._person(self._fresh(WORDS["pets"]), kind, gender, home)
        else:
            person = PRONOUNS[gender] | {"a": kind, "name": f"the {noun}", "home": home}
            person |= {"call": f"Little {noun.capitalize()}", "Is": f"there was {kind}"}
        return person | {"walked": walked or rng.choice(WALKED)}

    def _person(self, name: str, kind: str, gender: str, home: str) -> Noun:
        first = f"{kind} named {name}" if self._rng.random() < 0.8 else f"{kind} called {name}"
        forms = {"a": first, "name": name, "call": name, "home": home, "Is": f"{name} was {kind}"}
        return PRONOUNS[gender] | forms | {"walked": self._rng.choice(WALKED)}

    def _elder(self) -> Noun:
        *noun, gender, call = self._rng.choice(WORDS["family"]).split()
        name = f"{self.form('a', 'his')} {' '.join(noun)}"
        return PRONOUNS[gender] | {"a": name, "name": name, "call": call}

    def _adult(self) -> Noun:
        noun, _, gender = self._rng.choice(WORDS["adults"]).rpartition(" ")
        if gender == "*":
            gender = self._rng.choice("fm")
        trait = self._rng.choice(ADULT_TRAITS) + " " if " " not in noun else ""
        return PRONOUNS[gender] | {"a": f"a {trait}{noun}", "name": f"the {noun}"}
