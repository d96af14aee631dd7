"""
Where everything lies in object storage.

::

    PREFIX/jobs/NAMESPACE/NAME/RUN/checkpoints/step-00000500/{shards}, manifest.json   written in that order
                                  /checkpoints/LATEST                                  attempt and step, conditional put
                                  /ledger/steps-00000001-00000500-....json, HEAD       samples of every step, in pieces
                                  /own-checkpoints/FOLDER/{token/files}, manifest.json of an own script, in that order
                                  /metrics.jsonl, events.out.tfevents...               how training went, for people and TensorBoard
                                  /model.json                                          result of training: the commit
    PREFIX/jobs/NAMESPACE/NAME/OPT/result.json                                         result of optimizing: the commit
                                  /evaluation.json, candidates.svg, candidates/METHOD.json
    PREFIX/jobs/NAMESPACE/NAME/models/SHA256/{files}, manifest.json                    FP32 and served artifacts
                                     /SHA256.report.html                               how that model came about, for people

RUN names the inputs of training and OPT those of optimizing, so the same job with the same inputs finds its work done, and a
change of either starts afresh.
"""

from collections.abc import Mapping

from bertjob_api.digest import sha256_of, short
from bertjob_api.job import BertJob
from bertjob_api.parse import dump


def job_root(job: BertJob) -> str:
    """Return the URI below which all of a job's keys are."""
    return f"{job.spec.storage.prefix.rstrip('/')}/jobs/{job.namespace}/{job.name}"


def resolve(uri: str, *, prefix: str) -> str:
    """Return *uri* with ``storage://path`` put below the storage prefix; other URIs are returned as they are."""
    scheme, _, path = uri.partition("://")
    return f"{prefix.rstrip('/')}/{path.lstrip('/')}" if scheme == "storage" else uri


def run_id(job: BertJob, inputs: Mapping[str, str]) -> str:
    """
    Return the name of a training run: it changes with everything that changes the trained weights.

    Args:
        job: the job; node counts, images, resources and checkpoint policy do not count.
        inputs: sha256 of each input (``model``, ``train``, ``validation``).

    """
    placement = {
        "replicas",
        "elastic",
        "processesPerNode",
        "checkpoint",
        "image",
        "resources",
        "podTemplate",
        "parallelism",
    }
    training = {key: value for key, value in dump(job.spec.training).items() if key not in placement}
    best = job.spec.training.checkpoint.best  # it decides which weights are published
    training |= {"best": best} if best is not None else {}
    data = {key: value for key, value in dump(job.spec.data).items() if key not in ("train", "validation", "test")}
    model = {key: value for key, value in dump(job.spec.model).items() if key != "source"}
    return "run-" + short(sha256_of({"model": model, "data": data, "training": training, "inputs": dict(inputs)}))


def optimize_id(job: BertJob, *, model_sha256: str, validation_sha256: str) -> str:
    """Return the name of an optimize run: it changes with the model, the held-out data, the methods and the gate."""
    spec = dump(job.spec)
    methods = {key: value for key, value in spec.get("optimize", {}).items() if key not in ("image", "resources")}
    parts = {"optimize": methods, "gate": spec.get("gate"), "privacy": spec["privacy"]}
    return "opt-" + short(sha256_of({**parts, "model": model_sha256, "validation": validation_sha256}))


def checkpoint_root(run: str) -> str:
    """Return the folder of a run's checkpoints; *run* is the run's URI."""
    return f"{run}/checkpoints"


def step_folder(step: int) -> str:
    """Return the folder name of a checkpoint; names sort as steps do."""
    return f"step-{step:08d}"


def step_of(folder: str) -> int | None:
    """Return the step of a checkpoint folder's name, or None when it is not one."""
    head, _, digits = folder.rpartition("step-")
    return int(digits) if head == "" and len(digits) == 8 and digits.isdigit() else None


def model_folder(job: BertJob, sha256: str) -> str:
    """Return the immutable URI of a published model or artifact."""
    return f"{job_root(job)}/models/{sha256}"


def report_uri(model_uri: str) -> str:
    """Return where the report of a trained model is: beside its folder, since the digest names what is in there."""
    return f"{model_uri.rstrip('/')}.report.html"
