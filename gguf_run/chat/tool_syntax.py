# ruff: noqa: RUF001 (marks of families that are written with full-width characters)
"""Where tool calls begin and end in a reply, by model family."""

from __future__ import annotations

from dataclasses import dataclass

from gguf_run.chat.tag_bodies import (
    function_tag_calls,
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
    Parse,
    bare_calls,
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


@dataclass(frozen=True, slots=True)
class ToolSyntax:
    """How one family writes calls.

    Attributes:
        sign: a text that templates of the family have.
        open: begins a call; empty: an answer that is a JSON object is a call.
        close: ends it; empty: it ends with its JSON value.
        parse: the calls in the text between; empty: it says none.
        silent: marks around calls and content that say nothing.
    """

    sign: str
    open: str
    close: str
    parse: Parse
    silent: tuple[str, ...] = ()


HERMES = ToolSyntax("<tool_call>", "<tool_call>", "</tool_call>", hermes_calls)
TOOL_SYNTAXES: tuple[ToolSyntax, ...] = (
    ToolSyntax(
        "]<]minimax[>[", "]<]minimax[>[<tool_call>", "]<]minimax[>[</tool_call>", minimax_calls
    ),
    ToolSyntax(
        "<|open|>",
        "<|open|>call ",
        "<|close|>call<|sep|>",
        open_tag_calls,
        (
            *("<|open|>tools<|sep|>", "<|close|>tools<|sep|>"),
            "<|close|>message<|sep|>",
        ),
    ),
    ToolSyntax(
        "<|tool_call:begin|>",
        "<|tool_call:begin|>",
        "<|tool_call:end|>",
        solar_calls,
        ("<|tool_calls|>", "<|calls|>"),
    ),
    ToolSyntax("<|tool_call:start|>", "<|tool_call:start|>", "<|tool_call:end|>", solar_tag_calls),
    ToolSyntax(
        ":opensource>",
        "<tool_call:opensource>",
        "</tool_call:opensource>",
        hermes_calls,
        ("<tool_calls:opensource>", "</tool_calls:opensource>"),
    ),
    ToolSyntax(
        "<tool_sep>", "<tool_call>", "</tool_call>", hermes_calls, ("<tool_calls>", "</tool_calls>")
    ),
    ToolSyntax("<longcat_tool_call>", "<longcat_tool_call>", "</longcat_tool_call>", hermes_calls),
    ToolSyntax(
        "<ifm|tool_call>",
        "<ifm|tool_call>",
        "</ifm|tool_call>",
        hermes_calls,
        ("<ifm|tool_calls>", "</ifm|tool_calls>"),
    ),
    ToolSyntax("<|function_call|>", "<|function_call|>", "", json_calls),
    ToolSyntax("<|message_sep|>", "<|message_sep|>\n\nfunction call<|role_sep|>\n", "", json_calls),
    ToolSyntax(">>>all", ">>>", "", line_calls),
    ToolSyntax(
        "<start_function_call>", "<start_function_call>", "<end_function_call>", gemma_calls
    ),
    ToolSyntax("<function_calls>", "<function_calls>", "</function_calls>", python_calls),
    ToolSyntax("<function_call>", "<function_call>", "", json_calls, ("</function_call>",)),
    ToolSyntax("<|action_start|>", "<|action_start|><|plugin|>", "<|action_end|>", json_calls),
    ToolSyntax("[unused11]", "[unused11]", "[unused12]", json_calls),
    ToolSyntax(
        "<｜tool_call_begin｜>",
        "<｜tool_call_begin｜>",
        "<｜tool_call_end｜>",
        step_calls,
        ("<｜tool_calls_begin｜>", "<｜tool_calls_end｜>"),
    ),
    ToolSyntax(
        "<｜tool▁call▁begin｜>",
        "<｜tool▁call▁begin｜>",
        "<｜tool▁call▁end｜>",
        deepseek_calls,
        ("<｜tool▁calls▁begin｜>", "<｜tool▁calls▁end｜>"),
    ),
    ToolSyntax(
        "<|tool_call_begin|>",
        "<|tool_call_begin|>",
        "<|tool_call_end|>",
        kimi_calls,
        ("<|tool_calls_section_begin|>", "<|tool_calls_section_end|>"),
    ),
    ToolSyntax("[TOOL_CALLS]", "[TOOL_CALLS]", "", mistral_calls),
    ToolSyntax("<minimax:tool_call>", "<minimax:tool_call>", "</minimax:tool_call>", invokes_calls),
    ToolSyntax("<seed:tool_call>", "<seed:tool_call>", "</seed:tool_call>", functions_calls),
    ToolSyntax(
        "<|START_ACTION|>",
        "<|START_ACTION|>",
        "<|END_ACTION|>",
        json_calls,
        ("<|START_RESPONSE|>", "<|END_RESPONSE|>", "<|START_TEXT|>", "<|END_TEXT|>"),
    ),
    ToolSyntax("Action:", "Action: ```json", "```", command_r_calls),
    ToolSyntax("<|tool_call_start|>", "<|tool_call_start|>", "<|tool_call_end|>", python_calls),
    ToolSyntax("<|tool_list_start|>", "<|tool_call_start|>", "<|tool_call_end|>", python_calls),
    ToolSyntax("<|tools_prefix|>", "<|tools_prefix|>", "<|tools_suffix|>", by_name_calls),
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
        )
        for name in ("DSML", "GCML")
    ),
    ToolSyntax("<tool_call|>", "<|tool_call>", "<tool_call|>", gemma_calls),
    ToolSyntax("<|tool_call|>", "<|tool_call|>", "", json_calls, ("<|/tool_call|>",)),
    ToolSyntax("<TOOLCALL>", "<TOOLCALL>", "</TOOLCALL>", json_calls),
    ToolSyntax("<tool_calls>", "<tool_calls>", "</tool_calls>", json_calls),
    HERMES,
    ToolSyntax("<function=", "<function=", "</function>", function_tag_calls),
    ToolSyntax('<function name="', '<function name="', "</function>", named_tag_calls),
    ToolSyntax("functools", "functools", "", json_calls),
    ToolSyntax("<|python_tag|>", "", "", bare_calls, ("<|python_tag|>",)),
    ToolSyntax(
        '"parameters": ',
        "",
        "",
        bare_calls,
        ("<|python_tag|>", "<|python_start|>", "<|python_end|>"),
    ),
    ToolSyntax('"tool_call_name"', "", "", bare_calls),
)
"""The first whose sign is in a template is that template's."""
