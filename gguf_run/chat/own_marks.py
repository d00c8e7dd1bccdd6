# ruff: noqa: RUF001 (marks of families that are written with full-width characters)
"""Families that write tool calls between marks which no other has."""

from __future__ import annotations

from gguf_run.chat.tag_bodies import (
    functions_calls,
    hermes_calls,
    invokes_calls,
    minimax_calls,
    named_tag_calls,
    open_tag_calls,
    solar_tag_calls,
    step_calls,
)
from gguf_run.chat.tool_bodies import (
    by_name_calls,
    command_r_calls,
    deepseek_calls,
    gemma_calls,
    json_calls,
    kimi_calls,
    line_calls,
    mistral_calls,
    python_calls,
    solar_calls,
)
from gguf_run.chat.tool_syntax import ToolSyntax
from gguf_run.chat.written import Written, in_json, listed

_NAMED_PARAMETER = '<parameter name="{key}">{value}</parameter>\n'

OWN_MARKS: tuple[ToolSyntax, ...] = (
    ToolSyntax(
        "]<]minimax[>[",
        "]<]minimax[>[<tool_call>",
        "]<]minimax[>[</tool_call>",
        minimax_calls,
        written=Written(
            ']<]minimax[>[<invoke name="{name}">{arguments}]<]minimax[>[</invoke>\n',
            ("]<]minimax[>[<tool_call>\n", "]<]minimax[>[</tool_call>"),
            "",
            "]<]minimax[>[<{key}>{value}]<]minimax[>[</{key}>",
        ),
    ),
    ToolSyntax(
        "<|open|>",
        "<|open|>call ",
        "<|close|>call<|sep|>",
        open_tag_calls,
        ("<|open|>tools<|sep|>", "<|close|>tools<|sep|>", "<|close|>message<|sep|>"),
        Written(
            '<|open|>call tool="{name}" index="{index}"<|sep|><|open|>json type="object"<|sep|>'
            "{arguments}<|close|>json<|sep|><|close|>call<|sep|>",
            ("<|open|>tools<|sep|>", "<|close|>tools<|sep|>"),
            "",
        ),
    ),
    ToolSyntax(
        "<|tool_call:begin|>",
        "<|tool_call:begin|>",
        "<|tool_call:end|>",
        solar_calls,
        ("<|tool_calls|>", "<|calls|>"),
        Written(
            "<|tool_call:begin|>{id}<|tool_call:name|>{name}<|tool_call:args|>{arguments}"
            "<|tool_call:end|>",
            ("<|tool_calls|>", ""),
            "",
        ),
    ),
    ToolSyntax(
        "<|tool_call:start|>",
        "<|tool_call:start|>",
        "<|tool_call:end|>",
        solar_tag_calls,
        written=Written(
            "<|tool_call:start|>{name}\n{arguments}<|tool_call:end|>",
            argument="<|tool_arg:start|>{key}<|tool_arg:value|>{value}<|tool_arg:end|>\n",
        ),
    ),
    ToolSyntax(
        ":opensource>",
        "<tool_call:opensource>",
        "</tool_call:opensource>",
        hermes_calls,
        ("<tool_calls:opensource>", "</tool_calls:opensource>"),
        Written(
            "<tool_call:opensource>{name}<tool_sep:opensource>\n{arguments}"
            "</tool_call:opensource>\n",
            ("<tool_calls:opensource>\n", "</tool_calls:opensource>"),
            "",
            "<arg_key:opensource>{key}</arg_key:opensource>\n"
            "<arg_value:opensource>{value}</arg_value:opensource>\n",
        ),
    ),
    ToolSyntax(
        "<longcat_tool_call>",
        "<longcat_tool_call>",
        "</longcat_tool_call>",
        hermes_calls,
        written=Written(
            "<longcat_tool_call>{name}\n{arguments}</longcat_tool_call>",
            argument="<longcat_arg_key>{key}</longcat_arg_key>\n"
            "<longcat_arg_value>{value}</longcat_arg_value>\n",
        ),
    ),
    ToolSyntax(
        "<ifm|tool_call>",
        "<ifm|tool_call>",
        "</ifm|tool_call>",
        hermes_calls,
        ("<ifm|tool_calls>", "</ifm|tool_calls>"),
        Written(
            "<ifm|tool_call>{name}{arguments}</ifm|tool_call>",
            ("<ifm|tool_calls>", "</ifm|tool_calls>"),
            "",
            "<ifm|arg_key>{key}</ifm|arg_key><ifm|arg_value>{value}</ifm|arg_value>",
        ),
    ),
    ToolSyntax(
        "<|function_call|>",
        "<|function_call|>",
        "",
        json_calls,
        written=Written(f"<|function_call|>{in_json()}", between=None),
    ),
    ToolSyntax(
        "<|message_sep|>",
        "<|message_sep|>\n\nfunction call<|role_sep|>\n",
        "",
        json_calls,
        written=Written(f"<|message_sep|>\n\nfunction call<|role_sep|>\n{in_json()}", between=None),
    ),
    ToolSyntax(">>>all", ">>>", "", line_calls, written=Written(">>>{name}\n{arguments}")),
    ToolSyntax(
        "<start_function_call>", "<start_function_call>", "<end_function_call>", gemma_calls
    ),
    ToolSyntax(
        "<function_calls>",
        "<function_calls>",
        "</function_calls>",
        python_calls,
        written=Written(
            "{name}({arguments})",
            ("<function_calls>\n", "\n</function_calls>"),
            argument="{key}={value}",
            joint=", ",
            quoted=True,
        ),
    ),
    ToolSyntax(
        "<function_call>",
        "<function_call>",
        "",
        json_calls,
        ("</function_call>",),
        Written(f"<function_call> {in_json()}"),
    ),
    ToolSyntax(
        "<|action_start|>",
        "<|action_start|><|plugin|>",
        "<|action_end|>",
        json_calls,
        written=Written(
            f"<|action_start|><|plugin|>\n{in_json(arguments='parameters')}<|action_end|>",
            between="",
        ),
    ),
    ToolSyntax(
        "[unused11]",
        "[unused11]",
        "[unused12]",
        json_calls,
        written=listed("[unused11]", "[unused12]"),
    ),
    ToolSyntax(
        "<｜tool_call_begin｜>",
        "<｜tool_call_begin｜>",
        "<｜tool_call_end｜>",
        step_calls,
        ("<｜tool_calls_begin｜>", "<｜tool_calls_end｜>"),
        Written(
            '<｜tool_call_begin｜>function<｜tool_sep｜><steptml:invoke name="{name}">{arguments}'
            "</steptml:invoke><｜tool_call_end｜>",
            ("<｜tool_calls_begin｜>", "<｜tool_calls_end｜>"),
            "",
            '<steptml:parameter name="{key}">{value}</steptml:parameter>',
        ),
    ),
    *(
        ToolSyntax(
            "<｜tool▁call▁begin｜>",
            "<｜tool▁call▁begin｜>",
            "<｜tool▁call▁end｜>",
            deepseek_calls,
            ("<｜tool▁calls▁begin｜>", "<｜tool▁calls▁end｜>"),
            Written(
                f"<｜tool▁call▁begin｜>{call}<｜tool▁call▁end｜>",
                ("<｜tool▁calls▁begin｜>", "<｜tool▁calls▁end｜>"),
                between,
            ),
            beside,
        )
        for beside, call, between in (
            ("```json", "function<｜tool▁sep｜>{name}\n```json\n{arguments}\n```", "\n"),
            ("", "{name}<｜tool▁sep｜>{arguments}", ""),
        )
    ),
    ToolSyntax(
        "<|tool_call_begin|>",
        "<|tool_call_begin|>",
        "<|tool_call_end|>",
        kimi_calls,
        ("<|tool_calls_section_begin|>", "<|tool_calls_section_end|>"),
        Written(
            "<|tool_call_begin|>functions.{name}:{index}<|tool_call_argument_begin|>{arguments}"
            "<|tool_call_end|>",
            ("<|tool_calls_section_begin|>", "<|tool_calls_section_end|>"),
            "",
        ),
    ),
    *(
        ToolSyntax("[TOOL_CALLS]", "[TOOL_CALLS]", "", mistral_calls, (), written, beside)
        for beside, written in (
            ("[ARGS]", Written("[TOOL_CALLS]{name}[ARGS]{arguments}", between="")),
            ("", listed("[TOOL_CALLS]", "", in_json(more=', "id": "{id}"'))),
        )
    ),
    ToolSyntax(
        "<minimax:tool_call>",
        "<minimax:tool_call>",
        "</minimax:tool_call>",
        invokes_calls,
        written=Written(
            '<invoke name="{name}">\n{arguments}</invoke>\n',
            ("<minimax:tool_call>\n", "</minimax:tool_call>"),
            "",
            _NAMED_PARAMETER,
        ),
    ),
    ToolSyntax(
        "<seed:tool_call>",
        "<seed:tool_call>",
        "</seed:tool_call>",
        functions_calls,
        written=Written(
            "<seed:tool_call>\n<function={name}>\n{arguments}</function>\n</seed:tool_call>",
            argument="<parameter={key}>{value}</parameter>\n",
        ),
    ),
    ToolSyntax(
        "<|START_ACTION|>",
        "<|START_ACTION|>",
        "<|END_ACTION|>",
        json_calls,
        ("<|START_RESPONSE|>", "<|END_RESPONSE|>", "<|START_TEXT|>", "<|END_TEXT|>"),
        listed(
            "<|START_ACTION|>",
            "<|END_ACTION|>",
            '{"tool_call_id": "{index}", "tool_name": "{name}", "parameters": {arguments}}',
        ),
    ),
    ToolSyntax(
        "Action:",
        "Action: ```json",
        "```",
        command_r_calls,
        written=listed("Action: ```json\n", "```", in_json("tool_name", "parameters")),
    ),
    *(
        ToolSyntax(
            sign,
            "<|tool_call_start|>",
            "<|tool_call_end|>",
            python_calls,
            written=Written(
                "{name}({arguments})",
                ("<|tool_call_start|>[", "]<|tool_call_end|>"),
                ", ",
                "{key}={value}",
                ", ",
                quoted=True,
            ),
        )
        for sign in ("<|tool_call_start|>", "<|tool_list_start|>")
    ),
    ToolSyntax(
        "<|tools_prefix|>",
        "<|tools_prefix|>",
        "<|tools_suffix|>",
        by_name_calls,
        written=listed("<|tools_prefix|>", "<|tools_suffix|>", '{"{name}": {arguments}}'),
    ),
    *(
        ToolSyntax(
            name,
            f'<｜{name}｜invoke name="',
            f"</｜{name}｜invoke>",
            named_tag_calls,
            (
                *(f"<｜{name}｜function_calls>", f"</｜{name}｜function_calls>"),
                *(f"<｜{name}｜tool_calls>", f"</｜{name}｜tool_calls>"),
            ),
            Written(
                f'<｜{name}｜invoke name="{{name}}">\n{{arguments}}</｜{name}｜invoke>\n',
                (f"<｜{name}｜{section}>\n", f"</｜{name}｜{section}>"),
                "",
                f'<｜{name}｜parameter name="{{key}}" string="{{is_text}}">{{value}}'
                f"</｜{name}｜parameter>\n",
            ),
        )
        for name, section in (("DSML", "function_calls"), ("GCML", "tool_calls"))
    ),
    ToolSyntax("<tool_call|>", "<|tool_call>", "<tool_call|>", gemma_calls),
)
