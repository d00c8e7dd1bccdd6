"""Changes to a template's tree before it is compiled: what has to report to the sandbox's meter."""

from __future__ import annotations

from typing import NoReturn

from jinja2 import TemplateSyntaxError, nodes
from jinja2.ext import Extension
from jinja2.parser import Parser
from jinja2.visitor import NodeTransformer

from gguf_run.chat.limits import MAX_INT


class Generation(Extension):
    """`{% generation %}`: what the model says, marked for training; its body is all that matters
    here."""

    tags = {"generation"}  # noqa: RUF012 (Jinja's own attribute)

    def parse(self, parser: Parser) -> nodes.Node:
        line = next(parser.stream).lineno
        body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        return nodes.Scope(body).set_lineno(line)


class Metering(NodeTransformer):
    """Puts calls of the sandbox's methods into a template's tree."""

    def visit_For(self, node: nodes.For) -> nodes.Node:
        self.generic_visit(node)
        node.iter = _through("each", node.iter)
        return node

    def visit_Output(self, node: nodes.Output) -> nodes.Node:
        # As constants, so that they pass `finalize` as everything else that is put out.
        node.nodes = [
            nodes.Const(part.data, lineno=part.lineno)
            if isinstance(part, nodes.TemplateData)
            else part
            for part in node.nodes
        ]
        return self.generic_visit(node)

    def visit_Concat(self, node: nodes.Concat) -> nodes.Node:
        self.generic_visit(node)
        return _through("join_texts", *node.nodes)

    def visit_Compare(self, node: nodes.Compare) -> nodes.Node:
        self.generic_visit(node)
        # One side is enough: a comparison ends with the smaller one.
        node.expr = _compared(node.expr)
        for operand in node.ops[:-1]:
            operand.expr = _compared(operand.expr)
        return node

    def visit_List(self, node: nodes.List) -> nodes.Node:
        return _through("made", self.generic_visit(node))

    def visit_Dict(self, node: nodes.Dict) -> nodes.Node:
        return _through("made", self.generic_visit(node))

    def visit_Pair(self, node: nodes.Pair) -> nodes.Node:
        self.generic_visit(node)
        node.key = _compared(node.key)
        return node

    def visit_Tuple(self, node: nodes.Tuple) -> nodes.Node:
        self.generic_visit(node)
        return _through("made", node) if node.ctx == "load" else node

    def visit_Getitem(self, node: nodes.Getitem) -> nodes.Node:
        self.generic_visit(node)
        if not isinstance(node.arg, nodes.Slice):
            return node
        bounds = (node.arg.start, node.arg.stop, node.arg.step)
        return _through("sliced", node.node, *(bound or nodes.Const(None) for bound in bounds))

    def visit_Const(self, node: nodes.Const) -> nodes.Node:
        if isinstance(node.value, int) and abs(node.value) >= MAX_INT:
            raise TemplateSyntaxError("integers have 64 bits at most", node.lineno)
        return node

    def _refuse(self, node: nodes.Node) -> NoReturn:
        what = type(node).__name__.lower()
        raise TemplateSyntaxError(f"{what!r} has no place in a chat template", node.lineno)

    visit_Include = visit_Import = visit_FromImport = visit_Extends = _refuse
    visit_EvalContextModifier = visit_ScopedEvalContextModifier = _refuse


def _through(name: str, *args: nodes.Node) -> nodes.Expr:
    """The tree of `environment.<name>(*args)`."""
    line = args[0].lineno if args else 0
    method = nodes.EnvironmentAttribute(name)
    return nodes.Call(method, [*args], [], None, None, lineno=line)


def _compared(node: nodes.Expr) -> nodes.Expr:
    return node if isinstance(node, nodes.Const) else _through("compared", node)
