import datetime as dt

import pytest
from callgate.schemas import check_schema, misfit

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
