"""
Every name that two programs must agree on.

Each constant says who writes it and who reads it. A contract test refuses these literals anywhere else.
"""

import re
from typing import Final

GROUP: Final = "bertjob.dev"
VERSION: Final = "v1alpha1"
API_VERSION: Final = f"{GROUP}/{VERSION}"
KIND: Final = "BertJob"
PLURAL: Final = "bertjobs"

FIELD_MANAGER: Final = "bertjob-operator"
"""Server-side apply manager of everything the operator writes."""

# Labels. Written by the operator on every child; read by its watches and by the process kubelet's Service proxy.
JOB_LABEL: Final = f"{GROUP}/job"
COMPONENT_LABEL: Final = f"{GROUP}/component"
ATTEMPT_LABEL: Final = f"{GROUP}/attempt"
"""Ordinal of the training attempt, "0" for the first; on the training Job and its pods."""
MANAGED_BY_LABEL: Final = "app.kubernetes.io/managed-by"
PART_OF_LABEL: Final = "app.kubernetes.io/part-of"

# Kueue's. Written by the operator on the Jobs of a BertJob, read by Kueue.
KUEUE_DOMAIN: Final = "kueue.x-k8s.io/"
"""Labels below it that a BertJob carries go to its Jobs, and to nothing else."""
QUEUE_LABEL: Final = f"{KUEUE_DOMAIN}queue-name"
ELASTIC_QUEUE_ANNOTATION: Final = f"{KUEUE_DOMAIN}elastic-job"
"""Says that the number of pods may change while the Job runs."""

# Values of COMPONENT_LABEL.
STORE: Final = "store"
PREFLIGHT: Final = "preflight"
TRAIN: Final = "train"
OPTIMIZE: Final = "optimize"

# Written by KServe on the pods of an InferenceService; read by the rollout.
KSERVE_SOURCE_ANNOTATION: Final = "internal.serving.kserve.io/storage-initializer-sourceuri"
KSERVE_MODE_ANNOTATION: Final = "serving.kserve.io/deploymentMode"
KSERVE_AUTOSCALER_ANNOTATION: Final = "serving.kserve.io/autoscalerClass"

# Environment of our containers. Written by ``commands``; read by the programs they start.
SPEC_FILE_ENV: Final = "BERTJOB_SPEC_FILE"
CONTRACT_ENV: Final = "BERTJOB_CONTRACT"
ATTEMPT_ENV: Final = "BERTJOB_ATTEMPT"
RDZV_ENDPOINT_ENV: Final = "BERTJOB_RDZV_ENDPOINT"
RDZV_ID_ENV: Final = "BERTJOB_RDZV_ID"
MODEL_URI_ENV: Final = "BERTJOB_MODEL_URI"
MODEL_SHA256_ENV: Final = "BERTJOB_MODEL_SHA256"
LIVE_URI_ENV: Final = "BERTJOB_LIVE_URI"
"""Artifact that the InferenceService serves now; unset when there is none."""
TERMINATION_LOG_ENV: Final = "BERTJOB_TERMINATION_LOG"
PROGRESS_URL_ENV: Final = "BERTJOB_PROGRESS_URL"
"""Written by the supervisor for its workers: where to POST ``progress.Progress`` JSON, on loopback."""
RESULT_FILE_ENV: Final = "BERTJOB_RESULT_FILE"
"""Written by the supervisor for its workers: file for the termination message (``termination.encode``)."""
PLACES_ENV: Final = "BERTJOB_PLACES"
"""Written by the launcher for BertJob's own workers: folder where they find their place in each round; unset: they end with it."""
# Written for own scripts (``training.command``) by the process above them, read by the scripts.
OWN_CHECKPOINTS_ENV: Final = "BERTJOB_CHECKPOINT_DIR"
"""Folder whose sub-folders are checkpoints; they come back here after a loss."""
OWN_OUTPUT_ENV: Final = "BERTJOB_OUTPUT_DIR"
"""Folder in which rank 0 leaves the trained model, as ``save_pretrained`` writes it."""
OWN_MODEL_ENV: Final = "BERTJOB_MODEL_DIR"
"""Folder of ``spec.model.source``; unset for hf:// and preset://, which the script reads itself."""
OWN_TRAIN_ENV: Final = "BERTJOB_TRAIN"
OWN_VALIDATION_ENV: Final = "BERTJOB_VALIDATION"
OWN_TEST_ENV: Final = "BERTJOB_TEST"
"""File or folder of the data; the test data's is unset when the job names none."""
POD_IP_ENV: Final = "POD_IP"
POD_NAME_ENV: Final = "POD_NAME"
NODE_NAME_ENV: Final = "NODE_NAME"

