"""How model families write tool calls: those with marks of their own, and those that share some."""

from __future__ import annotations

from gguf_run.chat.own_marks import OWN_MARKS
from gguf_run.chat.tag_bodies import (
    function_tag_calls,
    hermes_calls,
    named_tag_calls,
)
from gguf_run.chat.tool_bodies import (
    bare_calls,
    json_calls,
)
from gguf_run.chat.tool_syntax import ToolSyntax
from gguf_run.chat.written import Written, in_json, listed

_IN_TAGS = Written(f"<tool_call>{{space}}{in_json()}{{space}}</tool_call>", between="{space}")
_KEY_VALUE = "<arg_key>{key}</arg_key>\n<arg_value>{value}</arg_value>\n"
_PARAMETER = "<parameter={key}>\n{value}\n</parameter>\n"

HERMES = ToolSyntax("<tool_call>", "<tool_call>", "</tool_call>", hermes_calls, written=_IN_TAGS)
TOOL_SYNTAXES: tuple[ToolSyntax, ...] = (
    *OWN_MARKS,
    ToolSyntax(
        "<tool_sep>",
        "<tool_call>",
        "</tool_call>",
        hermes_calls,
        ("<tool_calls>", "</tool_calls>"),
        Written(
            "<tool_call>{name}<tool_sep>\n{arguments}</tool_call>\n",
            ("<tool_calls>\n", "</tool_calls>"),
            "",
            _KEY_VALUE,
        ),
    ),
    ToolSyntax(
        "<|tool_call|>",
        "<|tool_call|>",
        "",
        json_calls,
        ("<|/tool_call|>",),
        listed("<|tool_call|>", ""),
    ),
    *(
        ToolSyntax(begin, begin, end, json_calls, written=listed(begin, end))
        for begin, end in (("<TOOLCALL>", "</TOOLCALL>"), ("<tool_calls>", "</tool_calls>"))
    ),
    ToolSyntax(
        "<tool_call>",
        "<tool_call>",
        "</tool_call>",
        hermes_calls,
        written=Written(
            "<tool_call>\n<function={name}>\n{arguments}</function>\n</tool_call>",
            argument=_PARAMETER,
        ),
        beside="<function=",
    ),
    ToolSyntax(
        "<tool_call>",
        "<tool_call>",
        "</tool_call>",
        hermes_calls,
        written=Written("<tool_call>{name}\n{arguments}</tool_call>", argument=_KEY_VALUE),
        beside="<arg_key>",
    ),
    HERMES,
    ToolSyntax(
        "<function=",
        "<function=",
        "</function>",
        function_tag_calls,
        written=Written("<function={name}>{arguments}</function>"),
    ),
    ToolSyntax(
        '<function name="',
        '<function name="',
        "</function>",
        named_tag_calls,
        written=Written(
            '<function name="{name}">{arguments}</function>',
            argument='<param name="{key}">{value}</param>',
        ),
    ),
    ToolSyntax("functools", "functools", "", json_calls, written=listed("functools", "")),
    *(
        ToolSyntax(
            sign,
            "",
            "",
            bare_calls,
            ("<|python_tag|>", "<|python_start|>", "<|python_end|>"),
            Written(in_json(arguments="parameters"), between="; "),
        )
        for sign in ("<|python_tag|>", '"parameters": ')
    ),
    ToolSyntax('"tool_call_name"', "", "", bare_calls, written=listed("", "")),
)
"""The first whose signs are in a template is that template's."""
