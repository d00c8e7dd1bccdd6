"""Templates that try to reach Python, or to take all time or memory; each has to be refused."""

from __future__ import annotations

_X = "{% set x = 'x' * 1000000 %}"
_DEEP = "{% set ns = namespace(v=('x',)) %}{% for i in range(60) %}{% set ns.v = %s %}{% endfor %}"
_LISTS = _DEEP.replace("%s", "[ns.v, ns.v]")
_TUPLES = _DEEP.replace("%s", "(ns.v, ns.v)")
_DICTS = _DEEP.replace("%s", "{'a': ns.v, 'b': ns.v}")
_TWICE = "{% for i in range(100000) %}{% for j in range(100000) %}@{% endfor %}{% endfor %}"
_GROW = "{% set ns = namespace(v='xy') %}{% for i in range(60) %}{% set ns.v = @ %}{% endfor %}"
_KEEP = "{% set ns = namespace(v=[]) %}{% for i in range(100000) %}{% set ns.v = @ %}{% endfor %}"

ESCAPES = {
    "class of a text": "{{ ''.__class__ }}",
    "class by subscript": "{{ ''['__class__'] }}",
    "class by filter": "{{ ''|attr('__class__') }}",
    "class through map": "{{ ['']|map(attribute='__class__')|list }}",
    "class through selectattr": "{{ ['']|selectattr('__class__')|list }}",
    "class through sort": "{{ ['b', 'a']|sort(attribute='__class__') }}",
    "class through groupby": "{{ ['b']|groupby('__class__') }}",
    "class through sum": "{{ ['b']|sum(attribute='__class__') }}",
    "class through join": "{{ ['b']|join(attribute='__class__') }}",
    "class through unique": "{{ ['b']|unique(attribute='__class__')|list }}",
    "class through format": "{{ '{0.__class__}'.format('') }}",
    "class through format, subscript": "{{ '{0[__class__]}'.format('') }}",
    "class through format_map": "{{ '{a.__class__}'.format_map({'a': ''}) }}",
    "class through a stored format": "{% set f = '{0.__class__}'.format %}{{ f('') }}",
    "class through format of safe text": "{{ ('{0.__class__}'|safe).format('') }}",
    "format through map": "{{ ['{0.__class__}']|map('attr', 'format')|first }}{{ 1/0 }}",
    "subclasses": "{{ ''.__class__.__mro__[1].__subclasses__() }}",
    "globals of a function": "{{ range.__globals__ }}",
    "globals of raise_exception": "{{ raise_exception.__globals__ }}",
    "globals of namespace": "{{ namespace.__init__.__globals__ }}",
    "globals of cycler": "{{ cycler.__init__.__globals__.os }}",
    "globals of joiner": "{{ joiner.__init__.__globals__ }}",
    "globals of dict": "{{ dict.__init__ }}",
    "globals of lipsum": "{{ lipsum.__globals__['os'].popen('id').read() }}",
    "globals of a macro": "{% macro m() %}{% endmacro %}{{ m.__globals__ }}",
    "function of a macro": "{% macro m() %}{% endmacro %}{{ m._func }}",
    "environment of a macro": "{% macro m() %}{% endmacro %}{{ m._environment }}",
    "context of self": "{{ self._TemplateReference__context }}",
    "init of self": "{{ self.__init__ }}",
    "config": "{{ config.items() }}",
    "request": "{{ request.application.__globals__ }}",
    "class of a loop": "{% for i in [1] %}{{ loop.__class__ }}{% endfor %}",
    "inside of a loop": "{% for i in [1] %}{{ loop._iterable }}{% endfor %}",
    "frame of a generator": "{{ ([1]|map('string')).gi_frame.f_globals }}",
    "code of a generator": "{{ ([1]|map('string')).gi_code.co_code }}",
    "mro of a class": "{{ namespace.mro() }}",
    "name with underscores in a namespace": "{% set ns = namespace() %}{% set ns.__class__ = 1 %}",
    "names of a namespace": "{{ namespace(__class__=1) }}",
    "inside of a namespace": "{{ namespace(a=1)._Namespace__attrs }}",
    "changing a list": "{{ messages.append(1) }}",
    "clearing a list": "{{ messages.clear() }}",
    "changing a mapping": "{{ messages[0].update({'role': 'x'}) }}",
    "popping": "{{ messages[0].pop('role') }}",
    "setdefault": "{{ messages[0].setdefault('a', 1) }}",
    "translating": "{{ 'a'.translate({}) }}",
    "encoding": "{{ 'a'.encode('idna') }}",
    "bits of a number": "{{ (5).to_bytes(1000, 'big') }}",
    "include": "{% include '/etc/passwd' %}",
    "import": "{% import '/etc/passwd' as p %}",
    "from import": "{% from '/etc/passwd' import p %}",
    "extends": "{% extends '/etc/passwd' %}",
    "include of a name": "{% include messages %}",
    "autoescape": "{% autoescape true %}{{ 1 }}{% endautoescape %}",
}