# Paths inside our containers.
SPEC_DIR: Final = "/etc/bertjob"
SPEC_KEY: Final = "job.json"
"""Key of the ConfigMap and file name: the whole BertJob object as canonical JSON, defaults filled in."""
TERMINATION_LOG: Final = "/dev/termination-log"
MODEL_DIR: Final = "/mnt/models"
"""Where KServe mounts the downloaded artifact."""
SCRATCH_DIR: Final = "/tmp"  # noqa: S108  # an emptyDir of the pod, not the host's
SHARED_MEMORY_DIR: Final = "/dev/shm"  # noqa: S108  # an emptyDir in memory

# Ports inside our pods.
STORE_PORT: Final = 29400
PROGRESS_PORT: Final = 8081
"""Supervisor: /healthz, /progress, /metrics, and on loopback the Kubeflow Trainer status callback."""
PREDICTOR_PORT: Final = 8080

# Keys of the user's storage Secret, as boto3 and KServe's storage initializer read them.
SECRET_KEYS: Final = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_ENDPOINT_URL", "AWS_REGION")
HUB_SECRET_KEYS: Final = ("HF_TOKEN", "HF_ENDPOINT")
"""Keys of the same Secret for jobs that start from a model of a Hugging Face hub, as its client reads them; both may be absent."""

MODEL_FORMAT: Final = "bertjob"
"""``modelFormat.name`` of the artifacts, matched by the serving runtime of the chart."""
SERVING_RUNTIME: Final = "bertjob-predictor"

MAX_JOB_NAME: Final = 40
"""Longest BertJob name, so that every child's name and its pods' host names stay within 63 characters."""


def store_name(job: str) -> str:
    """Return the name of the rendezvous store's Pod and Service."""
    return f"{job}-store"


def spec_config_name(job: str) -> str:
    """Return the name of the ConfigMap that holds the resolved spec."""
    return f"{job}-spec"


def worker_account_name(job: str) -> str:
    """Return the name of the ServiceAccount of the job's pods; it has no API rights."""
    return f"{job}-worker"


def preflight_name(job: str) -> str:
    """Return the name of the preflight Job."""
    return f"{job}-preflight"


def train_name(job: str, attempt: int) -> str:
    """Return the name of the Indexed Job of one training attempt, 0-based."""
    return f"{job}-train-{attempt}"


def optimize_name(job: str) -> str:
    """Return the name of the optimize Job."""
    return f"{job}-optimize"


def job_of_child(name: str) -> str | None:
    """Return the BertJob whose Job has *name*; None: no Job of a BertJob is called so."""
    found = re.fullmatch(r"(.+)-(?:preflight|optimize|train-\d+)", name)
    return found.group(1) if found is not None else None


def history_name(service: str) -> str:
    """Return the name of the ConfigMap with the model history of one InferenceService."""
    return f"{service}-bertjob-history"


def predictor_name(service: str) -> str:
    """Return the name KServe gives to the Deployment and Service of an InferenceService's predictor."""
    return f"{service}-predictor"


def predictor_app(service: str) -> str:
    """Return the value of the ``app`` label that KServe puts on the predictor's pods."""
    return f"isvc.{service}-predictor"
