import datetime as dt
import json
import subprocess
import sys

import jsonschema
import pytest
from callgate.tools.schemas import LONGEST_SCHEMA, check_schema, misfit
from hypothesis import given
from hypothesis import strategies as st

ORDER = {
    "type": "object",
    "properties": {
        "order": {"type": "string", "pattern": "^[0-9]{5}$"},
        "items": {"type": "array", "items": {"$ref": "#/$defs/item"}},
    },
    "required": ["order"],
    "additionalProperties": False,
    "$defs": {"item": {"type": "object", "properties": {"count": {"type": "integer", "minimum": 1}}}},
}


def test_a_schema_of_an_object_is_taken():
    assert check_schema(ORDER) is None
    assert check_schema({"type": "object"}) is None


@pytest.mark.parametrize(
    ("schema", "problem"),
    [
        ({"type": "objct"}, "type: "),
        ({"type": "object", "properties": {"a": {"type": "strin"}}}, "properties.a.type: "),
        ({"type": "object", "properties": {"a": {"pattern": "("}}}, "properties.a.pattern: "),
        ({"type": "object", "required": "a"}, "required: "),
        ({}, 'its type must be "object"'),
        ({"type": "string"}, 'its type must be "object"'),
        ({"type": "object", "default": dt.date(2026, 1, 1)}, "JSON does not have"),
        ({"type": "object", "default": float("nan")}, "JSON does not have"),
        ({"type": "object", "properties": {"a": {"$ref": "#/$defs/none"}}}, "leads nowhere"),
        ({"type": "object", "properties": {"a": {"$ref": "https://127.0.0.1/schema"}}}, "leads nowhere"),
        ({"type": "object", "$ref": "#"}, "leads back to itself"),
    ],
)
def test_a_schema_that_can_not_be_used_is_named_with_its_place(schema, problem):
    assert problem in (check_schema(schema) or "")


def test_arguments_that_fit_are_taken():
    assert misfit(ORDER, {"order": "12345", "items": [{"count": 2}]}) is None


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({}, "'order' is a required property"),
        ({"order": 12345}, 'order: must fit {"type": "string"}'),
        ({"order": "5551230000"}, 'order: must fit {"pattern": "^[0-9]{5}$"}'),
        ({"order": "12345", "items": [{"count": 0}]}, 'items.0.count: must fit {"minimum": 1}'),
        ({"order": "12345", "more": "x"}, 'the arguments: must fit {"additionalProperties": false}'),
    ],
)
def test_arguments_that_do_not_fit_are_answered_with_the_rule(arguments, said):
    assert misfit(ORDER, arguments) == said


def test_nothing_that_a_caller_said_is_in_the_answer():
    for arguments in ({"order": "my-secret"}, {"order": ["my-secret"]}, {"order": "12345", "x": "my-secret"}):
        assert "my-secret" not in (misfit(ORDER, arguments) or "my-secret")


def test_arguments_that_are_nested_without_end_are_refused():
    tree = {"type": "object", "properties": {"next": {"$ref": "#"}}}
    deep: dict[str, object] = {}
    for _ in range(2000):
        deep = {"next": deep}
    assert check_schema(tree) is None
    assert misfit(tree, {"next": {}}) is None
    assert misfit(tree, deep) == "the arguments are nested too deeply"


def test_a_name_that_a_caller_said_is_not_in_the_answer_either():
    prices = {"type": "object", "additionalProperties": {"type": "number"}, "propertyNames": {"maxLength": 9}}
    assert misfit(prices, {"my-secret": "x"}) == '…: must fit {"type": "number"}'
    assert "secret" not in (misfit(prices, {"my-secret-too": 1}) or "secret")


@pytest.mark.parametrize("number", [1e-300, 0.01, 3, 10**400])
def test_a_rule_for_numbers_is_no_harder_for_large_ones(number):
    schema = {"type": "object", "properties": {"n": {"multipleOf": number, "maximum": 10**400}}}
    assert check_schema(schema) is None
    assert misfit(schema, {"n": 0}) is None
    assert misfit(schema, {"n": 10**401 + 1}) is not None


# Whatever the schema and the arguments, the answer comes soon. Endless matching would block any test, so it runs in
# another process.