TIME = {
    "two loops": _TWICE.replace("@", ""),
    "two loops that compute": _TWICE.replace("@", "{% set a = i * j %}"),
    "two loops that branch": _TWICE.replace("@", "{% if i %}{% endif %}"),
    "a greater range": "{% for i in range(1000000000) %}{% endfor %}",
    "range to a list": "{{ range(99999999999)|list|length }}",
    "a chain of filters": "{{ range(100000)|map('string')|map('list')|map('join')|list|list }}" * 9,
    "a filtered loop": "{% for i in range(100000) if range(100000)|select('odd')|list %}"
    "{% endfor %}",
    "macros that call themselves": "{% macro m() %}{{ m() }}{{ m() }}{% endmacro %}{{ m() }}",
    "macros that call two": "{% macro m(n) %}{% if n %}{{ m(n-1) }}{{ m(n-1) }}{% endif %}"
    "{% endmacro %}{{ m(50) }}",
    "loops that call themselves": "{% for a in [[[]]] recursive %}{{ loop([[1], [2]]) }}"
    "{% endfor %}",
    "blocks that call themselves": "{% block b %}{{ self.b() }}{% endblock %}",
    "callers that call themselves": "{% macro m() %}{% call m() %}{{ caller() }}{% endcall %}"
    "{% endmacro %}{{ m() }}",
    "power": "{{ 9 ** 9 ** 9 ** 9 }}",
    "power of a power": "{% set ns = namespace(v=3) %}{% for i in range(99) %}"
    "{% set ns.v = ns.v ** 9 %}{% endfor %}",
    "great factors": "{% set ns = namespace(v=3) %}{% for i in range(100000) %}"
    "{% set ns.v = ns.v * ns.v %}{% endfor %}",
    "great sums": "{% set ns = namespace(v=3) %}{% for i in range(100000) %}"
    "{% set ns.v = ns.v + ns.v %}{% endfor %}{{ ns.v }}",
    "rounding to many digits": "{{ 5|round(-1000000000) }}",
    "a number of many digits": "{{ ('9' * 4000000)|int }}",
    "a hexadecimal number of many digits": "{{ ('f' * 4000000)|int(base=16) }}",
    "a literal of many digits": "{{ " + "9" * 4000 + " }}",
    "equal keys": "{% set t %}{% for i in range(100000) %}{{ i * 2305843009213693951 }},"
    "{% endfor %}{% endset %}{{ t.split(',')|map('int')|unique|list|length }}",
    "equal keys by range": "{{ range(0, 10 ** 18 * 9, 2 ** 61 - 1)|unique|list }}"
    "{{ range(2 ** 60) }}",
    "comparing lists that share": _LISTS + "{% set a = ns.v %}" + _LISTS + "{{ a == ns.v }}",
    "finding in lists that share": _LISTS + "{{ ns.v in [[ns.v, 1], [ns.v, 2]] }}",
    "hashing tuples that share": _TUPLES + "{{ {ns.v: 1} }}",
    "subscripts that share": _TUPLES + "{{ messages[0][ns.v] }}",
    "getting by tuples that share": _TUPLES + "{{ messages[0].get(ns.v) }}",
    "the test of equality": _LISTS + "{{ ns.v is eq([ns.v, ns.v]) }}",
    "unique tuples that share": _TUPLES + "{{ [ns.v, ns.v]|unique|list }}",
    "sorting lists that share": _LISTS + "{{ [ns.v, ns.v, ns.v]|sort }}",
    "striptags": "{{ ('<!-- -->' * 200000)|striptags }}",
    "wordwrap": "{{ ('a ' * 1000000)|wordwrap(1) }}",
    "urlize": "{{ ('http://a.b ' * 200000)|urlize }}",
    "title": "{{ ('a' * 5000000)|title }}{{ 1/0 }}",
    "nested for": "{% for a in range(99) %}" * 10 + "{% endfor %}" * 10,
    "summing lists": "{{ (range(100000)|map('string')|map('list')|list)|sum(start=[]) }}",
    "searching backwards": "{% set x = 'a' * 4000000 %}{{ x.rfind('a' * 1000000 ~ 'b' ~ x) }}"
    "{{ (x ~ x).rfind('a' * 1000000 ~ 'b' ~ 'a' * 1000000) }}",
    "splitting backwards": "{{ ('a' * 8000000).rsplit('a' * 1000000 ~ 'b' ~ 'a' * 1000000) }}",
    "stripping many characters": "{{ ('a' * 4000000).strip('b' * 4000000 ~ 'a') }}",
    "trimming many characters": "{{ ('a' * 4000000)|trim('b' * 4000000 ~ 'a') }}",
    "comparing long texts": "{% set x = 'a' * 4000000 %}{% set y = 'a' * 4000000 %}"
    "{% for i in range(100000) %}" + "{% if x == y %}{% endif %}" * 1000 + "{% endfor %}",
    "what changes in a loop": _LISTS
    + "{% set a = ns.v %}"
    + _LISTS
    + "{% for i in [1, 2] %}{{ loop.changed(a if i == 1 else ns.v) }}{% endfor %}",
    "a format with many parts": "{% set ns = namespace() %}{% set ns.a = ns %}"
    "{{ ('{0' ~ '.a' * 3000000 ~ '}').format(ns) }}",
    "wrapping words with dashes": "{{ ('a-' * 10000)|wordwrap(3) }}" * 50 + "{{ 1/0 }}",
    "format again and again": _TWICE.replace("@", "{% set a = '{}'.format(i) %}"),
}

