"""
One table of specs that nobody may accept.

Held against our parser in unit tests and against admission on a real API server, so both refuse alike.
"""

from typing import Any, NamedTuple

from support.jobs import Object, a_job


class BadSpec(NamedTuple):
    """A spec and what the refusal must name."""

    name: str
    job: Object
    path: str
    """Text that the message must contain, so that the user finds the field."""


def _named(name: str) -> Object:
    job = a_job()
    job["metadata"]["name"] = name
    return job


SERVING: dict[str, Any] = {"inferenceService": "docs"}

BAD_SPECS = (
    BadSpec("unknown field", a_job(trainin={}), "trainin"),
    BadSpec("unknown nested field", a_job(training={"elastc": {}}), "elastc"),
    BadSpec("bad model uri", a_job(model={"source": "bert-base"}), "source"),
    BadSpec("bad data uri", a_job(data={"train": "/tmp/train.jsonl"}), "data.train"),
    BadSpec("bad prefix", a_job(storage={"prefix": "gs://bucket"}), "prefix"),
    BadSpec("unknown task", a_job(model={"task": "translation"}), "task"),
    BadSpec("missing model", a_job(model=None), "model"),
    BadSpec("missing validation data", a_job(data={"validation": None}), "validation"),
    BadSpec("min above max", a_job(training={"replicas": 3, "elastic": {"min": 4, "max": 2}}), "elastic"),
    BadSpec("replicas above max", a_job(training={"replicas": 9, "elastic": {"min": 1, "max": 4}}), "replicas"),
    BadSpec("replicas below min", a_job(training={"replicas": 1, "elastic": {"min": 2, "max": 4}}), "replicas"),
    BadSpec("negative learning rate", a_job(training={"learningRate": -1.0}), "learningRate"),
    BadSpec("text for a number", a_job(training={"epochs": "three"}), "epochs"),
    BadSpec("zero epochs", a_job(training={"epochs": 0}), "epochs"),
    BadSpec("batch no multiple of micro-batch", a_job(training={"batchSize": 30, "microBatchSize": 8}), "batchSize"),
    BadSpec("no copies", a_job(training={"parallelism": {"data": 0}}), "parallelism"),
    BadSpec("cut twice", a_job(training={"parallelism": {"tensor": 2, "fsdp": 2}}), "only one of tensor"),
    BadSpec(
        "fixed copies on moving nodes",
        a_job(training={"elastic": {"min": 1, "max": 4}, "parallelism": {"data": 1}}),
        "parallelism.data",
    ),
    BadSpec(
        "axes that are too many",
        a_job(training={"replicas": 3, "processesPerNode": "1", "parallelism": {"data": 2, "tensor": 2}}),
        "do not multiply",
    ),
    BadSpec(
        "axes that leave processes over",
        a_job(training={"replicas": 3, "processesPerNode": "1", "parallelism": {"pipeline": 2}}),
        "do not multiply",
    ),
    BadSpec(
        "fewer nodes than a copy needs",
        a_job(training={"elastic": {"min": 1, "max": 4}, "processesPerNode": "1", "parallelism": {"fsdp": 2}}),
        "training.elastic",
    ),
    BadSpec("bad cadence", a_job(training={"checkpoint": {"every": "often"}}), "every"),
    BadSpec("no patience", a_job(training={"earlyStopping": {"patience": 0}}), "patience"),
    BadSpec("evaluation by the clock", a_job(training={"evaluate": {"every": "5m"}}), "evaluate"),
    BadSpec("best of a sentence", a_job(training={"checkpoint": {"best": "the best"}}), "best"),
    BadSpec("own script judged", a_job(training={"command": ["train.py"], "earlyStopping": {}}), "earlyStopping"),
    BadSpec("one label", a_job(model={"labels": ["only"]}), "labels"),
    BadSpec("label twice", a_job(model={"labels": ["a", "a"]}), "labels"),
    BadSpec("unknown problem", a_job(model={"problem": "ranking"}), "problem"),
    BadSpec("problem of another task", a_job(model={"task": "embedding", "problem": "regression"}), "problem"),
    BadSpec("unanswerable labels", a_job(model={"problem": "unanswerable"}), "problem"),
    BadSpec("labels of questions", a_job(model={"task": "question-answering", "labels": ["a", "b"]}), "labels"),
    BadSpec("pooling of labels", a_job(model={"pooling": "mean"}), "pooling"),
    BadSpec("unknown pooling", a_job(model={"task": "embedding", "pooling": "max"}), "pooling"),
    BadSpec("head on vectors", a_job(model={"task": "embedding", "head": {"layers": 1}}), "head"),
    BadSpec(
        "positive pairs alone",
        a_job(model={"task": "embedding", "problem": "positive-pairs"}, training={"microBatchSize": 1}),
        "microBatchSize",
    ),
    BadSpec(
        "vectors in stages",
        a_job(model={"task": "embedding"}, training={"parallelism": {"pipeline": 2}}),
        "pipeline",
    ),
    BadSpec("stride below 0", a_job(data={"stride": -1}), "stride"),
    BadSpec("labels of numbers", a_job(model={"problem": "regression", "labels": ["a", "b"]}), "labels"),
    BadSpec("vocabulary beside a model's own", a_job(model={"vocabulary": {"size": 8000}}), "vocabulary"),
    BadSpec("vocabulary too small", a_job(model={"source": "preset://bert-tiny", "vocabulary": {"size": 9}}), "size"),
    BadSpec("masking of another task", a_job(model={"masking": {"rate": 0.2}}), "masking"),
    BadSpec("everything masked", a_job(model={"task": "masked-lm", "masking": {"rate": 0.9}}), "rate"),
    BadSpec(
        "trimmed language model", a_job(model={"task": "masked-lm"}, optimize={"vocabulary": "Language"}), "vocabulary"
    ),
    BadSpec("head of a language model", a_job(model={"task": "masked-lm", "head": {"layers": 1}}), "layers"),
    BadSpec("labels of a language model", a_job(model={"task": "pretraining", "labels": ["a", "b"]}), "labels"),
    BadSpec("head too deep", a_job(model={"head": {"layers": 4}}), "layers"),
    BadSpec("sequence too short", a_job(data={"maxSequenceLength": 2}), "maxSequenceLength"),
    BadSpec("no methods", a_job(optimize={"methods": []}), "methods"),
    BadSpec("unknown method", a_job(optimize={"methods": ["magic"]}), "methods"),
    BadSpec("unknown engine", a_job(optimize={"engines": ["tensorrt"]}), "engines"),
    BadSpec(
        "static without its engine", a_job(optimize={"methods": ["static"], "engines": ["onnxruntime"]}), "engines"
    ),
    BadSpec("slower INT8 unasked", a_job(optimize={}, gate={"minSpeedup": 0.9}), "minSpeedup"),
    BadSpec("gate without optimize", a_job(gate={}), "gate"),
    BadSpec("gate as percent", a_job(optimize={}, gate={"maxAccuracyDrop": 2}), "maxAccuracyDrop"),
    BadSpec("two identities", a_job(storage={"secretRef": {"name": "s"}, "serviceAccountName": "a"}), "storage"),
    BadSpec("steps not ending at 100", a_job(serving={**SERVING, "steps": [0, 50]}), "steps"),
    BadSpec("steps falling", a_job(serving={**SERVING, "steps": [50, 10, 100]}), "steps"),
    BadSpec("service replicas crossed", a_job(serving={**SERVING, "replicas": {"min": 3, "max": 1}}), "replicas"),
    BadSpec("bad service name", a_job(serving={"inferenceService": "My_Service"}), "inferenceService"),
    BadSpec("bad duration", a_job(serving={**SERVING, "interval": "soon"}), "interval"),
    BadSpec("local file on a cluster", a_job(data={"train": "file:///data/train.jsonl"}), "file://"),
    BadSpec("local prefix on a cluster", a_job(storage={"prefix": "file:///data"}), "file://"),
    BadSpec("name too long", _named("x" * 41), "metadata.name"),
    BadSpec("name starts with a digit", _named("1st"), "metadata.name"),
)