PROGRAM = """
import json, sys
from callgate.tools.schemas import check_schema, misfit
schema, arguments = json.load(sys.stdin)
print(json.dumps([check_schema(schema), misfit(schema, arguments)]))
"""


def answer(schema: object, arguments: object) -> list[str | None]:
    told = subprocess.run(
        [sys.executable, "-c", PROGRAM], input=json.dumps([schema, arguments]),
        capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    found: list[str | None] = json.loads(told.stdout)
    return found


def obj(**properties: object) -> dict[str, object]:
    return {"type": "object", "properties": properties}


def nested(depth: int, leaf: object = "x") -> object:
    for _ in range(depth):
        leaf = {"a": leaf}
    return leaf


def unevaluated(depth: int) -> dict[str, object]:
    schema: dict[str, object] = obj(a={"type": "string"})
    for _ in range(depth):
        schema = {"anyOf": [schema], "unevaluatedProperties": {"type": "object"}}
    return {"type": "object", **schema}


TWICE = [obj(a={"$ref": "#"}), obj(a={"$ref": "#"})]
A = "a" * 15_000


@pytest.mark.parametrize(
    ("schema", "arguments"),
    [
        (obj(a={"pattern": "(a+)+$"}), {"a": A + "!"}),
        (obj(a={"pattern": "^(\\w+\\s?)*$"}), {"a": A + "!"}),
        (obj(a={"pattern": "^(a|a)*$"}), {"a": A + "!"}),
        (obj(a={"pattern": "[ab]*a[ab]{900}x"}), {"a": "ab" * 7_500}),
        (obj(a={"pattern": ".*.*.*.*.*=.*"}), {"a": A}),
        ({"type": "object", "patternProperties": {"(a+)+$": {"type": "null"}}}, {A + "!": 1}),
        ({"type": "object", "propertyNames": {"pattern": "^(a+)+$"}}, {A + "!": 1}),
        ({"type": "object", "allOf": TWICE}, nested(60)),
        ({"type": "object", "anyOf": TWICE}, nested(60, 1)),
        ({"type": ["object", "string"], "oneOf": [*TWICE, {"type": "string"}]} | {"type": "object"}, nested(60, "x")),
        ({"type": "object", "if": TWICE[0], "then": TWICE[1]}, nested(60)),
        ({"type": "object", "patternProperties": {"a": {"$ref": "#"}, "^a": {"$ref": "#"}}}, nested(60)),
        (obj(a={"items": {"$ref": "#/properties/a"}, "contains": {"$ref": "#/properties/a"}}), {"a": [[[1]] * 99] * 9}),
        (obj(a={"uniqueItems": True}), {"a": [[number] for number in range(2_000)]}),
        (obj(a={"uniqueItems": True, "items": {"$ref": "#/properties/a"}}), {"a": [[[[]]] * 9] * 300}),
        (obj(a={"dependentSchemas": {"a": obj(a={"$ref": "#/properties/a"}), "b": {}}}), nested(60)),
        (unevaluated(6), {"a": {"a": 1}}),
        (obj(a={"multipleOf": 7, "allOf": [{"multipleOf": 3}] * 99}), {"a": 10**4_000}),
        (obj(a={"format": "email"}, b={"format": "uri"}, c={"format": "regex"}), {"a": A, "b": A, "c": "(" * 999}),
        (obj(a={"items": {"allOf": [{"enum": [*range(99)]}] * 99}}), {"a": [1] * 7_000}),
    ],
)  # fmt: skip
@pytest.mark.whole
def test_whatever_the_schema_and_the_arguments_an_answer_comes(schema, arguments):
    assert answer(schema, arguments)[0] is None


def test_a_pattern_that_a_backtracking_engine_would_try_for_years_is_matched_in_linear_time():
    """One of the cases above that also runs in the fast suite."""
    schema = obj(a={"pattern": "(a+)+$"})
    assert answer(schema, {"a": A}) == [None, None]
    assert answer(schema, {"a": A + "!"}) == [None, 'a: must fit {"pattern": "(a+)+$"}']


@pytest.mark.parametrize(
    "pattern", ["^[0-9]{5}$", "(a+)+$", "^\\d{4}-\\d\\d$", "^\\p{L}+$", "^(?:a|b)*?c{2,9}$", "^.{1,500}$"]
)
def test_a_pattern_that_linear_time_is_enough_for_is_taken(pattern):
    assert check_schema(obj(a={"pattern": pattern})) is None


@pytest.mark.parametrize(
    ("pattern", "why"),
    [
        ("^(?=.*[0-9]).+$", "looks ahead or behind"),
        ("^(?!00)[0-9]+$", "looks ahead or behind"),
        ("(?<=a)b", "looks ahead or behind"),
        ("(?<!a)b", "looks ahead or behind"),
        ("^(a|b)\\1$", "can't be matched in linear time: write it without back-references"),
        ("^.{1,9999}$", "is too large: say in minLength and maxLength"),
        ("^([a-z]{1,99}){1,99}$", "is too large"),
        ("(", "is no regular expression"),
    ],
)
@pytest.mark.parametrize(
    ("place", "of"),
    [
        ("pattern", lambda pattern: {"pattern": pattern}),
        ("patternProperties", lambda pattern: {"patternProperties": {pattern: {}}}),
        ("items.pattern", lambda pattern: {"items": {"pattern": pattern}}),
        ("allOf.0.not.pattern", lambda pattern: {"allOf": [{"not": {"pattern": pattern}}]}),
        ("propertyNames.pattern", lambda pattern: {"propertyNames": {"pattern": pattern}}),
    ],
)
def test_one_that_needs_more_is_refused_wherever_it_stands_with_what_to_write_instead(pattern, why, place, of):
    told = check_schema({"type": "object", "properties": {"a": of(pattern)}}) or ""
    assert told.startswith(f"properties.a.{place}")
    assert repr(pattern) in told
    assert why in told


def test_one_in_a_part_that_nothing_refers_to_is_refused_too():
    assert "looks ahead" in (check_schema({"type": "object", "$defs": {"a": {"pattern": "(?=a)"}}}) or "")


def doubling(levels: int) -> dict[str, object]:
    parts: dict[str, object] = {f"p{levels}": {"type": "object"}}
    for level in range(levels):
        parts[f"p{level}"] = {"allOf": [{"$ref": f"#/$defs/p{level + 1}"}, {"$ref": f"#/$defs/p{level + 1}"}]}
    return {"type": "object", "$ref": "#/$defs/p0", "$defs": parts}


def chain(levels: int) -> dict[str, object]:
    parts: dict[str, object] = {f"p{level}": {"$ref": f"#/$defs/p{level + 1}"} for level in range(levels)}
    return {"type": "object", "$ref": "#/$defs/p0", "$defs": {**parts, f"p{levels}": {}}}


@pytest.mark.parametrize(
    ("schema", "problem"),
    [
        (doubling(25), "its $refs multiply"),
        (obj(a=doubling(25) | {"$defs": {}}) | {"$defs": doubling(25)["$defs"]}, "its $refs multiply"),
        (unevaluated(20), "its $refs multiply"),
        (chain(200), "leads from part to part more than 64 times"),
        (obj(a=obj(a=obj(a={"$ref": "#/properties/a/properties/b"}))), "leads nowhere"),
        (obj(a={"$ref": "#/properties/b"}, b={"anyOf": [{"$ref": "#/properties/a"}]}), "leads back to itself"),
        (obj(**{f"p{number}": {} for number in range(2_100)}), "has more than 2000 parts"),
        (obj(a={"description": "x" * LONGEST_SCHEMA}), "is longer than 64 kB"),
        ({"type": "object", "not": nested(80)}, "is nested more than 64 levels deep"),
        (obj(a={"$dynamicRef": "#a"}), "properties.a: $dynamicRef can't be used here"),
        (obj(a={"$id": "https://other.example/"}), "properties.a: $id can't be used within a schema"),
    ],
)
def test_a_schema_whose_parts_multiply_is_refused(schema, problem):
    assert problem in (check_schema(schema) or "")


@pytest.mark.parametrize(
    ("asked", "value"),
    [({"dependentRequired": {f"k{number}": ["z"] for number in range(4_000)}}, {}), ({"multipleOf": 0.01}, 1e308)],
    ids=["dependentRequired", "multipleOf"],
)
def test_what_is_slow_for_each_value_is_counted(asked, value):
    schema = {"$defs": {"d": asked}, **obj(x={"items": {"allOf": [{"$ref": "#/$defs/d"}] * 20}})}
    assert check_schema(schema) is None
    assert "too" in (misfit(schema, {"x": [value] * 2_500}) or "")
    assert misfit(schema, {"x": [value] * 2}) in (None, 'x.0: must fit {"multipleOf": 0.01}')


def test_parts_that_refer_to_one_another_as_people_write_them_are_taken():
    assert check_schema(doubling(5)) is None
    assert check_schema(unevaluated(2)) is None
    tree = {"type": "object", "properties": {"left": {"$ref": "#"}, "right": {"$ref": "#"}, "n": {"type": "integer"}}}
    full: dict[str, object] = {"n": 1}
    for _ in range(6):
        full = {"left": full, "right": full, "n": 2}
    assert misfit(tree, full) is None
    either = {"$anchor": "x", "oneOf": [{"type": "string"}, obj(all={"type": "array", "items": {"$ref": "#x"}})]}
    schema = obj(filter={"$ref": "#x"}, e=either)
    assert check_schema(schema) is None
    assert misfit(schema, {"filter": {"all": ["a", {"all": ["b"]}]}}) is None
    assert misfit(schema, {"filter": {"all": ["a", {"all": [7]}]}}) is not None


def test_arguments_that_would_take_too_long_with_their_schema_are_refused_without_being_checked():
    said = misfit({"type": "object", "allOf": TWICE}, nested(60))
    assert said == "the arguments are too long, or too deeply nested, to be checked against the tool's parameters"


SCALARS = st.none() | st.booleans() | st.integers(-5, 5) | st.sampled_from([0.5, 2.0, "", "a", "ab", "b1"])
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abc"), inner, max_size=3)
)
SIMPLE = st.one_of(
    st.builds(dict, type=st.sampled_from(["null", "boolean", "integer", "number", "string", "array", "object"])),
    st.builds(dict, enum=st.lists(VALUES, min_size=1, max_size=3)),
    st.builds(dict, const=VALUES),
    st.builds(dict, minimum=st.integers(-5, 5), exclusiveMaximum=st.integers(-5, 5)),
    st.builds(dict, multipleOf=st.sampled_from([1, 2, 0.5])),
    st.builds(dict, minLength=st.integers(0, 2), maxLength=st.integers(0, 2)),
    st.builds(dict, pattern=st.sampled_from(["a", "^a$", "b[0-9]", "^(a|b)*$"])),
    st.builds(dict, minItems=st.integers(0, 3), uniqueItems=st.booleans()),
    st.builds(dict, required=st.lists(st.sampled_from("abc"), unique=True), maxProperties=st.integers(0, 3)),
    st.builds(dict, dependentRequired=st.dictionaries(st.sampled_from("abc"), st.just(["a"]), max_size=2)),
    st.sampled_from([{}, {"$ref": "#/$defs/part"}]),
)