MEMORY = {
    "a text times a number": "{{ 'x' * 10000000000 }}",
    "a number times a text": "{{ 10000000000 * 'x' }}",
    "a list times a number": "{{ [1] * 10000000000 }}",
    "a tuple times a number": "{{ (1,) * 10000000000 }}",
    "doubling a text": _GROW.replace("@", "ns.v + ns.v"),
    "joining a text to itself": _GROW.replace("@", "ns.v ~ ns.v"),
    "replacing by itself": _GROW.replace("@", "ns.v|replace('x', ns.v)"),
    "replacing by method": _GROW.replace("@", "ns.v.replace('x', ns.v)"),
    "replacing nothing": _GROW.replace("@", "ns.v.replace('', ns.v)"),
    "joining by itself": _GROW.replace("@", "ns.v.join(ns.v)"),
    "joining by filter": _GROW.replace("@", "ns.v|join(ns.v)"),
    "joining a list": _GROW.replace("@", "[ns.v, ns.v]|join"),
    "formatting with itself": _GROW.replace("@", "'{0}{0}'.format(ns.v)"),
    "percent with itself": _GROW.replace("@", "'%s%s' % (ns.v, ns.v)"),
    "percent by filter": _GROW.replace("@", "'%s%s'|format(ns.v, ns.v)"),
    "capturing itself": "{% set ns = namespace(v='x') %}{% for i in range(60) %}{% set t %}"
    "{{ ns.v }}{{ ns.v }}{% endset %}{% set ns.v = t %}{% endfor %}",
    "a macro of itself": "{% macro m(t) %}{{ t }}{{ t }}{% endmacro %}"
    + _GROW.replace("@", "m(ns.v)"),
    "escaping": _GROW.replace("@", "(ns.v ~ '<')|forceescape ~ ns.v"),
    "json of json": _GROW.replace("@", "[ns.v, ns.v]|tojson"),
    "doubling a list": "{% set ns = namespace(v=[1]) %}{% for i in range(60) %}"
    "{% set ns.v = ns.v + ns.v %}{% endfor %}",
    "lists that share": _LISTS + "{{ ns.v }}",
    "tuples that share": _TUPLES + "{{ ns.v }}",
    "mappings that share": _DICTS + "{{ ns.v }}",
    "lists that share, as text": _LISTS + "{{ ns.v|string|length }}",
    "lists that share, joined": _LISTS + "{{ (ns.v ~ '')|length }}",
    "lists that share, as JSON": _LISTS + "{{ ns.v|tojson }}",
    "lists that share, formatted": _LISTS + "{{ '%s' % (ns.v,) }}",
    "lists that share, by format": _LISTS + "{{ '{}'.format(ns.v) }}",
    "lists that share, by repr": _LISTS + "{{ '{!r}'.format(ns.v) }}",
    "lists that share, printed nicely": _LISTS + "{{ ns.v|pprint }}",
    "keeping lists": _KEEP.replace("@", "[ns.v, [1, 2, 3, 4] * 1000]"),
    "keeping texts": _KEEP.replace("@", "ns.v + ['x' * 100000 ~ i]"),
    "keeping slices": _X + _KEEP.replace("@", "ns.v + [x[i:]]"),
    "keeping splits": _X + _KEEP.replace("@", "[ns.v, x.split('x')]"),
    "keeping lists of ranges": _KEEP.replace("@", "[ns.v, range(100000)|list]"),
    "keeping batches": _KEEP.replace("@", "[ns.v, range(10000)|batch(1)|list]"),
    "keeping namespaces": "{% set d = dict(range(20000)|map('string')|batch(2)|list) %}"
    + _KEEP.replace("@", "[ns.v, namespace(d)]"),
    "keeping arguments": "{% macro m(ns) %}{% set ns.v = [ns.v, varargs] %}{% endmacro %}"
    "{% set ns = namespace(v=0) %}{% for i in range(100000) %}{{ m(ns, *range(100000)) }}"
    "{% endfor %}",
    "keeping cyclers": _KEEP.replace("@", "[ns.v, cycler(*range(100000))]"),
    "keeping what is undefined": _KEEP.replace("@", "[ns.v" + ", messages.x" * 5000 + "]"),
    "keeping numbers": _KEEP.replace("@", "[ns.v" + ", loop.index" * 5000 + "]"),
    "characters joined": "{{ ('é' * 8000000)|join('') }}",
    "characters joined by method": "{{ ''.join('é' * 8000000) }}",
    "characters sorted": "{{ ('é' * 8000000)|sort|length }}",
    "characters selected": "{{ ('é' * 8000000)|select|list|length }}",
    "lines indented": "{{ ('\n' * 8000000)|indent(0) }}",
    "many percents": "{{ '%s' * 4000000 % messages }}",
    "a long new format": "{{ ('{' ~ '}' * 4000000).format(1) }}",
    "a long specification": "{{ '{:{}}'.format(1, '1 ' * 4000000) }}",
    "putting out": _X + "{% for i in range(100000) %}{{ x }}{% endfor %}",
    "putting out constants": "{% for i in range(100000) %}" + "x" * 90000 + "{% endfor %}",
    "capturing constants": "{% set t %}{% for i in range(100000) %}"
    + "x" * 90000
    + "{% endfor %}{% endset %}{{ t|length }}",
    "a macro of constants": "{% macro m() %}{% for i in range(100000) %}"
    + "x" * 90000
    + "{% endfor %}{% endmacro %}{{ m()|length }}",
    "many small outputs": _TWICE.replace("@", "{% if 1 %}a{% endif %}" * 500),
    "centring": "{{ 'x'|center(10000000000) }}",
    "centring by method": "{{ 'x'.center(10000000000) }}",
    "padding left": "{{ 'x'.rjust(10000000000) }}",
    "padding right": "{{ 'x'.ljust(10000000000) }}",
    "padding with zeros": "{{ 'x'.zfill(10000000000) }}",
    "tabs": "{{ '\t'.expandtabs(10000000000) }}",
    "a wide format": "{{ '%10000000000d' % 1 }}",
    "a wide format by filter": "{{ '%10000000000d'|format(1) }}",
    "a precise format": "{{ '%.10000000000f' % 1 }}",
    "a computed width": "{{ '%*d' % (10000000000, 1) }}",
    "a nested name in a format": "{{ '%(a(b)1)10000000000d' % {'a(b)1': 1} }}",
    "a wide new format": "{{ '{:10000000000}'.format(1) }}",
    "a computed new format": "{{ '{:{}}'.format(1, 10000000000) }}",
    "a precise new format": "{{ '{:.10000000000f}'.format(1.5) }}",
    "many fields": "{{ ('{0}' * 20000).format('x' * 1000000) }}",
    "indenting by a number": "{{ ('a\n' * 1000)|indent(10000000) }}",
    "indenting by a text": _X + "{{ ('a\n' * 1000)|indent(x) }}",
    "indenting JSON": "{{ [[1, 2], [3]]|tojson(indent=1000000000) }}",
    "indenting JSON by a text": _X + "{{ range(1000)|list|tojson(indent=x) }}",
    "separators of JSON": _X + "{{ range(1000)|list|tojson(separators=(x, x)) }}",
    "batches that are filled": "{{ [1]|batch(10000000000, 0)|list }}",
    "slices that are filled": "{{ [1]|slice(10000000000, 0)|list }}",
    "words that are wrapped": _X + "{{ ('a ' * 1000)|wordwrap(1, wrapstring=x) }}",
    "characters as a list": "{{ ('é' * 8000000)|list|length }}",
    "sorting copies": "{{ (['x' * 1000000] * 100000)|sort|length }}",
    "text of a great number": "{{ (10 ** 19) ** 64 }}",
    "lorem ipsum": "{{ lipsum(n=1000000) }}",
    "a date of great width": "{{ strftime_now('%1000000000d') }}",
    "a long date": "{{ strftime_now('%c' * 10000000) }}",
    "quoting": _GROW.replace("@", "(ns.v ~ '%')|urlencode ~ ns.v"),
    "splitting into characters": "{{ ('a ' * 4000000).split()|length }}",
    "splitting into lines": "{{ ('\n' * 8000000).splitlines()|length }}",
    "pairs": _X + "{{ dict(x|batch(2)|list)|length }}{{ 1/0 }}",
    "a namespace of itself": "{% set ns = namespace() %}{% set ns.a = [ns, ns] %}"
    + _GROW.replace("@", "ns.v ~ [ns.v, ns.v]"),
}

