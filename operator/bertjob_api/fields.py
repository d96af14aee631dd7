"""
How a field of the API is declared: its text, bounds and whether it may change.

One declaration serves three readers: the parser (``parse``), the OpenAPI schema (``crd``) and the person who reads the type.
"""

import dataclasses
from collections.abc import Callable
from typing import Any, Final

DURATION: Final = r"^([0-9]+(h|m|s|ms))+$"
"""A Go-style duration such as 10m, 200ms or 1h30m."""
CADENCE: Final = r"^([0-9]+ steps|([0-9]+(h|m|s))+)$"
"""How often something happens: a number of optimizer steps or a duration."""
PERIOD: Final = r"^([1-9][0-9]* steps|[1-9][0-9]* epochs?)$"
"""How often something happens in training: a number of optimizer steps or of epochs."""
METRIC: Final = r"^[A-Za-z][A-Za-z0-9]*$"
"""Name of a metric, as in ``metrics.jsonl``."""
DNS_LABEL: Final = r"^[a-z]([-a-z0-9]*[a-z0-9])?$"
"""RFC 1035 label."""
DEFAULT_MAX_LENGTH: Final = 1024
"""Every string is bounded, otherwise the API server refuses the CEL rules as too costly."""
DEFAULT_MAX_ITEMS: Final = 64

_KEY: Final = "bertjob"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Schema:
    """What the API says about one field."""

    doc: str
    """One or two sentences for ``kubectl explain``."""
    minimum: float | None = None
    """Smallest number allowed, inclusive; None: unbounded."""
    maximum: float | None = None
    pattern: str | None = None
    """Regular expression that the whole string must match; RE2 syntax, which Python's ``re`` reads alike."""
    enum: tuple[str, ...] | None = None
    max_length: int = DEFAULT_MAX_LENGTH
    min_items: int = 0
    max_items: int = DEFAULT_MAX_ITEMS
    unique: bool = False
    """List items may not repeat."""
    immutable: bool = False
    """Refuse a change after creation."""
    opaque: bool = False
    """Foreign Kubernetes object passed through unread (``x-kubernetes-preserve-unknown-fields``)."""
    list_key: str | None = None
    """Key of a list of objects merged by that key (``x-kubernetes-list-type: map``)."""
    timestamp: bool = False
    """RFC 3339 date and time."""


def api_field(
    doc: str,
    *,
    default: object = dataclasses.MISSING,
    default_factory: Callable[[], object] | None = None,
    **schema: Any,
) -> Any:
    """
    Declare one field of an API type; without a default it is required.

    Args:
        doc: sentence for ``kubectl explain``.
        default: value when the field is absent; also the default in the CRD unless it is None.
        default_factory: makes the default of a nested type.
        **schema: further attributes of ``Schema``.

    """
    metadata = {_KEY: Schema(doc=doc, **schema)}
    if default_factory is not None:
        return dataclasses.field(default_factory=default_factory, metadata=metadata)
    return dataclasses.field(default=default, metadata=metadata)


def schema_of(field: "dataclasses.Field[Any]") -> Schema:
    """Return what was declared for *field*."""
    schema = field.metadata[_KEY]
    assert isinstance(schema, Schema)
    return schema


def camel(name: str) -> str:
    """Return the Kubernetes spelling of a Python field name: ``max_p99`` is ``maxP99``."""
    head, *rest = name.split("_")
    return head + "".join(part.capitalize() for part in rest)
