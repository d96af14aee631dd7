"""
The spec of a BertJob, as frozen types.

Field order is the order in which ``kubectl explain`` and the documentation show them. Parsing from and to Kubernetes spelling
is ``parse``; the OpenAPI schema is ``crd``; rules that look at several fields are ``rules``.
"""

from bertjob_api.spec.job import Backoff, JobSpec, Privacy, SecretRef, Storage
from bertjob_api.spec.model import Columns, Data, DataFormat, Head, Masking, Model, Pooling, Problem, Task, Vocabulary
from bertjob_api.spec.optimize import Gate, Method, Optimize
from bertjob_api.spec.serving import IMMUTABLE_SERVING, Analysis, Replicas, Serving
from bertjob_api.spec.training import (
    MUTABLE_TRAINING,
    Checkpoint,
    EarlyStopping,
    Elastic,
    Evaluate,
    Opaque,
    Parallelism,
    Precision,
    Training,
)

__all__ = [
    "IMMUTABLE_SERVING",
    "MUTABLE_TRAINING",
    "Analysis",
    "Backoff",
    "Checkpoint",
    "Columns",
    "Data",
    "DataFormat",
    "EarlyStopping",
    "Elastic",
    "Evaluate",
    "Gate",
    "Head",
    "JobSpec",
    "Masking",
    "Method",
    "Model",
    "Opaque",
    "Optimize",
    "Parallelism",
    "Pooling",
    "Precision",
    "Privacy",
    "Problem",
    "Replicas",
    "SecretRef",
    "Serving",
    "Storage",
    "Task",
    "Training",
    "Vocabulary",
]
