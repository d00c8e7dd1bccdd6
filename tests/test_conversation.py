"""Chats from Python: answers taken apart, and earlier turns that are not computed again."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from chat_model import write_chat_model

from gguf_run import Conversation, Model, ModelError
from gguf_run.answer import Answer
from gguf_run.chat import ChatTemplate
from gguf_run.state_file import save_state

USER = {"role": "user", "content": "and the"}


@pytest.fixture
def model(tiny_chat: Path) -> Iterator[Model]:
    with Model(tiny_chat, device="cpu", n_ctx=500) as model:
        yield model


def read(answer: Answer) -> str:
    return "".join(chunk.text for chunk in answer)


def test_a_chat_goes_on_from_the_rendered_messages(model: Model) -> None:
    prompt = model.chat_template.render([USER])
    ids = model.tokenizer.encode(prompt, add_special=False, parse_special=True)
    expected = list(model.generate([1, *ids], 12, temperature=0, ignore_eos=True))
    found = list(model.chat([USER], max_tokens=12, temperature=0, ignore_eos=True))
    assert [c.token for c in found] == [c.token for c in expected]
    assert [c.finish_reason for c in found] == [None] * 11 + ["length"]


def test_an_answer_joins_to_its_message(model: Model) -> None:
    answer = model.chat([USER], max_tokens=8, seed=2, ignore_eos=True)
    text = read(answer)
    assert answer.message == {"role": "assistant", "content": text}
    assert answer.finish_reason == "length"


@pytest.mark.parametrize("n_answer", [1, 7, 20])
def test_the_next_turn_evaluates_what_is_new_alone(model: Model, n_answer: int) -> None:
    talk = Conversation(model, system="be")
    options = {"temperature": 2.0, "ignore_eos": True}
    for turn in range(3):
        held = len(talk.messages) > 1
        answer = talk.send("the an", n_answer, seed=turn, **options)
        list(answer)
        timings = answer.timings
        # The last token drawn has not been evaluated; BOS and the system message came first.
        new = "<|im_end|>\n<|im_start|>user\nthe an<|im_end|>\n<|im_start|>assistant\n"
        n_new = len(model.tokenize(new, add_special=False, parse_special=True))
        if held:
            assert timings.n_prompt - timings.n_cached == n_new + 1


def test_reusing_the_cache_changes_nothing(tiny_chat: Path) -> None:
    """As a model which computes the very same tokens anew."""
    with Model(tiny_chat, device="cpu", n_ctx=400) as model:
        talk = Conversation(model)
        turns = [list(talk.send(text, 9, temperature=0)) for text in ("the", "an and", "win")]
        ids = talk._cache.past.tokens[:]
        logprobs = [c.logprob for c in turns[-1]]
        n = len(turns[-1])
        anew = list(model.generate(ids[: len(ids) - n], n, temperature=0))
    assert [c.logprob for c in anew] == pytest.approx(logprobs, abs=1e-4)


def test_a_changed_history_goes_back_to_what_is_common(model: Model) -> None:
    talk = Conversation(model, system="the and an in")
    list(talk.send("first", 5, seed=1))
    list(talk.send("second", 5, seed=1))
    talk.messages[1]["content"] = "other"
    answer = talk.regenerate(5, seed=1)
    next(answer)
    shared = model.chat_template.render(talk.messages[:1], add_generation_prompt=False)
    n_shared = len(model.tokenize(shared, parse_special=True))
    assert n_shared < answer.timings.n_cached < answer.timings.n_prompt


def test_a_chat_without_a_conversation_reuses_as_well(model: Model) -> None:
    messages = [USER]
    first = model.chat(messages, max_tokens=4, seed=1)
    list(first)
    again = model.chat([*messages, first.message, USER], max_tokens=4, seed=1)
    list(again)
    assert first.timings.n_cached == 0
    assert again.timings.n_cached > first.timings.n_prompt


def test_a_kept_chat_makes_room_for_other_work(model: Model) -> None:
    talk = Conversation(model)
    list(talk.send("the", 200, seed=1, ignore_eos=True))
    list(model.generate([1] * 400, 50, ignore_eos=True))
    answer = talk.send("an", 3)
    list(answer)
    assert answer.timings.n_cached == 0


def test_regenerating_takes_the_last_answer_back(model: Model) -> None:
    talk = Conversation(model)
    list(talk.send("the", 5, temperature=0))
    before = list(talk.messages)
    answer = talk.regenerate(5, temperature=0)
    list(answer)
    assert talk.messages == before
    assert answer.timings.n_cached == answer.timings.n_prompt - 1
    with pytest.raises(ModelError, match="none yet"):
        Conversation(model, "be").regenerate()


def test_an_answer_that_is_cut_short_stays_as_far_as_it_came(model: Model) -> None:
    talk = Conversation(model)
    answer = talk.send("the", seed=1, ignore_eos=True)
    pieces = [next(answer).text for _ in range(5)]
    talk.reset()
    assert talk.messages == []
    assert "".join(pieces).strip() in answer.message["content"]


def test_reset_keeps_the_system_message(model: Model) -> None:
    talk = Conversation(model, system="be")
    list(talk.send("the", 2))
    talk.reset()
    assert talk.messages == [{"role": "system", "content": "be"}]
    talk.system = "other"
    assert talk.system == "other"
    talk.system = None
    assert talk.messages == []


def test_what_does_not_fit_leaves_the_messages_as_they_were(model: Model) -> None:
    talk = Conversation(model)
    with pytest.raises(ModelError, match="raise n_ctx"):
        talk.send("the " * 1000)
    assert talk.messages == []


def test_a_saved_conversation_goes_on_with_its_tokens(model: Model, tmp_path: Path) -> None:
    talk = Conversation(model, system="be")
    list(talk.send("the", 9, temperature=3.0, seed=5, ignore_eos=True))
    talk.save(tmp_path / "chat.json")
    tokens = list(talk._cache.past.tokens)
    expected = [c.token for c in talk.send("an", 9, temperature=0)]
    restored = Conversation(model)
    restored.load(tmp_path / "chat.json")
    answer = restored.send("an", 9, temperature=0)
    assert [c.token for c in answer] == expected
    assert restored.messages == talk.messages
    assert restored._cache.past.tokens[: len(tokens)] == tokens


@pytest.mark.parametrize(
    "content",
    [
        "no json",
        "[]",
        json.dumps({"format": "gguf-run conversation", "version": 2}),
        json.dumps({"format": "gguf-run conversation", "version": 1, "messages": [3]}),
    ],
)
def test_another_file_is_no_conversation(model: Model, tmp_path: Path, content: str) -> None:
    (tmp_path / "x.json").write_text(content)
    with pytest.raises(ModelError, match=r"x\.json: expected a"):
        Conversation(model).load(tmp_path / "x.json")


@pytest.mark.parametrize("turns", [1, 2])
def test_a_conversation_saved_with_its_cache_computes_nothing_again(
    tiny_chat: Path, tmp_path: Path, turns: int
) -> None:
    options = {"temperature": 2.0, "ignore_eos": True}
    with Model(tiny_chat, device="cpu", n_ctx=500) as model:
        talk = Conversation(model, system="be")
        for turn in range(turns):
            read(talk.send("the an", 9, seed=turn, **options))
        talk.save(tmp_path / "talk.state", cache=True)
        expected = talk.send("and", 9, seed=7, **options)
        tokens = [chunk.token for chunk in expected]
    with Model(tiny_chat, device="cpu", n_ctx=500) as model:
        later = Conversation(model)
        later.load(tmp_path / "talk.state")
        answer = later.send("and", 9, seed=7, **options)
        assert [chunk.token for chunk in answer] == tokens
        assert later.messages == talk.messages
        assert answer.timings.n_cached == expected.timings.n_cached > 0


def test_a_cache_of_another_model_is_refused_and_the_chat_stays(
    model: Model, tmp_path: Path
) -> None:
    write_chat_model(tmp_path / "other.gguf", "qwen3")
    with Model(tmp_path / "other.gguf", "cpu", n_ctx=500) as other:
        Conversation(other, system="other").save(tmp_path / "talk.state", cache=True)
    talk = Conversation(model, system="be")
    with pytest.raises(ModelError, match="expected a state of this model"):
        talk.load(tmp_path / "talk.state")
    assert talk.system == "be"


def test_a_saved_prompt_is_no_conversation(model: Model, tmp_path: Path) -> None:
    cache = model.prompt_cache()
    list(model.generate("the", 3, seed=1, cache=cache))
    cache.save(tmp_path / "prompt")
    with pytest.raises(ModelError, match="expected a saved conversation, found a prompt alone"):
        Conversation(model).load(tmp_path / "prompt")


def test_reasoning_and_tool_calls_come_apart(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    tools = [{"type": "function", "function": {"name": "add", "parameters": {}}}]
    said = '<think>hm</think>ok<tool_call>\n{"name": "add", "arguments": {"a": 1}}\n</tool_call>'
    template = ChatTemplate(model.chat_template.source + "{# <tool_call> #}")
    ids = model.tokenize(said, add_special=False)
    whole = {"grammar": f"root ::= {json.dumps(said)}", "reply": None}
    make = model._drawers.make
    monkeypatch.setattr(model._drawers, "make", lambda **options: make(**options | whole))
    answer = model.chat([USER], tools, len(ids) + 60, template=template, temperature=0)
    chunks = list(answer)
    assert "".join(c.reasoning for c in chunks) == "hm"
    assert "".join(c.text for c in chunks).strip() == "ok"
    calls = [call for c in chunks for call in c.tool_calls]
    assert [(c.name, json.loads(c.arguments)) for c in calls] == [("add", {"a": 1})]
    assert chunks[-1].finish_reason == "tool_calls"
    assert answer.message["reasoning_content"] == "hm"
    assert answer.message["tool_calls"][0]["function"]["name"] == "add"


@pytest.mark.parametrize("name", ["qwen3next", "gemma2"])
def test_models_with_a_state_or_a_window_chat_as_well(tmp_path: Path, name: str) -> None:
    write_chat_model(tmp_path / "m.gguf", name)
    with Model(tmp_path / "m.gguf", device="cpu", n_ctx=300) as model:
        talk = Conversation(model)
        for seed in range(3):
            answer = talk.send("the", 6, seed=seed, ignore_eos=True)
            list(answer)
        assert answer.timings.n_cached > 0


@pytest.mark.parametrize("name", ["lfm2", "qwen3next", "gemma3"])
def test_models_with_a_state_or_a_window_regenerate_from_the_same_prompt(
    tmp_path: Path, name: str
) -> None:
    write_chat_model(tmp_path / "model.gguf", name)
    with Model(tmp_path / "model.gguf", "cpu", n_ctx=500) as model:
        talk = Conversation(model)
        first = [chunk.token for chunk in talk.send("the an", 9, seed=1, ignore_eos=True)]
        answer = talk.regenerate(9, seed=1, ignore_eos=True)
        assert [chunk.token for chunk in answer] == first
        assert answer.timings.n_cached == answer.timings.n_prompt - 1


def test_a_device_that_draws_tokens_itself_keeps_the_same_cache(tiny_chat: Path) -> None:
    """There the token after the last one is already running when an answer is cut short."""
    answers = []
    for device in ("cpu", "emulated"):
        with Model(
            tiny_chat, device=device, n_ctx=300, cache_type_k="F32", cache_type_v="F32"
        ) as m:
            talk = Conversation(m)
            cut = talk.send("the", temperature=0)
            for _ in range(4):
                next(cut)
            full = talk.send("and", 6, temperature=0)
            tokens = [chunk.token for chunk in full]
            answers.append((talk.messages, tokens, full.timings.n_cached, full.timings.n_prompt))
    assert answers[0] == answers[1]


def test_two_conversations_keep_their_caches_where_there_is_room_for_both(tiny_chat: Path) -> None:
    with Model(tiny_chat, device="cpu", n_ctx=200, n_parallel=2) as model:
        talks = [Conversation(model), Conversation(model)]
        for _ in range(2):
            answers = [talk.send("the", 5, seed=1) for talk in talks]
            for pair in zip(*answers, strict=False):
                assert pair[0] == pair[1]
        assert all(answer.timings.n_cached > 0 for answer in answers)


@pytest.mark.parametrize(
    "form",
    [
        {"type": "json_object"},
        {"type": "json_schema", "json_schema": {"schema": {"type": "object", "maxProperties": 1}}},
    ],
)
def test_an_answer_may_have_to_be_json(model: Model, form: dict[str, object]) -> None:
    for seed in range(3):
        answer = model.chat([USER], max_tokens=300, seed=seed, response_format=form)
        text = read(answer)
        if answer.finish_reason == "stop":
            assert isinstance(json.loads(text), dict)
    list(model.chat([USER], max_tokens=3, response_format={"type": "text"}))
    with pytest.raises(ModelError, match="response_format: expected"):
        model.chat([USER], response_format={"type": "yaml"})


def test_a_prompt_goes_on_from_the_cache_that_a_file_kept(tiny_chat: Path, tmp_path: Path) -> None:
    prompt = "the cat and the dog and the"
    with Model(tiny_chat, device="cpu", n_ctx=500) as model:
        whole = list(model.generate(prompt, 12, seed=3))
        cache = model.prompt_cache()
        list(model.generate(prompt, 5, seed=3, cache=cache))
        cache.save(tmp_path / "prompt")
    with Model(tiny_chat, device="cpu", n_ctx=500) as model:
        cache = model.prompt_cache()
        cache.load(tmp_path / "prompt")
        generation = model.generate(prompt, 12, seed=3, cache=cache)
        assert [chunk.token for chunk in generation] == [chunk.token for chunk in whole]
        timings = generation.timings
        assert timings.n_cached == timings.n_prompt - 1
        ids = [*model.tokenize(prompt), *(chunk.token for chunk in whole), 9]
        longer = model.generate(ids, 2, seed=1, cache=cache)
        list(longer)
        # The last token drawn had not been evaluated.
        assert longer.timings.n_cached == len(ids) - 2


@pytest.mark.parametrize(
    "past",
    [
        None,
        {"text": "a", "tokens": [9999], "cuts": []},
        {"text": "a", "tokens": [1], "cuts": [[2, 1]]},
        {"text": "a", "tokens": [1], "cuts": [[1, 1, 1]]},
        {"text": 1, "tokens": [1], "cuts": []},
    ],
)
def test_a_saved_prompt_that_cannot_be_is_refused(
    model: Model, tmp_path: Path, past: object
) -> None:
    save_state(tmp_path / "prompt", model.engine, None, {"past": past})
    with pytest.raises(ModelError, match="expected a saved prompt, found a damaged one"):
        model.prompt_cache().load(tmp_path / "prompt")
