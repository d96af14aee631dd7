"""KServe's REST server around one model, on the address and port that we choose."""

import asyncio
import dataclasses
import functools
import logging
import signal
import sys
from typing import Any

from bertjob_serving import cpu, engine
from bertjob_serving.artifact import Artifact, check_answers, open_artifact
from bertjob_serving.predictor import errors
from bertjob_serving.predictor.middleware import Guard
from bertjob_serving.predictor.settings import Settings
from bertjob_serving.predictor.worker import Worker
from bertjob_tasks.encoding import Encoder

_log = logging.getLogger(__name__)


def load(settings: Settings) -> tuple[Artifact, Worker]:
    """Return the verified artifact and a worker on it; raises ArtifactError."""
    artifact = open_artifact(settings.model_dir)
    own = engine.library(artifact.manifest.engine).compiled(artifact.folder, threads=cpu.available())
    check_answers(artifact, own)
    length, stride = artifact.manifest.max_sequence_length, artifact.manifest.stride
    encoder = Encoder.from_folder(artifact.folder, max_length=length, stride=stride)
    _log.info(
        "loaded %s (%s), %d golden answers are right",
        artifact.manifest.sha256,
        artifact.manifest.method,
        len(artifact.golden),
    )
    artifact = dataclasses.replace(artifact, task=artifact.task.with_vocabulary(encoder))
    encode = functools.partial(artifact.task.encode_asked, encoder=encoder)
    limits = dataclasses.replace(settings.limits, max_items=1) if artifact.answers_alone else settings.limits
    return artifact, Worker(encode=encode, infer=own.logits, pad_id=encoder.pad_id, limits=limits)


def serve(settings: Settings, artifact: Artifact, worker: Worker) -> None:
    """Answer requests until a moment after SIGTERM, then finish those that were accepted."""
    del sys.argv[1:]  # KServe parses the command line when it is imported; ours is parsed already
    from kserve.model_repository import ModelRepository  # noqa: PLC0415
    from kserve.model_server import app  # noqa: PLC0415
    from kserve.protocol.dataplane import DataPlane  # noqa: PLC0415
    from kserve.protocol.model_repository_extension import ModelRepositoryExtension  # noqa: PLC0415
    from kserve.protocol.rest.server import RESTServer  # noqa: PLC0415

    from bertjob_serving.predictor.draining import FINISH_S, LingeringServer  # noqa: PLC0415
    from bertjob_serving.predictor.model import ServedModel  # noqa: PLC0415

    model = ServedModel(settings.model_name, artifact, worker, settings.limits)
    models = ModelRepository()
    models.update(model)
    rest = RESTServer(
        "kserve.model_server:app",
        DataPlane(models),
        ModelRepositoryExtension(models),
        settings.port,
        grace_period=FINISH_S,
    )
    rest.config.host = settings.host  # KServe listens on every address, and two predictors on one machine would collide
    server = LingeringServer(rest.config)
    _extend(app, model)
    app.add_middleware(
        Guard,
        digest=artifact.manifest.sha256,
        max_body_bytes=settings.limits.max_body_bytes,
        leaving=lambda: server.leaving,
    )
    rest.create_application()
    for noisy in ("uvicorn.access", "kserve.trace"):  # three lines for each request; the metrics say it better
        logging.getLogger(noisy).setLevel(logging.WARNING)
    _log.info("listening on %s:%d", settings.host, settings.port)
    # uvicorn raises a signal that ended it again for whoever stood here before: by default that would kill us.
    signal.signal(signal.SIGTERM, lambda _signum, _frame: None)
    asyncio.run(server.serve())
    worker.close()
    _log.info("stopped")


def _extend(app: Any, model: Any) -> None:
    """Add our errors and the golden route to KServe's application."""
    from fastapi.exceptions import RequestValidationError  # noqa: PLC0415
    from fastapi.responses import JSONResponse  # noqa: PLC0415

    async def refused(_request: Any, error: errors.RequestError) -> Any:
        if error.__cause__ is not None and isinstance(error, errors.EngineError):
            _log.error("the engine failed", exc_info=error.__cause__)
        return JSONResponse({"error": str(error)}, errors.STATUS[type(error)], errors.headers(error))

    async def malformed(_request: Any, error: RequestValidationError) -> Any:
        where = "; ".join(
            f"{'.'.join(str(part) for part in item['loc'])}: {item['msg']}" for item in error.errors()[:5]
        )
        return JSONResponse({"error": f"body: {where}"}, 400)

    for kind in errors.STATUS:
        app.add_exception_handler(kind, refused)
    app.add_exception_handler(RequestValidationError, malformed)
    app.add_api_route(f"/v1/models/{model.name}/golden", model.agreement, methods=["GET"])
