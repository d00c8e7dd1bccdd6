# ruff: noqa: RUF001 (marks of families that are written with full-width characters)
"""Where tool calls begin and end in a reply, by model family."""

from __future__ import annotations

from dataclasses import dataclass

from gguf_run.chat.tool_bodies import (
    Parse,
    bare_calls,
    by_name_calls,
    command_r_calls,
    deepseek_calls,
    dsml_calls,
    function_tag_calls,
    functions_calls,
    gemma_calls,
    hermes_calls,
    invokes_calls,
    json_calls,
    kimi_calls,
    mistral_calls,
    named_tag_calls,
    python_calls,
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
    ToolSyntax(
        "DSML",
        '<｜DSML｜invoke name="',
        "</｜DSML｜invoke>",
        dsml_calls,
        (
            "<｜DSML｜function_calls>",
            "</｜DSML｜function_calls>",
            "<｜DSML｜tool_calls>",
            "</｜DSML｜tool_calls>",
        ),
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
    ToolSyntax('"parameters": ', "", "", bare_calls, ("<|python_tag|>",)),
)
"""The first whose sign is in a template is that template's."""