SOURCES = {
    "too long": "x" * 1_000_000,
    "deep parentheses": "{{ " + "(" * 20000 + "1" + ")" * 20000 + " }}",
    "deep lists": "{{ " + "[" * 20000 + "]" * 20000 + " }}",
    "many sums": "{{ 1" + "+1" * 50000 + " }}",
    "many negations": "{{ " + "-" * 100000 + "1 }}",
    "many nots": "{{ " + "not " * 20000 + "1 }}",
    "many attributes": "{{ x" + ".a" * 50000 + " }}",
    "many filters": "{{ x" + "|e" * 50000 + " }}",
    "nested ifs": "{% if a %}" * 8000 + "{% endif %}" * 4000,
    "nested loops": "{% for a in b %}" * 3000 + "{% endfor %}" * 3000,
    "nested macros": "{% macro a() %}" * 2000 + "{% endmacro %}" * 2000,
    "many branches": "{% if a %}" + "{% elif b %}y" * 8000 + "{% endif %}",
    "open expression": "{{" * 60000,
    "open comment": "{#" * 60000,
    "open text": "{{ 'a" * 20000,
    "unknown tag": "{% do messages.append(1) %}",
    "unknown filter": "{{ 1|system }}",
    "a constant of many digits": "{{ " + "9" * 100000 + " }}",
}