def larger(inner: st.SearchStrategy[object]) -> st.SearchStrategy[object]:
    some = st.lists(inner | st.booleans(), min_size=1, max_size=3)
    named = st.dictionaries(st.sampled_from("abc"), inner, max_size=3)
    return st.one_of(
        st.builds(dict, properties=named, additionalProperties=inner | st.booleans()),
        st.builds(dict, properties=named, allOf=some, unevaluatedProperties=inner | st.booleans()),
        st.builds(dict, patternProperties=st.dictionaries(st.sampled_from(["^a", "[bc]"]), inner)),
        st.builds(dict, propertyNames=inner),
        st.builds(dict, items=inner, prefixItems=some),
        st.builds(dict, contains=inner, minContains=st.integers(0, 2)),
        st.builds(dict, allOf=some, anyOf=some),
        st.builds(dict, oneOf=some),
        st.builds(lambda part: {"not": part}, inner),
        st.builds(lambda a, b, c: {"if": a, "then": b, "else": c}, inner, inner, inner),
        st.builds(dict, dependentSchemas=named),
    )


@given(st.recursive(SIMPLE, larger, max_leaves=6), SIMPLE, st.dictionaries(st.sampled_from("abc"), VALUES))
def test_what_fits_is_what_fits_by_another_implementation(schema, part, arguments):
    if part == {"$ref": "#/$defs/part"}:
        part = {}
    whole = {**schema, "type": "object", "$defs": {"part": part}}
    assert check_schema(whole) is None
    assert (misfit(whole, arguments) is None) == jsonschema.Draft202012Validator(whole).is_valid(arguments)
