"""More templates that try to take all time or memory: blocks, macros, filters, long sources."""

from __future__ import annotations

_TWICE = "{% for i in range(100000) %}{% for j in range(100000) %}@{% endfor %}{% endfor %}"


def _many(body: str, before: str = "") -> str:
    return before + "{% for i in range(100000) %}" + body + "{% endfor %}"


MORE = {
    "joiner": "{% set j = joiner('x' * 1000000) %}"
    + "{% for i in range(100000) %}{{ j() }}{% endfor %}",
    "joiner twice": "{% set j = joiner(', ') %}" + _TWICE.replace("@", "{{ j() }}"),
    "cycler": _many("{{ c.next() }}", "{% set c = cycler('x' * 1000000, 'y') %}"),
    "loop cycle": _many("{{ loop.cycle('x' * 1000000, 'y') }}"),
    "filter block": "{% set ns = namespace(v='x') %}{% for i in range(60) %}{% set t %}"
    "{% filter replace('x','xx') %}{{ ns.v }}{% endfilter %}{% endset %}"
    "{% set ns.v = t %}{% endfor %}",
    "filter blocks nested": "{% filter upper %}" * 300 + "x" + "{% endfilter %}" * 300,
    "call blocks": "{% macro m(n) %}{{ caller(n) }}{{ caller(n) }}{% endmacro %}"
    + "{% call(a) m(1) %}" * 40
    + "x"
    + "{% endcall %}" * 40,
    "groupby": "{{ (range(100000)|list)|groupby('x')|list|length }}" * 50,
    "sort big": _many("{{ range(100000)|list|sort|first }}"),
    "sort by attr": "{% for i in range(1000) %}{{ range(100000)|map('"
    "string')|sort(reverse=true)|first }}{% endfor %}",
    "reverse": _many("{{ ('x'*1000000)|reverse|length }}"),
    "slices": _many("{% set y = x[::-1] %}", "{% set x='x'*4000000 %}"),
    "upper": _many("{% set y = x|upper %}", "{% set x='x'*4000000 %}"),
    "in search": _many("{% if ('a'*1000 ~ 'b') in x %}{% endif %}", "{% set x='a'*4000000 %}"),
    "count": _many("{% set y = x.count('a') %}", "{% set x='a'*4000000 %}"),
    "wordcount": _many("{% set y = x|wordcount %}", "{% set x='a '*2000000 %}"),
    "escape": _many("{% set y = x|e %}", "{% set x='<'*1000000 %}"),
    "tojson deep": "{% set ns = namespace(v=[]) %}{% for i in range(5000) %}"
    "{% set ns.v = [ns.v] %}{% endfor %}{{ ns.v|tojson }}",
    "str deep": "{% set ns = namespace(v=[]) %}{% for i in range(5000) %}"
    "{% set ns.v = [ns.v] %}{% endfor %}{{ ns.v }}",
    "eq deep": "{% set ns = namespace(v=[], w=[]) %}{% for i in range(5000) %}"
    "{% set ns.v = [ns.v] %}{% set ns.w=[ns.w] %}{% endfor %}{{ ns.v == ns.w }}",
    "format map": "{{ ('{a}' * 100000).format_map({'a': 'x' * 100000}) }}",
    "format align": "{{ '{:>{w}}'.format('x', w=10**12) }}",
    "percent star": "{{ '%*s' % (10**12, 'x') }}",
    "percent named": "{{ '%(a)1000000000s' % {'a': 1} }}",
    "fstring nested": "{{ '{0:{1}{2}}'.format(1, 99999999, 'd') }}",
    "round": "{{ 1.5|round(100000000, 'floor') }}",
    "filesizeformat": "{{ (10**300)|filesizeformat }}",
    "random": "{{ range(10**12)|random }}{{ 1/0 }}",
    "xmlattr": "{{ dict(range(100000)|map('string')|batch(2)|list)|xmlattr }}" * 100,
    "tuple times": "{{ (1,2) * 10**12 }}",
    "neg times": "{{ 'x' * -1 ~ ('x' * 10 ** 12) }}",
    "bool arithmetic": "{{ 'x' * (true * 10 ** 12) }}",
    "macro default": "{% macro m(a=range(10**9)|list) %}{% endmacro %}{{ m() }}",
    "macro varargs": "{% macro m() %}{{ m(*varargs, *varargs) }}{% endmacro %}{{ m(1) }}",
    "macro kwargs": "{% macro m() %}{{ m(a=kwargs, b=kwargs) }}{% endmacro %}{{ m(x=1) }}",
    "recursive loop growth": "{% for a in [1] recursive %}{{ loop([a, a, a]) }}{% endfor %}",
    "block in loop": _many(
        "{% for j in range(1000) %}{% block b scoped %}{{ j }}{% endblock %}{% endfor %}"
    ),
    "with blocks": "{% with a = 'x' * 1000000 %}" * 60
    + "{{ a }}"
    + "{% endwith %}" * 60
    + "{{ 1/0 }}",
    "select regex": "{{ ['a' * 30]|select('match', '(a+)+$')|list }}",
    "int of floats": "{{ 1e308|int * 1e308|int }}",
    "huge float": "{{ '%f' % 1e308 }}" * 20000 + "{{ 1/0 }}",
    "shift": "{{ 1 << 1000000000 }}",
    "floor": "{{ (2 ** 63) // 1 ** (2 ** 63) }}{{ 3 ** (2 ** 40) }}",
    "strftime": "{% for i in range(1000000) %}{{ strftime_now('%c' * 1000) }}{% endfor %}",
    "unicode upper": "{{ ('ß' * 4000000)|upper|length }}" * 30,
    "casefold": "{{ ('ŉ' * 4000000).casefold()|length }}" * 40,
    "normal loops": "{% for a in range(1000) %}{% for b in range(1000) %}{% for c in range(1000) %}"
    "{{ '' }}{% endfor %}{% endfor %}{% endfor %}",
    "while by recursion": "{% macro w(n) %}{% if n > 0 %}{{ w(n - 1) }}{% endif %}"
    "{% endmacro %}{{ w(10 ** 9) }}",
    "mutual recursion": "{% macro a(n) %}{{ b(n) }}{% endmacro %}{% macro b(n) %}"
    "{{ a(n) }}{% endmacro %}{{ a(1) }}",
    "generation": "{% generation %}" * 200 + _TWICE.replace("@", "x") + "{% endgeneration %}" * 200,
    "splits": "{{ ('a,' * 4000000).split(',')|map('trim')|list|length }}",
    "partition": _many("{% set y = x.partition('b') %}", "{% set x='ab'*4000000 %}"),
    "startswith": "{% set x='a'*4000000 %}{% for i in range(10000000) %}"
    "{% if x.startswith(x) %}{% endif %}{% endfor %}",
    "dict keys": _many(
        "{% set ns.d = dict(ns.d, **{i|string: i}) %}", "{% set ns = namespace(d={}) %}"
    ),
    "items": _many(
        "{% for k, v in dict(range(20000)|map('string')|batch(2)|list).items() %}{% endfor %}"
    ),
    "comment bomb": "{# " + "{# " * 40000 + " #}" + "{{ 1/0 }}",
    "raw bomb": "{% raw %}" * 20000,
    "line breaks": "\n" * 100000 + "{{ 1/0 }}",
    "long name": "{{ " + "a" * 100000 + ".b }}{{ 1/0 }}",
    "many sets": "{% set a = 1 %}" * 8000 + "{{ 1/0 }}",
    "many macros": "".join(f"{{% macro m{i}() %}}x{{% endmacro %}}" for i in range(3000))
    + "{{ 1/0 }}",
    "many strings": "{{ " + "'a' ~ " * 15000 + "'b' }}{{ 1/0 }}",
    "many ternaries": "{{ " + "1 if a else " * 8000 + "2 }}",
    "nested dicts": "{{ " + "{'a':" * 5000 + "1" + "}" * 5000 + " }}",
    "nested calls": "{{ " + "range(" * 5000 + "1" + ")" * 5000 + " }}",
    "nested subscripts": "{{ x" + "[0" * 5000 + "]" * 5000 + " }}",
    "nested tests": "{{ 1" + " is odd" * 20000 + " }}",
    "nested filters in loops": "{% for a in " + "[" * 3000 + "]" * 3000 + " %}{% endfor %}",
}
