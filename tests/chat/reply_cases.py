# ruff: noqa: RUF001 (marks of families that are written with full-width characters)
"""Replies of many families and what they say."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

KOELN: dict[str, Any] = {"city": "Köln"}
CALL = '{"name": "get_weather", "arguments": {"city": "Köln"}}'
WEATHER = ("get_weather", KOELN)


@dataclass(frozen=True)
class Case:
    """A reply of a family that shows `sign` in its template, and what it says."""

    name: str
    sign: str
    text: str
    content: str = ""
    reasoning: str = ""
    calls: tuple[tuple[str, dict[str, Any]], ...] = ()
    prompt: str = ""
    ids: tuple[str, ...] = ()


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
    Case(
        "kimi k3",
        "<|open|>",
        "hm<|close|>think<|sep|><|open|>response<|sep|>Wait.<|close|>response<|sep|>"
        '<|open|>tools<|sep|><|open|>call tool="get_weather" index="1"<|sep|>'
        '<|open|>argument key="city" type="string"<|sep|>12<|close|>argument<|sep|>'
        '<|open|>argument key="more" type="object"<|sep|>{"deep": true}<|close|>argument<|sep|>'
        '<|close|>call<|sep|><|open|>call tool="now" index="2"<|sep|><|open|>json type="object"'
        '<|sep|>{"a": 1}<|close|>json<|sep|><|close|>call<|sep|><|close|>tools<|sep|>'
        "<|close|>message<|sep|>",
        "Wait.",
        "hm",
        (("get_weather", {"city": "12", "more": {"deep": True}}), ("now", {"a": 1})),
        "<|open|>think<|sep|>",
    ),
    Case(
        "minimax m3",
        "</mm:think>]<]minimax[>[",
        "a</mm:think>b]<]minimax[>[<tool_call>\n"
        ']<]minimax[>[<invoke name="get_weather">]<]minimax[>[<city>1]<]minimax[>[</city>'
        "]<]minimax[>[<days>]<]minimax[>[<item>1]<]minimax[>[</item>"
        "]<]minimax[>[<item>2]<]minimax[>[</item>]<]minimax[>[</days>"
        "]<]minimax[>[<more>]<]minimax[>[<deep>true]<]minimax[>[</deep>]<]minimax[>[</more>"
        ']<]minimax[>[</invoke>\n]<]minimax[>[<invoke name="now">]<]minimax[>[</invoke>\n'
        "]<]minimax[>[</tool_call>",
        "b",
        "a",
        (("get_weather", {"city": "1", "days": [1, 2], "more": {"deep": True}}), ("now", {})),
        "<mm:think>",
    ),
    Case(
        "minimax m3, tags that don't match",
        "]<]minimax[>[",
        ']<]minimax[>[<tool_call>]<]minimax[>[<invoke name="now">]<]minimax[>[</a>'
        "]<]minimax[>[</tool_call>",
        ']<]minimax[>[<tool_call>]<]minimax[>[<invoke name="now">]<]minimax[>[</a>'
        "]<]minimax[>[</tool_call>",
    ),
    Case(
        "solar",
        "<|tool_call:begin|>",
        "<|think|>plan<|end|><|begin|>assistant<|content|>Wait.<|flush|><|tool_calls|>"
        '<|tool_call:begin|>a1<|tool_call:name|>now<|tool_call:args|>{"a": 1}<|tool_call:end|>'
        "<|calls|>",
        "Wait.",
        "plan",
        (("now", {"a": 1}),),
        ids=("a1",),
    ),
    Case(
        "solar 2",
        "<|think:end|><|tool_call:start|>",
        "a<|think:end|>b<|tool_call:start|>get_weather\n<|tool_arg:start|>city<|tool_arg:value|>7"
        "<|tool_arg:end|>\n<|tool_arg:start|>days<|tool_arg:value|>[1]<|tool_arg:end|>\n"
        "<|tool_call:end|>",
        "b",
        "a",
        (("get_weather", {"city": "7", "days": [1]}),),
        "<|think:start|>",
    ),
    Case(
        "hunyuan 3",
        "<think:opensource></think:opensource>",
        "a</think:opensource><tool_calls:opensource>\n<tool_call:opensource>get_weather"
        "<tool_sep:opensource>\n<arg_key:opensource>city</arg_key:opensource>\n"
        "<arg_value:opensource>7</arg_value:opensource>\n</tool_call:opensource>\n"
        '<tool_call:opensource>now<tool_sep:opensource>{"a": 1}</tool_call:opensource>'
        "</tool_calls:opensource>",
        "",
        "a",
        (("get_weather", {"city": "7"}), ("now", {"a": 1})),
        "<think:opensource>",
    ),
    Case(
        "hunyuan 3, plain marks",
        "<tool_calls><tool_sep>",
        "<tool_calls>\n<tool_call>now<tool_sep>\n<arg_key>a</arg_key>\n<arg_value>[1]</arg_value>"
        "\n</tool_call>\n</tool_calls>",
        calls=(("now", {"a": [1]}),),
    ),
    Case(
        "longcat",
        "<longcat_tool_call>",
        "Ok\n<longcat_tool_call>now\n<longcat_arg_key>a</longcat_arg_key>\n"
        "<longcat_arg_value>x</longcat_arg_value>\n</longcat_tool_call>",
        "Ok",
        calls=(("now", {"a": "x"}),),
    ),
    Case(
        "k2 horizon",
        "<ifm|tool_call>",
        "<ifm|tool_calls><ifm|tool_call>now<ifm|arg_key>a</ifm|arg_key>"
        "<ifm|arg_value>x</ifm|arg_value></ifm|tool_call></ifm|tool_calls>",
        calls=(("now", {"a": "x"}),),
    ),
    Case(
        "gigachat 3",
        "<|message_sep|>",
        "Hm.<|message_sep|>\n\nfunction call<|role_sep|>\n" + CALL,
        "Hm.",
        calls=(WEATHER,),
    ),
    Case(
        "gigachat 3.1",
        "<|function_call|><|message_sep|>",
        f"Hm.<|function_call|>{CALL}",
        "Hm.",
        calls=(WEATHER,),
    ),
    Case(
        "gigachat 3.5",
        "GCML",
        '<｜GCML｜tool_calls>\n<｜GCML｜invoke name="now">\n'
        '<｜GCML｜parameter name="x" string="false">[7]</｜GCML｜parameter>\n</｜GCML｜invoke>\n'
        "</｜GCML｜tool_calls>",
        calls=(("now", {"x": [7]}),),
    ),
    Case(
        "olmo",
        "<function_calls>",
        "<function_calls>\nget_weather(city='Köln')\nnow(a=true, b=[null])\n</function_calls>",
        calls=(WEATHER, ("now", {"a": True, "b": [None]})),
    ),
    Case("granite code", "<function_call>", f"<function_call> {CALL}", calls=(WEATHER,)),
    Case(
        "internlm",
        "<|action_start|>",
        'Ok<|action_start|><|plugin|>\n{"name": "now", "parameters": {}}<|action_end|>',
        "Ok",
        calls=(("now", {}),),
    ),
    Case("pangu", "[unused11]", f"[unused11][{CALL}][unused12]", calls=(WEATHER,)),
    Case(
        "step",
        "<｜tool_call_begin｜>",
        "<｜tool_calls_begin｜><｜tool_call_begin｜>function<｜tool_sep｜>"
        '<steptml:invoke name="now"><steptml:parameter name="a">x</steptml:parameter>'
        "</steptml:invoke><｜tool_call_end｜><｜tool_calls_end｜>",
        calls=(("now", {"a": "x"}),),
    ),
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
