"""JSON schemas in the keywords that the engine knows: what it does not is said by others, exactly.

What has no exact form stays as it is, or is refused by its name.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from itertools import combinations, islice, permutations
from typing import Any, TypeAlias

from gguf_run.structured.negation import ANNOTATIONS, TYPES, InexactError, all_of, any_of, negated
from gguf_run.structured.schema_limits import children

Node: TypeAlias = dict[str, Any]

MAX_OPTIONS = 64
"""Into so many cases one keyword may be taken apart."""
MAX_CONDITION = 1000
"""So large may be what is turned into its opposite, as it stands twice then."""
MAX_SIZE = 100_000
"""Of the whole, in parts."""
_MAX_LISTS = 330
_MAX_CONTAINING = 8


def rewritten(schema: Node) -> Node:
    """The schema in the engine's keywords; the same values are valid.

    Args:
        schema: with keys that are strings, within `check_limits`; is changed.

    Raises:
        InexactError: a keyword has no exact form.
    """
    nodes = [schema]
    for node in nodes:
        nodes += [child for _, child in children(node) if isinstance(child, dict)]
    for node in reversed(nodes):
        _rewrite(node)
    _check_size(schema, MAX_SIZE)
    return schema


def _check_size(schema: Any, most: int) -> None:
    """Refuse what has more parts, those that stand twice counted twice."""
    pending = [schema]
    for n, part in enumerate(pending):
        if n > most:
            raise InexactError("more cases than can be told apart")
        if isinstance(part, (dict, list)):
            pending += part.values() if isinstance(part, dict) else part


def _rewrite(node: Node) -> None:
    more: list[Any] = []
    for keyword, rule in _RULES.items():
        if keyword in node:
            try:
                part = rule(node, node.pop(keyword))
            except (TypeError, AttributeError, ValueError, IndexError):
                raise InexactError(f"a {keyword} of another kind than the standard's") from None
            more += [] if part is True else [part]
    for part in more:
        if isinstance(part, dict) and len(part.get("anyOf", ())) > MAX_OPTIONS:
            raise InexactError("more cases than can be told apart")
    if more and not isinstance(node.get("allOf", []), list):
        raise InexactError("an allOf of another kind than the standard's")
    if more:
        node["allOf"] = [*node.get("allOf", ()), *(_as_schema(part) for part in more)]


def _as_schema(part: Any) -> Any:
    return {"anyOf": [False]} if part is False else part


def _not(node: Node, schema: Any) -> Any:
    _check_size(schema, MAX_CONDITION)
    return negated(schema)


def _if(node: Node, condition: Any) -> Any:
    then, otherwise = node.pop("then", True), node.pop("else", True)
    if then in (True, {}) and otherwise in (True, {}):
        return True
    _check_size(condition, MAX_CONDITION)
    options = [all_of([condition, then]), all_of([negated(condition), otherwise])]
    return any_of(options)


def _nothing(node: Node, value: Any) -> Any:
    """A keyword that means nothing where its fellow has not taken it."""
    return True


def _dependent_required(node: Node, needs: Any) -> Any:
    return all_of([_if_there(name, {"required": names}) for name, names in needs.items()])


def _dependent_schemas(node: Node, needs: Any) -> Any:
    return all_of([_if_there(name, schema) for name, schema in needs.items()])


def _dependencies(node: Node, needs: Any) -> Any:
    return all_of(
        [
            _if_there(name, {"required": need} if isinstance(need, list) else need)
            for name, need in needs.items()
        ]
    )


def _if_there(name: str, schema: Any) -> Any:
    there = all_of([{"required": [name]}, schema])
    return any_of([{"type": "object", "properties": {name: False}}, there, _all_but("object")])


def _all_but(kind: str) -> Node:
    return {"type": [each for each in TYPES if each != kind]}


def _one_of(node: Node, options: Any) -> Any:
    """Of constants, those that stand in one option alone; else the engine's way."""
    values = [_constants(option) for option in options]
    if any(value is None for value in values):
        node["oneOf"] = options
        return True
    texts = [json.dumps(value, sort_keys=True) for each in values for value in each or ()]
    once = [json.loads(text) for text in dict.fromkeys(texts) if texts.count(text) == 1]
    return {"enum": once} if once else False


def _constants(schema: Any) -> list[Any] | None:
    """The values of a schema that lists them, once each."""
    if not isinstance(schema, Mapping) or schema.keys() - ANNOTATIONS - {"const", "enum", "type"}:
        return None
    values = [schema["const"]] if "const" in schema else schema.get("enum")
    if not isinstance(values, list) or any(isinstance(v, float) for v in values):
        return None
    kinds = schema.get("type", [])
    kinds = [kinds] if isinstance(kinds, str) else kinds
    texts = {
        json.dumps(value, sort_keys=True): value
        for value in values
        if not kinds or _kind(value) in kinds or (_kind(value) == "integer" and "number" in kinds)
    }
    return list(texts.values())


def _kind(value: Any) -> str:
    if value is None or isinstance(value, bool):
        return "null" if value is None else "boolean"
    names = {int: "integer", float: "number", str: "string", list: "array"}
    return names.get(type(value), "object")


def _unique_items(node: Node, wanted: Any) -> Any:
    if wanted is not True or node.get("maxItems", 2) < 2:
        return True
    items = node.get("items")
    values = {"boolean": [True, False]}.get(str((items or {}).get("type")), _constants(items))
    if values is None or "prefixItems" in node or isinstance(items, list):
        raise InexactError("uniqueItems of other items than constants")
    least, most = node.get("minItems", 0), min(node.get("maxItems", len(values)), len(values))
    lists = (list(each) for n in range(least, most + 1) for each in permutations(values, n))
    found = list(islice(lists, _MAX_LISTS + 1))
    if len(found) > _MAX_LISTS:
        raise InexactError("uniqueItems of many constants")
    return any_of([{"enum": found} if found else False, _all_but("array")])


