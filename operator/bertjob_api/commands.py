"""
What every container runs: the one place where argv and environment come from.

Each command is a no-op when its committed output for the same inputs exists, so starting one again after any crash is always
right. Secrets reach a program only through ``secretKeyRef``; none stands in argv or in a literal value.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from bertjob_api import names
from bertjob_api.contract import CONTRACT
from bertjob_api.job import BertJob

PYTHON: Final = "python"
"""First word of every command; the process kubelet replaces it by its own interpreter."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """A program and its environment, in the spelling of core/v1 Container."""

    argv: tuple[str, ...]
    env: tuple[Mapping[str, Any], ...]
    """core/v1 EnvVar objects."""


def literal(name: str, value: str) -> dict[str, Any]:
    """Return an EnvVar with a plain value."""
    return {"name": name, "value": value}


def _downward(name: str, path: str) -> dict[str, Any]:
    return {"name": name, "valueFrom": {"fieldRef": {"fieldPath": path}}}


def pod_env(*, online: bool = False) -> tuple[Mapping[str, Any], ...]:
    """Return what every one of our containers knows about itself; *online*: it may ask a Hugging Face hub."""
    return (
        _downward(names.POD_IP_ENV, "status.podIP"),
        _downward(names.POD_NAME_ENV, "metadata.name"),
        _downward(names.NODE_NAME_ENV, "spec.nodeName"),
        literal(names.TERMINATION_LOG_ENV, names.TERMINATION_LOG),
        literal("HOME", names.SCRATCH_DIR),
        literal("PYTHONUNBUFFERED", "1"),
        literal("HF_HUB_OFFLINE", "0" if online else "1"),
    )


def storage_env(job: BertJob) -> tuple[Mapping[str, Any], ...]:
    """Return the S3 settings of the job: from its Secret, else its endpoint and region, else none (cloud identity or files)."""
    storage = job.spec.storage
    if storage.prefix.startswith("file:"):
        return ()
    plain = {"AWS_ENDPOINT_URL": storage.endpoint, "AWS_REGION": storage.region}
    env: list[Mapping[str, Any]] = [literal(key, value) for key, value in plain.items() if value is not None]
    if storage.secret_ref is not None:
        set_already = {item["name"] for item in env}
        for key in names.SECRET_KEYS:
            if key not in set_already:
                selector = {"name": storage.secret_ref.name, "key": key, "optional": True}
                env.append({"name": key, "valueFrom": {"secretKeyRef": selector}})
    return tuple(env)


def _reads_hub(job: BertJob) -> bool:
    return job.spec.model.source.startswith("hf:")


def hub_env(job: BertJob) -> tuple[Mapping[str, Any], ...]:
    """Return token and address of a Hugging Face hub, from the storage Secret, for jobs whose model comes from there."""
    secret = job.spec.storage.secret_ref
    if secret is None or not _reads_hub(job):
        return ()
    return tuple(
        {"name": key, "valueFrom": {"secretKeyRef": {"name": secret.name, "key": key, "optional": True}}}
        for key in names.HUB_SECRET_KEYS
    )


def _spec_env() -> tuple[Mapping[str, Any], ...]:
    return (
        literal(names.SPEC_FILE_ENV, f"{names.SPEC_DIR}/{names.SPEC_KEY}"),
        literal(names.CONTRACT_ENV, str(CONTRACT)),
    )


def store() -> Command:
    """Return the rendezvous store: a TCPStore on the pod's address, ``STORE_PORT``."""
    return Command(argv=(PYTHON, "-m", "bertjob_trainer.store"), env=pod_env())


def preflight(job: BertJob) -> Command:
    """Return the check of storage, data and model that runs before any GPU is asked for."""
    env = (*pod_env(online=_reads_hub(job)), *_spec_env(), *storage_env(job), *hub_env(job))
    return Command(argv=(PYTHON, "-m", "bertjob_trainer.preflight"), env=env)


def train(job: BertJob, *, attempt: int, store_host: str) -> Command:
    """
    Return the training supervisor, PID 1 of a training pod.

    Args:
        job: the job; how many nodes may train is read from its spec by the launcher.
        attempt: ordinal of the training attempt; part of the rendezvous id, since a closed rendezvous cannot be joined again.
        store_host: cluster IP of the store's Service.

    """
    env = (
        *pod_env(online=_reads_hub(job)),
        *_spec_env(),
        literal(names.ATTEMPT_ENV, str(attempt)),
        literal(names.RDZV_ENDPOINT_ENV, f"{store_host}:{names.STORE_PORT}"),
        literal(names.RDZV_ID_ENV, f"{job.uid}-{attempt}"),
        *storage_env(job),
        *hub_env(job),
    )
    return Command(argv=(PYTHON, "-m", "bertjob_trainer.supervisor"), env=env)


def optimize(job: BertJob, *, model_uri: str, model_sha256: str, live_uri: str | None) -> Command:
    """
    Return the optimize step: build candidates, measure, judge, publish; without ``spec.optimize`` it converts FP32 only.

    Args:
        job: the job.
        model_uri: folder of the trained model.
        model_sha256: digest of its manifest.
        live_uri: artifact that the InferenceService serves now; None: there is none.

    """
    env = (
        *pod_env(),
        *_spec_env(),
        literal(names.MODEL_URI_ENV, model_uri),
        literal(names.MODEL_SHA256_ENV, model_sha256),
        *((literal(names.LIVE_URI_ENV, live_uri),) if live_uri is not None else ()),
        *storage_env(job),
    )
    return Command(argv=(PYTHON, "-m", "bertjob_serving.optimize"), env=env)


def predictor() -> Command:
    """Return the model server of the serving runtime; KServe puts the InferenceService's name for ``{{.Name}}``."""
    argv = (
        PYTHON,
        "-m",
        "bertjob_serving.predictor",
        "--model_name={{.Name}}",
        f"--model_dir={names.MODEL_DIR}",
        f"--http_port={names.PREDICTOR_PORT}",
    )
    return Command(argv=argv, env=pod_env())


def fetch() -> Command:
    """Return our downloader, with KServe's argument order (source URI, target folder) appended by whoever starts it."""
    return Command(argv=(PYTHON, "-m", "bertjob_storage.fetch"), env=())
