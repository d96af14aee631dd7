"""
Requests and responses of both inference protocols, as pure functions.

Source: KServe data plane, "V1 protocol" and "Open Inference Protocol (V2)".
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from bertjob_serving.predictor.errors import InvalidRequestError, TooLargeError
from bertjob_serving.predictor.settings import Limits
from bertjob_tasks.task import Answer, Asked

SCORES: Final = "scores"
"""Parameter of a request for the probabilities of all labels."""


@dataclass(frozen=True, slots=True)
class Form:
    """What one instance consists of."""

    names: tuple[str, ...]
    """Of its texts."""
    takes_words: bool = False
    """A single text may be the list of its words."""


@dataclass(frozen=True, slots=True)
class Query:
    """What a request asks."""

    items: tuple[Asked, ...]
    """A text, a pair of texts, or the words of a text, each."""
    with_scores: bool
    """Answer the probabilities of all labels too."""


def v1_query(body: object, form: Form, limits: Limits) -> Query:
    """
    Return the query of a V1 body.

    Args:
        body: ``{"instances": [{"text": "..."}, ...], "parameters": {"scores": true}}``; a task on one text takes bare strings too.
        form: of one instance.
        limits: what is too large.

    """
    if not isinstance(body, Mapping) or not isinstance(body.get("instances"), list):
        message = f'body: expected a JSON object {{"instances": [{_example(form.names)}, ...]}}'
        raise InvalidRequestError(message)
    items = [_v1_item(item, form, number) for number, item in enumerate(body["instances"])]
    return _query(items, body.get("parameters"), limits)


def v2_query(values: Sequence[Sequence[object]], names: Sequence[str], parameters: object, limits: Limits) -> Query:
    """
    Return the query of a V2 request.

    Args:
        values: the elements of each input, strings or UTF-8 bytes.
        names: of these inputs.
        parameters: the request's.
        limits: what is too large.

    """
    counts = {len(column) for column in values}
    if len(counts) > 1:
        sizes = ", ".join(f"{name}: {len(column)}" for name, column in zip(names, values, strict=True))
        message = f"inputs: have different numbers of elements ({sizes}), expected one of each for every question"
        raise InvalidRequestError(message)
    texts = [
        [_v2_text(value, f"{name} {number}") for number, value in enumerate(column)]
        for name, column in zip(names, values, strict=True)
    ]
    return _query([_asked(parts) for parts in zip(*texts, strict=True)], parameters, limits)


def v1_response(answers: Sequence[Answer]) -> dict[str, Any]:
    """Return ``{"predictions": [...]}``."""
    return {"predictions": [dict(answer) for answer in answers]}


def _query(items: list[Asked], parameters: object, limits: Limits) -> Query:
    if not items:
        message = "request: holds no text, expected at least one"
        raise InvalidRequestError(message)
    if len(items) > limits.max_batch:
        message = f"request: holds {len(items)} texts, expected at most {limits.max_batch}; send several requests"
        raise TooLargeError(message)
    for number, item in enumerate(items):
        size = len(item) if isinstance(item, str) else sum(map(len, item))
        if size > limits.max_chars:
            message = f"text {number}: has {size} characters, expected at most {limits.max_chars}; shorten it"
            raise TooLargeError(message)
    wanted = parameters.get(SCORES, False) if isinstance(parameters, Mapping) else False
    if not isinstance(wanted, bool):
        message = f"parameters.{SCORES}: got {type(wanted).__name__}, expected true or false"
        raise InvalidRequestError(message)
    return Query(tuple(items), wanted)


def _asked(parts: Sequence[str]) -> Asked:
    """Return one text bare and two as a pair."""
    return parts[0] if len(parts) == 1 else (parts[0], parts[1])


def _example(names: Sequence[str]) -> str:
    """Return an instance for messages."""
    return "{" + ", ".join(f'"{name}": "a text"' for name in names) + "}"


def _v1_item(item: object, form: Form, number: int) -> Asked:
    where, names = f"instances[{number}]", form.names
    values = [item.get(name) for name in names] if isinstance(item, Mapping) else [item]
    if form.takes_words and isinstance(values[0], list):
        values = values[0]
        words = [_unicode(word, where) for word in values if isinstance(word, str) and word.strip()]
        if words and len(words) == len(values):
            return tuple(words)
    texts = [_unicode(value, where) for value in values if isinstance(value, str)]
    if len(texts) != len(names) or len(texts) != len(values):
        bare = "a string or " if len(names) == 1 else ""
        listed = ", or a list of words that are not empty" if form.takes_words else ""
        got = "an object without these strings" if isinstance(item, Mapping) else type(item).__name__
        message = f"{where}: got {got}, expected {bare}{_example(names)}{listed}"
        raise InvalidRequestError(message)
    return _asked(texts)


def _v2_text(value: object, where: str) -> str:
    if isinstance(value, bytes):
        try:
            return value.decode("utf-8")
        except UnicodeDecodeError as error:
            message = f"{where}: is not UTF-8 at byte {error.start}; encode it as UTF-8"
            raise InvalidRequestError(message) from error
    if not isinstance(value, str):
        message = f"{where}: got {type(value).__name__}, expected a string"
        raise InvalidRequestError(message)
    return _unicode(value, where)


def _unicode(value: str, where: str) -> str:
    """Return *value*, which must be encodable: JSON can spell half of a surrogate pair, the tokenizer cannot read it."""
    if any("\ud800" <= char <= "\udfff" for char in value):
        message = f"{where}: holds half of a surrogate pair; send valid Unicode"
        raise InvalidRequestError(message)
    return value
