"""
Requests and responses of both inference protocols, as pure functions.

Source: KServe data plane, "V1 protocol" and "Open Inference Protocol (V2)".
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from bertjob_serving.predictor.errors import InvalidRequestError, TooLargeError
from bertjob_serving.predictor.settings import Limits
from bertjob_tasks.classification import Prediction

TEXT: Final = "text"
LABEL: Final = "label"
SCORE: Final = "score"
SCORES: Final = "scores"
"""Parameter of a request, and name of the output, for the probabilities of all labels."""


@dataclass(frozen=True, slots=True)
class Query:
    """What a request asks."""

    texts: tuple[str, ...]
    with_scores: bool
    """Answer the probabilities of all labels too."""


def v1_query(body: object, limits: Limits) -> Query:
    """Return the query of ``{"instances": ["text" or {"text": "text"}, ...], "parameters": {"scores": true}}``."""
    if not isinstance(body, Mapping) or not isinstance(body.get("instances"), list):
        message = 'body: expected a JSON object {"instances": ["a text", ...]}'
        raise InvalidRequestError(message)
    texts = [_v1_text(item, number) for number, item in enumerate(body["instances"])]
    return _query(texts, body.get("parameters"), limits)


def v2_query(values: Sequence[object], parameters: object, limits: Limits) -> Query:
    """Return the query of the elements of the input ``text``, strings or UTF-8 bytes, and the request's parameters."""
    return _query([_v2_text(value, number) for number, value in enumerate(values)], parameters, limits)


def v1_response(predictions: Sequence[Prediction], query: Query, labels: Sequence[str]) -> dict[str, Any]:
    """Return ``{"predictions": [{"label": ..., "score": ...}, ...]}``."""
    rows: list[dict[str, Any]] = [{LABEL: item.label, SCORE: item.score} for item in predictions]
    if query.with_scores:
        for row, item in zip(rows, predictions, strict=True):
            row[SCORES] = dict(zip(labels, item.scores, strict=True))
    return {"predictions": rows}


def v2_outputs(predictions: Sequence[Prediction], query: Query) -> dict[str, tuple[str, list[int], list[Any]]]:
    """Return datatype, shape and flat data of each output."""
    count = len(predictions)
    outputs: dict[str, tuple[str, list[int], list[Any]]] = {
        LABEL: ("BYTES", [count], [item.label for item in predictions]),
        SCORE: ("FP32", [count], [item.score for item in predictions]),
    }
    if query.with_scores:
        flat = [value for item in predictions for value in item.scores]
        outputs[SCORES] = ("FP32", [count, len(flat) // count], flat)
    return outputs


def _query(texts: list[str], parameters: object, limits: Limits) -> Query:
    if not texts:
        message = "request: holds no text, expected at least one"
        raise InvalidRequestError(message)
    if len(texts) > limits.max_batch:
        message = f"request: holds {len(texts)} texts, expected at most {limits.max_batch}; send several requests"
        raise TooLargeError(message)
    for number, text in enumerate(texts):
        if len(text) > limits.max_chars:
            message = f"text {number}: has {len(text)} characters, expected at most {limits.max_chars}; shorten it"
            raise TooLargeError(message)
    wanted = parameters.get(SCORES, False) if isinstance(parameters, Mapping) else False
    if not isinstance(wanted, bool):
        message = f"parameters.{SCORES}: got {type(wanted).__name__}, expected true or false"
        raise InvalidRequestError(message)
    return Query(tuple(texts), wanted)


def _v1_text(item: object, number: int) -> str:
    value = item.get(TEXT) if isinstance(item, Mapping) else item
    if not isinstance(value, str):
        message = f'instances[{number}]: got {type(item).__name__}, expected a string or {{"text": "a string"}}'
        raise InvalidRequestError(message)
    return _unicode(value, f"instances[{number}]")


def _v2_text(value: object, number: int) -> str:
    if isinstance(value, bytes):
        try:
            return value.decode("utf-8")
        except UnicodeDecodeError as error:
            message = f"text {number}: is not UTF-8 at byte {error.start}; encode it as UTF-8"
            raise InvalidRequestError(message) from error
    if not isinstance(value, str):
        message = f"text {number}: got {type(value).__name__}, expected a string"
        raise InvalidRequestError(message)
    return _unicode(value, f"text {number}")


def _unicode(value: str, where: str) -> str:
    """Return *value*, which must be encodable: JSON can spell half of a surrogate pair, the tokenizer cannot read it."""
    if any("\ud800" <= char <= "\udfff" for char in value):
        message = f"{where}: holds half of a surrogate pair; send valid Unicode"
        raise InvalidRequestError(message)
    return value
