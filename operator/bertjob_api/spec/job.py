"""The whole spec of a BertJob, and what it has besides its four parts."""

from dataclasses import dataclass
from typing import Final, Literal

from bertjob_api.fields import DURATION, api_field
from bertjob_api.spec.model import Data, Model
from bertjob_api.spec.optimize import Gate, Optimize
from bertjob_api.spec.serving import Serving
from bertjob_api.spec.training import Training

PREFIX_URI: Final = r"^(s3|file)://[^/]*/?.*$"


@dataclass(frozen=True, slots=True, kw_only=True)
class SecretRef:
    """A Secret of the same namespace."""

    name: str = api_field("Name of the Secret.", pattern=r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$", max_length=253)


@dataclass(frozen=True, slots=True, kw_only=True)
class Storage:
    """Where checkpoints and models are kept and who may reach them."""

    prefix: str = api_field(
        "All keys of the job are below this URI: s3://bucket/path, or file:///path in local runs.", pattern=PREFIX_URI
    )
    secret_ref: SecretRef | None = api_field(
        "Secret with AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and optionally AWS_ENDPOINT_URL and AWS_REGION, as bertjob credentials writes it.",
        default=None,
    )
    service_account_name: str | None = api_field(
        "ServiceAccount with cloud identity, instead of a Secret.",
        default=None,
        pattern=r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$",
        max_length=253,
    )
    endpoint: str | None = api_field(
        "URL of an S3-compatible server; the Secret's AWS_ENDPOINT_URL comes first.",
        default=None,
        pattern="^https?://.+$",
        max_length=512,
    )
    region: str | None = api_field("S3 region.", default=None, max_length=64)


@dataclass(frozen=True, slots=True, kw_only=True)
class Privacy:
    """What may be written outside the model."""

    store_texts: bool = api_field(
        "False keeps every text of the data out of reports, golden sets, logs and status.", default=True
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Backoff:
    """How many failures are too many, in a sliding window; disruptions of the infrastructure are not counted."""

    limit: int = api_field("Failures tolerated within the window.", default=3, minimum=0, maximum=1000)
    window: str = api_field("Length of the sliding window.", default="1h", pattern=DURATION, max_length=32)


@dataclass(frozen=True, slots=True, kw_only=True)
class JobSpec:
    """What the user wants of one BertJob."""

    model: Model = api_field("The model and its task.", immutable=True)
    data: Data = api_field("The examples.", immutable=True)
    training: Training = api_field("Training.", default_factory=Training)
    optimize: Optimize | None = api_field(
        "Make an INT8 model. Unset: the FP32 model is the result.", default=None, immutable=True
    )
    gate: Gate | None = api_field("Conditions on the INT8 model.", default=None, immutable=True)
    serving: Serving | None = api_field("Serve the result. Unset: the job ends with the stored model.", default=None)
    storage: Storage = api_field("Object storage.", immutable=True)
    privacy: Privacy = api_field("Handling of personal data.", default_factory=Privacy, immutable=True)
    suspend: bool = api_field("Stop at a checkpoint and give the nodes back; false resumes.", default=False)
    active_deadline_seconds: int | None = api_field(
        "Longest run time, without suspended time.", default=None, minimum=1, maximum=31_536_000
    )
    pre_running_deadline_seconds: int | None = api_field(
        "Longest wait for the training pods to run.", default=None, minimum=1, maximum=31_536_000
    )
    ttl_seconds_after_finished: int | None = api_field(
        "Delete the finished BertJob after this time.", default=None, minimum=0, maximum=31_536_000
    )
    clean_pod_policy: Literal["None", "Running", "All"] = api_field(
        "Pods deleted when the job has ended.", default="Running"
    )
    backoff: Backoff = api_field("Failure budget.", default_factory=Backoff, immutable=True)
    queue_name: str | None = api_field(
        "Kueue LocalQueue in which the Jobs of this BertJob wait for quota.",
        default=None,
        pattern=r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$",
        max_length=63,
        immutable=True,
    )
    priority_class_name: str | None = api_field(
        "PriorityClass of the job's pods.", default=None, max_length=253, immutable=True
    )
    image_pull_secrets: tuple[str, ...] = api_field(
        "Names of image pull Secrets.", default=(), max_items=16, max_length=253, immutable=True
    )
