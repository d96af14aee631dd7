"""The model as KServe's server sees it."""

import struct
import uuid
from typing import Any, Protocol

import numpy as np
import orjson
from kserve import InferOutput, InferRequest, InferResponse, Model

from bertjob_serving import golden
from bertjob_serving.artifact import Artifact
from bertjob_serving.predictor import protocol
from bertjob_serving.predictor.errors import InvalidRequestError
from bertjob_serving.predictor.settings import Limits
from bertjob_tasks import classification

Array = np.ndarray[Any, np.dtype[Any]]


class Logits(Protocol):
    """What computes."""

    async def logits(self, texts: tuple[str, ...]) -> Array:
        """Return the logits (N, L) of the texts."""
        ...


class Classifier(Model):  # type: ignore[misc]  # kserve has no types
    """A verified artifact behind a worker."""

    def __init__(self, name: str, artifact: Artifact, worker: Logits, limits: Limits) -> None:
        super().__init__(name)
        self._artifact, self._worker, self._limits = artifact, worker, limits
        self._labels = artifact.manifest.labels
        self.ready = True

    async def predict(self, payload: Any, _headers: Any = None, _response_headers: Any = None) -> Any:
        """Return the response to a V1 body or a V2 request."""
        if isinstance(payload, InferRequest):
            return await self._v2(payload)
        query = protocol.v1_query(_decoded(payload), self._limits)
        return protocol.v1_response(await self._predictions(query), query, self._labels)

    async def _v2(self, request: InferRequest) -> InferResponse:
        query = protocol.v2_query(_elements(request), request.parameters, self._limits)
        outputs = protocol.v2_outputs(await self._predictions(query), query)
        return InferResponse(
            response_id=request.id or str(uuid.uuid4()),  # KServe's response type wants one
            model_name=self.name,
            model_version=self._artifact.manifest.sha256,
            infer_outputs=[
                InferOutput(name=name, datatype=datatype, shape=shape, data=data)
                for name, (datatype, shape, data) in outputs.items()
            ],
        )

    async def _predictions(self, query: protocol.Query) -> list[classification.Prediction]:
        return classification.decode(await self._worker.logits(query.texts), self._labels)

    async def agreement(self) -> dict[str, Any]:
        """Return how many golden texts this server answers as at evaluation, through the same way as requests."""
        items = [item for item in self._artifact.golden if item.text is not None]
        logits = await self._worker.logits(tuple(item.text or "" for item in items)) if items else ()
        agreed = sum(golden.same_answer(item.served, row) for item, row in zip(items, logits, strict=True))
        return {
            "sha256": self._artifact.manifest.sha256,
            "total": len(items),
            "agreed": agreed,
            "agreement": agreed / len(items) if items else None,
        }

    def get_input_types(self) -> list[dict[str, Any]]:
        """Return the inputs for the metadata of V2."""
        return [{"name": protocol.TEXT, "datatype": "BYTES", "shape": [-1]}]

    def get_output_types(self) -> list[dict[str, Any]]:
        """Return the outputs for the metadata of V2."""
        kinds = ((protocol.LABEL, "BYTES"), (protocol.SCORE, "FP32"))
        return [{"name": name, "datatype": datatype, "shape": [-1]} for name, datatype in kinds]


def _decoded(payload: Any) -> Any:
    """Return a V1 body as JSON; KServe leaves it as bytes when the content type has parameters."""
    if not isinstance(payload, bytes):
        return payload
    try:
        return orjson.loads(payload)
    except orjson.JSONDecodeError as error:
        message = f"body: is not JSON ({error}); send a JSON object"
        raise InvalidRequestError(message) from error


def _elements(request: InferRequest) -> list[Any]:
    """Return the elements of the input ``text``, whether they came as JSON or as raw bytes."""
    found = [item for item in request.inputs if item.name == protocol.TEXT]
    if len(found) != 1 or found[0].datatype != "BYTES":
        got = ", ".join(f"{item.name} ({item.datatype})" for item in request.inputs) or "none"
        message = f"inputs: got {got}, expected one input named {protocol.TEXT!r} of datatype BYTES"
        raise InvalidRequestError(message)
    try:
        values: list[Any] = found[0].as_numpy().reshape(-1).tolist()
    except (ValueError, TypeError, struct.error) as error:
        message = f"inputs: the data of {protocol.TEXT!r} does not fit its shape {found[0].shape} ({error}); correct one of them"
        raise InvalidRequestError(message) from error
    return values
