# ruff: noqa: RUF001 (marks of families that are written with full-width characters)
"""Replies of families that write calls between marks which no other has (chat/own_marks.py)."""

from __future__ import annotations

from chat.reply_case import CALL, WEATHER, Case

OWN_MARK_CASES = [
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
]
