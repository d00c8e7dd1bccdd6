"""Jinja's immutable sandbox, with a meter on everything that can take time or memory.

A template is parsed by Jinja, its tree is changed so that loops, literals, comparisons and
outputs report to the meter (`Metering`), and it is compiled by Jinja without folding constants.
Filters, tests, operators, attributes and calls report through hooks that Jinja has for them. What
a template can reach is a list of what is allowed: attributes by the type of their owner, calls by
the type of what is called.
"""

from __future__ import annotations

import functools
import types
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any, NoReturn

from jinja2 import Undefined, nodes, pass_context
from jinja2.exceptions import SecurityError
from jinja2.ext import loopcontrols
from jinja2.runtime import BlockReference, Context, LoopContext, Macro
from jinja2.sandbox import ImmutableSandboxedEnvironment, safe_range
from jinja2.utils import Cycler, Joiner, Namespace

from gguf_run.chat.guards import (
    COMPARING_TESTS,
    CONSUMING,
    FILTER_CHECKS,
    SHALLOW_FILTERS,
    TEXT_METHODS,
    percent,
)
from gguf_run.chat.limits import MAX_INT, LimitError, Limits, Meter
from gguf_run.chat.tree import Generation, Metering
from gguf_run.chat.values import (
    ATTRIBUTES,
    Each,
    RaisedByTemplate,
    TemplateNamespace,
    TextFormat,
    tojson,
)

_METHOD_OWNERS = (str, dict, list, tuple, float, range, LoopContext, Cycler)
_LONGEST_DATE_FORMAT = 200
_PART_BYTES = 96
"""A number, or something undefined, that a literal holds and nothing else counts."""
_MANY = 8


