"""
Kubernetes objects to typed values and back.

``parse`` collects every error of an object before it fails, each with its path, and accepts and refuses exactly what the
CRD's schema does (a contract test holds both to one table of bad specs).
"""

import dataclasses
import difflib
import math
import re
from collections.abc import Mapping
from typing import Any, TypeVar

from bertjob_api.fields import Schema
from bertjob_api.shape import Member, Shape, members

T = TypeVar("T")

_NAMES = {
    "string": "a string",
    "integer": "an integer",
    "number": "a number",
    "boolean": "true or false",
    "object": "an object",
    "list": "a list",
    "opaque": "an object",
}


class InvalidSpecError(ValueError):
    """
    An object does not fit the API.

    ``errors`` holds one sentence for each mistake: path, got, expected, next step.
    """

    def __init__(self, errors: list[str]) -> None:
        self.errors = errors
        super().__init__("; ".join(errors))


def parse(model: type[T], value: object, *, path: str = "spec") -> T:
    """
    Return *value* as an instance of the API type *model*, defaults filled in.

    Raises:
        InvalidSpecError: with every error found.

    """
    errors: list[str] = []
    result = _object(model, value, path, errors)
    if errors:
        raise InvalidSpecError(errors)
    assert isinstance(result, model)
    return result


def dump(value: Any) -> dict[str, Any]:
    """Return an API value in Kubernetes spelling; absent (None) fields are left out."""
    return {
        member.key: _plain(item) for member in members(type(value)) if (item := getattr(value, member.name)) is not None
    }


def _plain(value: Any) -> Any:
    if isinstance(value, str | int | float):
        return value
    if dataclasses.is_dataclass(value):
        return dump(value)
    if isinstance(value, tuple | list):
        return [_plain(item) for item in value]
    return value


def _object(model: type[Any], value: object, path: str, errors: list[str]) -> object | None:
    if not isinstance(value, Mapping):
        errors.append(f"{path}: got {_show(value)}, expected an object")
        return None
    known = {member.key: member for member in members(model)}
    errors.extend(_unknown(key, path, known) for key in value if key not in known)
    before = len(errors)
    arguments = {
        member.name: _member(member, value.get(member.key), f"{path}.{member.key}", errors) for member in known.values()
    }
    return model(**arguments) if len(errors) == before else None


def _unknown(key: object, path: str, known: Mapping[str, Member]) -> str:
    close = difflib.get_close_matches(str(key), known, n=1)
    hint = f"did you mean {close[0]}?" if close else f"known fields: {', '.join(known)}"
    return f"{path}.{key}: unknown field; {hint}"


def _member(member: Member, value: object, path: str, errors: list[str]) -> object:
    if value is not None:
        return _value(member.shape, value, path, member.schema, errors)
    if member.required:
        errors.append(f"{path}: is missing; set it to: {member.schema.doc}")
        return None
    return member.default


def _value(shape: Shape, value: object, path: str, schema: Schema, errors: list[str]) -> object:
    if not _fits(shape, value):
        errors.append(f"{path}: got {_show(value)}, expected {_NAMES[shape.kind]}")
        return None
    if shape.kind == "object":
        assert shape.model is not None
        return _object(shape.model, value, path, errors)
    if shape.kind == "list":
        assert shape.item is not None
        assert isinstance(value, list | tuple)
        return _list(shape.item, value, path, schema, errors)
    errors.extend(f"{path}: got {_show(value)}, expected {problem}" for problem in _problems(shape, value, schema))
    return float(value) if shape.kind == "number" and isinstance(value, int) else value


def _list(
    item: Shape, value: "list[object] | tuple[object, ...]", path: str, schema: Schema, errors: list[str]
) -> tuple[object, ...]:
    if not schema.min_items <= len(value) <= schema.max_items:
        errors.append(f"{path}: got {len(value)} items, expected {schema.min_items} to {schema.max_items}")
    repeated = sorted({str(entry) for entry in value if value.count(entry) > 1}) if schema.unique else []
    errors.extend(f"{path}: {entry!r} is listed twice; name it once" for entry in repeated)
    return tuple(_value(item, entry, f"{path}[{index}]", schema, errors) for index, entry in enumerate(value))


def _fits(shape: Shape, value: object) -> bool:
    if shape.kind in ("object", "opaque"):
        return isinstance(value, Mapping)
    if shape.kind == "list":
        return isinstance(value, list | tuple)
    if shape.kind == "boolean":
        return isinstance(value, bool)
    if isinstance(value, bool):
        return False
    if shape.kind == "integer":
        return isinstance(value, int) or (isinstance(value, float) and value.is_integer())
    return isinstance(value, str) if shape.kind == "string" else isinstance(value, int | float)


def _problems(shape: Shape, value: Any, schema: Schema) -> list[str]:
    """Return what is wrong with a scalar, as what was expected instead."""
    if shape.kind in ("opaque", "boolean"):
        return []
    if shape.kind in ("integer", "number"):
        return _number_problems(value, schema)
    if shape.enum is not None:
        return [] if value in shape.enum else [f"one of {', '.join(shape.enum)}"]
    problems = []
    if len(value) > schema.max_length:
        problems.append(f"at most {schema.max_length} characters")
    if schema.pattern is not None and re.search(schema.pattern, value) is None:
        problems.append(f"a match of {schema.pattern}")
    return problems


def _number_problems(value: float, schema: Schema) -> list[str]:
    if not math.isfinite(value):
        return ["a finite number"]
    problems = []
    if schema.minimum is not None and value < schema.minimum:
        problems.append(f"at least {schema.minimum:g}")
    if schema.maximum is not None and value > schema.maximum:
        problems.append(f"at most {schema.maximum:g}")
    return problems


def _show(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
