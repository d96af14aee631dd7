"""The model as KServe's server sees it."""

import struct
import uuid
from typing import Any, Protocol

import numpy as np
import orjson
from kserve import InferInput, InferOutput, InferRequest, InferResponse, Model

from bertjob_serving import golden
from bertjob_serving.artifact import Artifact
from bertjob_serving.predictor import protocol
from bertjob_serving.predictor.errors import InvalidRequestError
from bertjob_serving.predictor.settings import Limits
from bertjob_serving.predictor.worker import Computed
from bertjob_tasks.task import Answer, Asked

Array = np.ndarray[Any, np.dtype[Any]]


class Logits(Protocol):
    """What computes."""

    async def logits(self, items: tuple[Asked, ...]) -> list[Computed]:
        """Return the logits of each text or pair."""
        ...


class ServedModel(Model):  # type: ignore[misc]  # kserve has no types
    """A verified artifact behind a worker."""

    def __init__(self, name: str, artifact: Artifact, worker: Logits, limits: Limits) -> None:
        super().__init__(name)
        self._artifact, self._worker, self._limits = artifact, worker, limits
        self._task, self._labels = artifact.task, artifact.manifest.labels
        self._form = protocol.Form(artifact.task.inputs, takes_words=artifact.task.takes_words)
        self.ready = True

    async def predict(self, payload: Any, _headers: Any = None, _response_headers: Any = None) -> Any:
        """Return the response to a V1 body or a V2 request."""
        if isinstance(payload, InferRequest):
            return await self._v2(payload)
        query = protocol.v1_query(_decoded(payload), self._form, self._limits)
        return protocol.v1_response(await self._answers(query))

    async def _v2(self, request: InferRequest) -> InferResponse:
        names = self._task.inputs
        values = [_elements(request, name) for name in names]
        query = protocol.v2_query(values, names, request.parameters, self._limits)
        columns = self._task.columns(await self._answers(query), labels=self._labels)
        return InferResponse(
            response_id=request.id or str(uuid.uuid4()),  # KServe's response type wants one
            model_name=self.name,
            model_version=self._artifact.manifest.sha256,
            infer_outputs=[
                InferOutput(name=name, datatype=datatype, shape=shape, data=data)
                for name, (datatype, shape, data) in columns.items()
            ],
        )

    async def _answers(self, query: protocol.Query) -> list[Answer]:
        found = await self._worker.logits(query.items)
        return [
            self._task.decode(logits, tokens, item, labels=self._labels, with_scores=query.with_scores)
            for (tokens, logits), item in zip(found, query.items, strict=True)
        ]

    async def agreement(self) -> dict[str, Any]:
        """Return how many golden texts this server answers as at evaluation, through the same way as requests."""
        kept = [(item, item.text) for item in self._artifact.golden if item.text is not None]
        found = await self._worker.logits(tuple(text for _, text in kept)) if kept else []
        agreed = sum(
            golden.is_answered(self._task, item, tokens, logits)
            for (item, _), (tokens, logits) in zip(kept, found, strict=True)
        )
        return {
            "sha256": self._artifact.manifest.sha256,
            "total": len(kept),
            "agreed": agreed,
            "agreement": agreed / len(kept) if kept else None,
        }

    def get_input_types(self) -> list[dict[str, Any]]:
        """Return the inputs for the metadata of V2."""
        return [{"name": name, "datatype": "BYTES", "shape": [-1]} for name in self._task.inputs]

    def get_output_types(self) -> list[dict[str, Any]]:
        """Return the outputs for the metadata of V2."""
        return [
            {"name": name, "datatype": kind, "shape": [-1] * self._task.output_rank}
            for name, kind in self._task.outputs.items()
        ]


def _decoded(payload: Any) -> Any:
    """Return a V1 body as JSON; KServe leaves it as bytes when the content type has parameters."""
    if not isinstance(payload, bytes):
        return payload
    try:
        return orjson.loads(payload)
    except orjson.JSONDecodeError as error:
        message = f"body: is not JSON ({error}); send a JSON object"
        raise InvalidRequestError(message) from error


def _elements(request: InferRequest, name: str) -> list[Any]:
    """Return the elements of the input *name*, whether they came as JSON or as raw bytes."""
    found: list[InferInput] = [item for item in request.inputs if item.name == name]
    if len(found) != 1 or found[0].datatype != "BYTES":
        got = ", ".join(f"{item.name} ({item.datatype})" for item in request.inputs) or "none"
        message = f"inputs: got {got}, expected one input named {name!r} of datatype BYTES"
        raise InvalidRequestError(message)
    try:
        values: list[Any] = found[0].as_numpy().reshape(-1).tolist()
    except (ValueError, TypeError, struct.error) as error:
        message = f"inputs: the data of {name!r} does not fit its shape {found[0].shape} ({error}); correct one of them"
        raise InvalidRequestError(message) from error
    return values
