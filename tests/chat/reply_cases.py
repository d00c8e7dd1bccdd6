# ruff: noqa: RUF001 (marks of families that are written with full-width characters)
"""Replies of many families and what they say."""

from __future__ import annotations

from chat.own_mark_cases import OWN_MARK_CASES
from chat.reply_case import CALL, WEATHER, Case

HARMONY = "<|start|><|channel|><|message|>"
THINK = "<think></think><tool_call>"
CASES = [
    Case("plain", "", "Hello\n\nworld \n", "Hello\n\nworld \n"),
    Case("no reasoning in this family", "", "<think>a</think>b", "<think>a</think>b"),
    Case("thoughts", THINK, "<think>\nhm\n</think>\n\nHi.", "Hi.", "hm"),
    Case("space before thoughts", THINK, "\n<think>hm</think>Hi", "Hi", "hm"),
    Case(
        "thoughts that the prompt begins", THINK, "hm\n</think>\n\nHi", "Hi", "hm", (), "<think>\n"
    ),
    Case("thoughts that the prompt ends", THINK, "Hi", "Hi", "", (), "<think>\n\n</think>\n\n"),
    Case("thoughts without end", THINK, "<think>hm, and", "", "hm, and"),
    Case("no thoughts", THINK, "Hi <there>", "Hi <there>"),
    Case("a tag in the text", THINK, "The tag <think> begins", "The tag <think> begins"),
    Case("empty thoughts", THINK, "<think>\n\n</think>\n\nHi", "Hi"),
    Case("seed's thoughts", "</seed:think>", "<seed:think>a</seed:think>b", "b", "a"),
    Case("mistral's thoughts", "[/THINK]", "[THINK]a[/THINK]b", "b", "a"),
    Case("gemma's thoughts", "<channel|>", "<|channel>thought\na\n<channel|>b", "b", "a"),
    Case(
        "granite's answer",
        "</think><|start_of_role|>",
        "<think>a</think><response>b\n</response>",
        "b",
        "a",
    ),
    Case("hermes", THINK, f"<tool_call>\n{CALL}\n</tool_call>", calls=(WEATHER,)),
    Case(
        "hermes, two and a word",
        THINK,
        f"<think>hm</think>\n\nOne moment.\n<tool_call>{CALL}</tool_call>\n"
        '<tool_call>\n{"name": "now", "arguments": {}}\n</tool_call>',
        "One moment.",
        "hm",
        (WEATHER, ("now", {})),
    ),
    Case("hermes without end", THINK, f"<tool_call>\n{CALL}", calls=(WEATHER,)),
    Case("hermes, cut off", THINK, '<tool_call>\n{"name": "now', '<tool_call>\n{"name": "now'),
    Case(
        "hermes, end mark in a string",
        THINK,
        '<tool_call>{"name": "now", "arguments": {"a": "</tool_call>\\"}"}}</tool_call>',
        calls=(("now", {"a": '</tool_call>"}'}),),
    ),
    Case(
        "hermes, no JSON",
        THINK,
        "<tool_call>{not json}</tool_call> ok",
        "<tool_call>{not json}</tool_call> ok",
    ),
    Case("hermes by default", "", f"<tool_call>{CALL}</tool_call>", calls=(WEATHER,)),
    Case(
        "hermes, arguments as text",
        THINK,
        '<tool_call>{"name": "now", "arguments": "{\\"a\\": 1}"}</tool_call>',
        calls=(("now", {"a": 1}),),
    ),
    Case(
        "qwen's tags",
        THINK,
        "<tool_call>\n<function=get_weather>\n<parameter=city>\n7\n</parameter>\n"
        "<parameter=days>\n[1, 2]\n</parameter>\n<parameter=free>\ntwo\nlines\n</parameter>\n"
        "</function>\n</tool_call>",
        calls=(("get_weather", {"city": "7", "days": [1, 2], "free": "two\nlines"}),),
    ),
    Case(
        "glm's tags",
        THINK,
        "<think>a</think>\n<tool_call>get_weather\n<arg_key>city</arg_key>\n"
        "<arg_value>12</arg_value>\n<arg_key>days</arg_key>\n<arg_value>[1]</arg_value>\n"
        "</tool_call>\n<tool_call>now\n</tool_call>",
        "",
        "a",
        (("get_weather", {"city": "12", "days": [1]}), ("now", {})),
    ),
    Case(
        "mistral's list",
        "[TOOL_CALLS]",
        '[TOOL_CALLS] [{"name": "now", "arguments": {"a": "]"}, "id": "abc123def"}]',
        calls=(("now", {"a": "]"}),),
        ids=("abc123def",),
    ),
    Case(
        "mistral's marks",
        "[TOOL_CALLS]",
        'Wait.[TOOL_CALLS]now[CALL_ID]a1[ARGS]{"a": {"b": [1]}}[TOOL_CALLS]now[ARGS]{}',
        "Wait.",
        calls=(("now", {"a": {"b": [1]}}), ("now", {})),
    ),
    Case("mistral's end", "[TOOL_CALLS]", "[TOOL_CALLS]now{}", calls=(("now", {}),)),
    Case("mistral, cut off", "[TOOL_CALLS]", 'a [TOOL_CALLS][{"n', 'a [TOOL_CALLS][{"n'),
    Case(
        "llama",
        "<|python_tag|>",
        '{"name": "now", "parameters": {"a": "}"}}',
        calls=(("now", {"a": "}"}),),
    ),
    Case(
        "llama, tagged, two",
        "<|python_tag|>",
        '<|python_tag|>{"type": "function", "name": "now", "parameters": {}}; '
        '{"name": "now", "parameters": {"b": 1}}',
        calls=(("now", {}), ("now", {"b": 1})),
    ),
    Case("llama, JSON as an answer", "<|python_tag|>", '{"a": 1}', '{"a": 1}'),
    Case("llama, a name as an answer", "<|python_tag|>", '{"name": "x"}', '{"name": "x"}'),
    Case("llama, JSON inside", "<|python_tag|>", f"See: {CALL}", f"See: {CALL}"),
    Case("llama, cut off", "<|python_tag|>", '{ "na', '{ "na'),
    Case(
        "deepseek",
        "</think><｜tool▁call▁begin｜>",
        "hm</think>ok<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>function<｜tool▁sep｜>now\n"
        '```json\n{"a": 1}\n```<｜tool▁call▁end｜>\n<｜tool▁call▁begin｜>function<｜tool▁sep｜>'
        "now\n```json\n{}\n```<｜tool▁call▁end｜><｜tool▁calls▁end｜>",
        "ok",
        "hm",
        (("now", {"a": 1}), ("now", {})),
        "<think>\n",
    ),
    Case(
        "deepseek 3.1",
        "</think><｜tool▁call▁begin｜>",
        '<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>now<｜tool▁sep｜>{"a": 1}<｜tool▁call▁end｜>'
        "<｜tool▁calls▁end｜>",
        calls=(("now", {"a": 1}),),
    ),
    Case(
        "deepseek 3.2",
        "</think>DSML",
        'a</think>b\n\n<｜DSML｜function_calls>\n<｜DSML｜invoke name="now">\n'
        '<｜DSML｜parameter name="x" string="true">7</｜DSML｜parameter>\n</｜DSML｜invoke>\n'
        "</｜DSML｜function_calls>",
        "b",
        "a",
        (("now", {"x": "7"}),),
        "<think>",
    ),
    Case(
        "kimi",
        "<|tool_call_begin|>",
        "Ok<|tool_calls_section_begin|><|tool_call_begin|>functions.now:0"
        '<|tool_call_argument_begin|>{"a": 1}<|tool_call_end|><|tool_calls_section_end|>',
        "Ok",
        calls=(("now", {"a": 1}),),
        ids=("functions.now:0",),
    ),
    Case(
        "minimax",
        "<minimax:tool_call>",
        '<minimax:tool_call>\n<invoke name="get_weather">\n<parameter name="city">1</parameter>\n'
        '<parameter name="days">[1]</parameter>\n</invoke>\n<invoke name="now">\n</invoke>\n'
        "</minimax:tool_call>",
        calls=(("get_weather", {"city": "1", "days": [1]}), ("now", {})),
    ),
    Case(
        "seed",
        "<seed:tool_call>",
        "<seed:tool_call>\n<function=now>\n<parameter=a>1</parameter>\n</function>\n"
        "</seed:tool_call>",
        calls=(("now", {"a": 1}),),
    ),
    Case(
        "command-r7b",
        "<|END_THINKING|><|START_ACTION|>",
        "<|START_THINKING|>I plan<|END_THINKING|><|START_ACTION|>[\n"
        '    {"tool_call_id": "0", "tool_name": "now", "parameters": {}}\n]<|END_ACTION|>',
        "",
        "I plan",
        (("now", {}),),
        ids=("0",),
    ),
    Case(
        "command-r7b's answer",
        "<|END_THINKING|><|START_ACTION|>",
        "<|START_THINKING|>a<|END_THINKING|><|START_RESPONSE|>b<|END_RESPONSE|>",
        "b",
        "a",
    ),
    Case(
        "command-r",
        "Action:",
        'Action: ```json\n[\n  {"tool_name": "now", "parameters": {"a": 1}}\n]```',
        calls=(("now", {"a": 1}),),
    ),
    Case(
        "lfm",
        "<|tool_call_start|>",
        "<|tool_call_start|>[get_weather(city='a, b', days=[1, 2]), now()]<|tool_call_end|>Wait.",
        "Wait.",
        calls=(("get_weather", {"city": "a, b", "days": [1, 2]}), ("now", {})),
    ),
    Case(
        "lfm, Python that computes",
        "<|tool_call_start|>",
        "<|tool_call_start|>[f(a=9**9**9)]<|tool_call_end|>",
        "<|tool_call_start|>[f(a=9**9**9)]<|tool_call_end|>",
    ),
    Case(
        "granite's call",
        "<|tool_call|>",
        '<|tool_call|>[{"name": "now", "arguments": {}}]',
        calls=(("now", {}),),
    ),
    Case(
        "phi's call",
        "<|tool_call|>",
        '<|tool_call|>[{"name": "now", "arguments": {}}]<|/tool_call|>',
        calls=(("now", {}),),
    ),
    Case("nemotron", "<TOOLCALL>", f"<TOOLCALL>[{CALL}]</TOOLCALL>", calls=(WEATHER,)),
    Case("hunyuan", "<tool_calls>", f"<tool_calls>[{CALL}]</tool_calls>", calls=(WEATHER,)),
    Case(
        "apertus",
        "<|tools_prefix|>",
        '<|tools_prefix|>[{"now": {"a": 1}}, {"now": {}}]<|tools_suffix|>',
        calls=(("now", {"a": 1}), ("now", {})),
    ),
    Case(
        "functionary", "<function=", '<function=now>{"a": 1}</function>', calls=(("now", {"a": 1}),)
    ),
    Case(
        "minicpm",
        '<function name="',
        '<function name="now"><param name="a">x</param></function>',
        calls=(("now", {"a": "x"}),),
    ),
    Case("firefunction", "functools", f"functools[{CALL}]", calls=(WEATHER,)),
    Case(
        "gemma",
        "<tool_call|><channel|>",
        '<|tool_call>call:now{a:<|"|>x: {y}<|"|>,b:{c:[1,true]},d:null}<tool_call|>',
        calls=(("now", {"a": "x: {y}", "b": {"c": [1, True]}, "d": None}),),
    ),
    Case(
        "function gemma",
        "<start_function_call>",
        "<start_function_call>call:now{a:<escape>x, y<escape>,n:2}<end_function_call>",
        calls=(("now", {"a": "x, y", "n": 2}),),
    ),
    Case(
        "functionary 3.2",
        ">>>all",
        'all\nLet me see: a >> b.\n>>>get_weather\n{"city": "Köln"}\n>>>now\n{}',
        "Let me see: a >> b.",
        calls=(WEATHER, ("now", {})),
        prompt="<|start_header_id|>assistant<|end_header_id|>\n\n>>>",
    ),
    Case(
        "functionary 3.2, a call at once",
        ">>>all",
        'now\n{"a": 1}',
        calls=(("now", {"a": 1}),),
        prompt="<|end_header_id|>\n\n>>>",
    ),
    Case("functionary 3.2, neither", ">>>all", "allow", "allow", prompt=">>>"),
    Case("functionary 3.2, cut off", ">>>all", "al", "al", prompt=">>>"),
    Case("functionary 3.2, nothing", ">>>all", "", "", prompt=">>>"),
    *OWN_MARK_CASES,
    Case("xlam", '"tool_call_name"', f"[{CALL}, {CALL}]", calls=(WEATHER, WEATHER)),
    Case("xlam, a list as an answer", '"tool_call_name"', '[{"name": 1}]', '[{"name": 1}]'),
    Case("xlam, numbers", '"tool_call_name"', "[1, 2]", "[1, 2]"),
    Case(
        "llama 4",
        '"parameters": ',
        '<|python_start|>{"name": "now", "parameters": {}}<|python_end|>',
        calls=(("now", {}),),
    ),
    Case(
        "harmony",
        HARMONY,
        "<|channel|>analysis<|message|>I think.<|end|><|start|>assistant<|channel|>final<|message|>"
        "Hi\n there ",
        "Hi\n there ",
        "I think.",
        prompt="<|start|>user<|message|>q<|end|><|start|>assistant",
    ),
    Case(
        "harmony, a call",
        HARMONY,
        "<|channel|>analysis<|message|>Look.<|end|><|start|>assistant<|channel|>commentary "
        'to=functions.now <|constrain|>json<|message|>{"a": 1}<|call|>',
        "",
        "Look.",
        (("now", {"a": 1}),),
    ),
    Case(
        "harmony, a call whose end is not shown, and a word before",
        HARMONY,
        "<|channel|>commentary<|message|>One moment.<|end|><|start|>assistant "
        'to=functions.now<|channel|>commentary json<|message|>{"a": 1}',
        "One moment.",
        "",
        (("now", {"a": 1}),),
    ),
    Case(
        "harmony, two thoughts",
        HARMONY,
        "<|channel|>analysis<|message|>a<|end|><|start|>assistant<|channel|>analysis<|message|>b"
        "<|end|>",
        "",
        "a\n\nb",
    ),
    Case(
        "harmony, begun by the prompt",
        HARMONY,
        "Hi.",
        "Hi.",
        prompt="<|start|>assistant<|channel|>final<|message|>",
    ),
    Case("harmony without channels", HARMONY, "Hi.", "Hi.", prompt="<|start|>assistant"),
    Case(
        "harmony, a broken call",
        HARMONY,
        "<|channel|>commentary to=functions.now<|message|>{oh",
        "{oh",
    ),
]
SIGNS = sorted({case.sign for case in CASES})
