"""The shape of an annotated field: what ``parse`` and ``crd`` need to know of its type."""

import dataclasses
import types
import typing
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal, Union, get_args, get_origin

from bertjob_api.fields import Schema, camel, schema_of


@dataclass(frozen=True, slots=True)
class Shape:
    """A field's type, taken apart."""

    kind: Literal["string", "integer", "number", "boolean", "object", "list", "opaque"]
    optional: bool = False
    """The value may be absent (None)."""
    enum: tuple[str, ...] | None = None
    model: type[Any] | None = None
    """Dataclass of an object."""
    item: "Shape | None" = None
    """Shape of a list's items."""


@dataclass(frozen=True, slots=True)
class Member:
    """One field of an API type."""

    name: str
    """Python name."""
    key: str
    """Kubernetes name."""
    shape: Shape
    schema: Schema
    required: bool
    default: object
    """Default value, or ``dataclasses.MISSING``; nested types: an instance made of defaults."""


_SCALARS: dict[type, Literal["string", "integer", "number", "boolean"]] = {
    str: "string",
    int: "integer",
    float: "number",
    bool: "boolean",
}


_MEMBERS: dict[type[Any], tuple[Member, ...]] = {}
"""Types never change, and taking one apart is slow."""


def shape_of(annotation: Any) -> Shape:
    """Return the shape of a type annotation; a type the API cannot express is a programmer's mistake."""
    origin = get_origin(annotation)
    if origin in (Union, types.UnionType):
        inner = [part for part in get_args(annotation) if part is not type(None)]
        assert len(inner) == 1, f"only T | None is an API type, got {annotation}"
        return dataclasses.replace(shape_of(inner[0]), optional=True)
    if origin is Literal:
        return Shape("string", enum=tuple(str(value) for value in get_args(annotation)))
    if origin is tuple:
        return Shape("list", item=shape_of(get_args(annotation)[0]))
    if dataclasses.is_dataclass(annotation):
        assert isinstance(annotation, type)
        return Shape("object", model=annotation)
    if annotation in _SCALARS:
        return Shape(_SCALARS[annotation])
    return Shape("opaque")


def _default(field: "dataclasses.Field[Any]") -> object:
    if field.default_factory is not dataclasses.MISSING:
        return field.default_factory()
    return field.default


def members(model: type[Any]) -> tuple[Member, ...]:
    """Return the fields of an API type in order of declaration."""
    if model not in _MEMBERS:
        _MEMBERS[model] = tuple(_members(model))
    return _MEMBERS[model]


def _members(model: type[Any]) -> Iterator[Member]:
    hints = typing.get_type_hints(model)
    for field in dataclasses.fields(model):
        default = _default(field)
        yield Member(
            name=field.name,
            key=camel(field.name),
            shape=shape_of(hints[field.name]),
            schema=schema_of(field),
            required=default is dataclasses.MISSING,
            default=default,
        )