class Sandbox(ImmutableSandboxedEnvironment):
    """Compiles and renders templates; `meter` counts what the rendering under way spends."""

    intercepted_binops = frozenset(("+", "-", "*", "/", "//", "%", "**"))

    def __init__(self, limits: Limits, now: Callable[[], datetime]) -> None:
        super().__init__(
            trim_blocks=True,
            lstrip_blocks=True,
            extensions=[Generation, loopcontrols],
            optimized=False,
            finalize=self._put_out,
        )
        self.meter = Meter(limits)
        self._now = now
        self._functions: dict[str, Callable[..., Any]] = {
            "cycler": Cycler,
            "dict": self._dict,
            "joiner": Joiner,
            "namespace": self._namespace,
            "raise_exception": self._raise_exception,
            "range": self._range,
            "strftime_now": self._strftime_now,
        }
        self.globals.clear()
        self.globals.update(self._functions)
        self.filters["tojson"] = tojson
        filters: dict[str, Any] = self.filters
        for name, function in filters.items():
            filters[name] = self._metered(name, function, name not in SHALLOW_FILTERS)
        tests: dict[str, Any] = self.tests
        for name, function in tests.items():
            tests[name] = self._metered(name, function, name in COMPARING_TESTS)

    def parsed(self, text: str) -> nodes.Template:
        """The tree of a template, with a meter on it."""
        tree: nodes.Template = Metering().visit(self.parse(text))
        return tree

    # What the changed tree calls.

    def each(self, items: Any) -> Each:
        """The items of a loop."""
        return Each(self.meter, items)

    def made(self, value: Any) -> Any:
        """A value that a literal has just made."""
        self.meter.step()
        if isinstance(value, (list, tuple, dict)):
            self.meter.reserve(_PART_BYTES * len(value))
        return self.meter.made(value)

    def sliced(self, value: Any, *bounds: Any) -> Any:
        """`value[start:stop:step]`."""
        self.meter.step()
        return self.meter.made(value[slice(*bounds)])

    def compared(self, value: Any) -> Any:
        """A value that will be compared or hashed."""
        self.meter.step()
        self.meter.whole(value)
        return value

    def join_texts(self, *values: Any) -> str:
        """`a ~ b ~ c`."""
        return self.concat([str(self._put_out(None, value)) for value in values])

    def concat(self, texts: Iterable[str]) -> str:
        """What Jinja joins the outputs of a block, a macro and the like with."""
        texts = list(texts)
        self.meter.room(sum(map(len, texts)))
        return self.meter.made("".join(texts))

    @pass_context
    def _put_out(self, context: Context | None, value: Any) -> Any:
        """What is printed for `value`."""
        self.meter.step()
        if isinstance(value, str):
            return value
        self.meter.whole(value)
        return self.meter.made(str(value))

    # Hooks of Jinja.

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        """Run an operator."""
        self.meter.step()
        if operator == "+":
            if isinstance(left, (str, list, tuple)) and isinstance(right, (str, list, tuple)):
                self._ask(left, len(left) + len(right))
        elif operator == "*":
            for value, n in ((left, right), (right, left)):
                if isinstance(value, (str, list, tuple)) and isinstance(n, int):
                    self._ask(value, len(value) * max(0, n))
        elif operator == "%" and isinstance(left, str):
            percent(self.meter, left, right)
        elif operator == "**" and isinstance(left, int) and isinstance(right, int) and right > 64:
            raise LimitError(f"raises a number to the power of {right}, more than 64")
        return self._small(self.meter.made(super().call_binop(context, operator, left, right)))

    def is_safe_attribute(self, obj: Any, attr: str, value: Any) -> bool:
        """Whether a template may read an attribute: a list of those that it may."""
        if not super().is_safe_attribute(obj, attr, value):
            return False
        if isinstance(obj, Namespace):
            return True
        return any(isinstance(obj, kind) and attr in names for kind, names in ATTRIBUTES)

    def is_safe_callable(self, obj: Any) -> bool:
        """Whether a template may call something: a list of what it may."""
        if isinstance(obj, (types.BuiltinMethodType, types.MethodType)):
            owner = obj.__self__
            if owner is not self:
                return isinstance(owner, _METHOD_OWNERS)
        return isinstance(
            obj, (Macro, LoopContext, BlockReference, Joiner, TextFormat, Undefined)
        ) or any(obj == function for function in (*self._functions.values(), *self._internal))

    @functools.cached_property
    def _internal(self) -> tuple[Callable[..., Any], ...]:
        return (self.each, self.made, self.sliced, self.compared, self.join_texts)

    def unsafe_undefined(self, obj: Any, attribute: str) -> Undefined:
        """Refuse an attribute; Jinja would give something undefined, which prints as nothing."""
        raise SecurityError(f"attribute {attribute!r:.50} of a {type(obj).__name__}")

    def wrap_str_format(self, value: Any) -> Callable[..., str] | None:
        """`str.format` in bounds, where `value` is that; it is looked for by Jinja's getattr."""
        if isinstance(value, (types.MethodType, types.BuiltinMethodType)):
            text = value.__self__
            if isinstance(text, str) and value.__name__ in ("format", "format_map"):
                return TextFormat(text, self, self.meter, value.__name__ == "format_map")
        return None

    def getattr(self, obj: Any, attribute: str) -> Any:
        """`obj.attribute`."""
        if attribute.startswith("_") and not isinstance(obj, dict):
            self.unsafe_undefined(obj, attribute)
        return super().getattr(obj, attribute)

    def getitem(self, obj: Any, argument: Any) -> Any:
        """`obj[argument]`."""
        self.compared(argument)
        return super().getitem(obj, argument)

    def call(__self, __context: Context, __obj: Any, *args: Any, **kwargs: Any) -> Any:
        """Call something from a template."""
        self, obj = __self, __obj
        self.meter.step()
        owner = getattr(obj, "__self__", None) if isinstance(obj, _METHOD_KINDS) else None
        if owner is not None and owner is not self:
            args = tuple(map(self._in_hand, args))
            self._check_method(owner, obj.__name__, args, kwargs)
            result = super().call(__context, obj, *args, **kwargs)
            # The others give what there is already.
            made = isinstance(owner, str) or obj.__name__ == "copy"
            return self._fresh(result) if made else result
        if isinstance(obj, TextFormat):
            return self._fresh(super().call(__context, obj, *args, **kwargs))
        if len(args) + len(kwargs) > _MANY:
            self._fresh((*args, *kwargs.values()))
        if not isinstance(obj, (Macro, LoopContext, BlockReference)):
            return super().call(__context, obj, *args, **kwargs)
        if isinstance(obj, LoopContext):
            args = (self.each(args[0]), *args[1:]) if args else args
        self.meter.enter()
        try:
            return super().call(__context, obj, *args, **kwargs)
        finally:
            self.meter.leave()

    def _check_method(
        self, owner: Any, name: str, args: tuple[Any, ...], kwargs: Mapping[str, Any]
    ) -> None:
        # Jinja adds the variables of loops and blocks, for calls that want its context.
        named = {key: kwargs[key] for key in kwargs.keys() - {"_loop_vars", "_block_vars"}}
        self.meter.whole([*args, *named.values()])
        check = TEXT_METHODS.get(name) if isinstance(owner, str) else None
        if check:
            check(self.meter, owner, *args, **named)

    def _ask(self, like: Any, n: int) -> None:
        (self.meter.room if isinstance(like, str) else self.meter.items)(n)

    def _small(self, value: Any) -> Any:
        if isinstance(value, int) and abs(value) >= MAX_INT:
            raise LimitError("computes an integer of more than 64 bits")
        return value

    def _in_hand(self, value: Any) -> Any:
        """A list of what an iterator still has, so that it can be looked at before it is used."""
        if isinstance(value, Iterator) and not isinstance(value, LoopContext):
            return list(self.meter.each(value))
        return value

    def _fresh(self, value: Any) -> Any:
        """Count a result with the parts that were made for it."""
        self.meter.made(value)
        if isinstance(value, (list, tuple)):
            for item in value:
                self.meter.made(item)
        return self._small(value)

    def _metered(self, name: str, function: Callable[..., Any], deep: bool) -> Callable[..., Any]:
        """A filter or test with its meter; `deep`: it looks into the parts of its first value."""
        first = 1 if hasattr(function, "jinja_pass_arg") else 0
        check = FILTER_CHECKS.get(name)

        @functools.wraps(function)
        def run(*args: Any, **kwargs: Any) -> Any:
            self.meter.step()
            values = list(args[first:])
            if name in CONSUMING:
                values = [self._in_hand(value) for value in values]
            for value in (*values, *kwargs.values()) if deep else values[1:]:
                self.meter.whole(value)
            if check:
                check(self.meter, *values, **kwargs)
            result = function(*args[:first], *values, **kwargs)
            if isinstance(result, Iterator):
                # What is lazy stays so: templates may make lists that they never look at.
                return self.meter.each_made(result)
            return self._fresh(result)

        return run

    # What templates call by name.

    def _dict(self, *args: Any, **kwargs: Any) -> dict[Any, Any]:
        args = tuple(map(self._in_hand, args))
        self.meter.whole([*args, *kwargs.values()])
        return self.meter.made(dict(*args, **kwargs))

    def _namespace(self, *args: Any, **kwargs: Any) -> TemplateNamespace:
        return TemplateNamespace(self._dict(*args, **kwargs))

    def _range(self, *args: int) -> range:
        for value in args:
            if isinstance(value, int) and abs(value) >= 1 << 53:
                raise LimitError("counts beyond 53 bits")
        return safe_range(*args)

    def _raise_exception(self, message: object = "") -> NoReturn:
        raise RaisedByTemplate(str(self._put_out(None, message)))

    def _strftime_now(self, form: str) -> str:
        if len(form) > _LONGEST_DATE_FORMAT or any(map(str.isdigit, form)):
            raise LimitError("asks for a date in a format that is long or has digits")
        return self._now().strftime(form)


_METHOD_KINDS = (types.BuiltinMethodType, types.MethodType)