def _contains(node: Node, wanted: Any) -> Any:
    least, most = node.pop("minContains", 1), node.pop("maxContains", None)
    if least == 0 and most is None:
        return True
    items = node.get("items", True)
    if wanted in (True, {}) or (wanted == items and "prefixItems" not in node):
        return {"minItems": least} | ({} if most is None else {"maxItems": most})
    n = node.get("maxItems")
    if least != 1 or most is not None or not isinstance(n, int) or n > _MAX_CONTAINING:
        raise InexactError(
            f"contains in a list that may have more than {_MAX_CONTAINING} items (maxItems), or "
            "other bounds than one item"
        )
    at_each = [
        {"prefixItems": [*[True] * i, wanted], "minItems": i + 1, "type": "array"} for i in range(n)
    ]
    return any_of([*at_each, _all_but("array")])


def _property_names(node: Node, names: Any) -> Any:
    if names in (True, {}):
        return True
    allowed = _constants(names)
    if allowed is None:
        return _names_by_pattern(node, names)
    fields, extra = node.get("properties", {}), node.get("additionalProperties", True)
    if "patternProperties" in node:
        raise InexactError("propertyNames beside patternProperties")
    own = {name: fields.get(name, extra) for name in allowed if isinstance(name, str)}
    forbidden = {name: False for name in fields if name not in own}
    node["properties"] = {**own, **forbidden}
    node["additionalProperties"] = False
    return True


def _names_by_pattern(node: Node, names: Any) -> Any:
    if names is False:
        return {"maxProperties": 0}
    unknown = names.keys() - ANNOTATIONS - {"pattern", "type", "minLength", "maxLength"}
    one_pattern = "pattern" not in names or not names.keys() & {"minLength", "maxLength"}
    if unknown or not one_pattern or names.get("type", "string") != "string":
        raise InexactError("propertyNames by other means than a pattern, a length or a list")
    if node.get("properties") or "patternProperties" in node:
        raise InexactError("propertyNames by pattern beside properties")
    least, most = names.get("minLength", 0), names.get("maxLength", "")
    pattern = names.get("pattern", f"^[\\s\\S]{{{least},{most}}}$")
    node["patternProperties"] = {pattern: node.get("additionalProperties", True)}
    node["additionalProperties"] = False
    return True


def _n_properties(node: Node, most: Any, least: int) -> Any:
    """How many properties there are, where their names are known: by choosing which."""
    fields = [name for name, field in node.get("properties", {}).items() if field is not False]
    required = set(node.get("required", ()))
    optional = [name for name in fields if name not in required]
    if least <= len(required) and most is None:
        return True
    is_closed = node.get("additionalProperties", True) is False and "patternProperties" not in node
    if not is_closed or required - set(fields):
        if least > len(required) + 1 or optional:
            raise InexactError(
                "minProperties or maxProperties of an object whose names are not all known"
            )
        bounds = {"minProperties": least} if least > len(required) else {}
        node |= bounds | ({} if most is None else {"maxProperties": most})
        return True
    free = len(optional) if most is None else min(most - len(required), len(optional))
    needed = max(0, least - len(required))
    if free < needed:
        return False
    options = [
        _chosen(there, set(optional) - set(may))
        for may in islice(combinations(optional, free), MAX_OPTIONS + 1)
        for there in islice(combinations(may, needed), MAX_OPTIONS + 1)
    ]
    return any_of([*options, _all_but("object")])


def _chosen(there: Sequence[str], away: set[str]) -> Node:
    chosen: Node = {"type": "object"}
    if there:
        chosen["required"] = list(there)
    if away:
        chosen["properties"] = dict.fromkeys(sorted(away), False)
    return chosen


def _min_properties(node: Node, least: Any) -> Any:
    return _n_properties(node, node.pop("maxProperties", None), least)


def _max_properties(node: Node, most: Any) -> Any:
    return _n_properties(node, most, 0)


_IN_PLACE = ("allOf", "anyOf", "oneOf", "$ref", "if", "dependentSchemas", "not", "contains")


def _unevaluated(known: str) -> Callable[[Node, Any], Any]:
    """As `known`, where nothing but the schema itself says what belongs to a value."""

    def rule(node: Node, schema: Any) -> Any:
        if schema in (True, {}) or known in node:
            return True
        if any(key in node for key in _IN_PLACE):
            raise InexactError("unevaluatedProperties or unevaluatedItems beside other schemas")
        node[known] = schema
        return True

    return rule


_RULES: Mapping[str, Callable[[Node, Any], Any]] = {
    "unevaluatedProperties": _unevaluated("additionalProperties"),
    "unevaluatedItems": _unevaluated("items"),
    "propertyNames": _property_names,
    "minProperties": _min_properties,
    "maxProperties": _max_properties,
    "uniqueItems": _unique_items,
    "contains": _contains,
    "minContains": _nothing,
    "maxContains": _nothing,
    "oneOf": _one_of,
    "not": _not,
    "if": _if,
    "then": _nothing,
    "else": _nothing,
    "dependentRequired": _dependent_required,
    "dependentSchemas": _dependent_schemas,
    "dependencies": _dependencies,
}
"""In this order, as some change what others read. What a rule gives must hold as well."""
