"""
The spec of a BertJob, as frozen types.

Field order is the order in which ``kubectl explain`` and the documentation show them. Parsing from and to Kubernetes spelling
is ``parse``; the OpenAPI schema is ``crd``; rules that look at several fields are ``rules``.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from bertjob_api.fields import CADENCE, DNS_LABEL, DURATION, api_field

SOURCE: Final = r"^(preset|package|hf|storage|s3|file)://.+$"
DATA_URI: Final = r"^(storage|s3|file)://.+$"
PREFIX_URI: Final = r"^(s3|file)://[^/]*/?.*$"

Task = Literal[
    "sequence-classification",
    "sentence-pair",
    "token-classification",
    "question-answering",
    "masked-lm",
    "pretraining",
    "embedding",
]
DataFormat = Literal["jsonl", "csv", "tsv", "parquet", "conll", "squad", "text"]
Problem = Literal["single-label", "multi-label", "regression"]
Precision = Literal["auto", "fp32", "bf16", "fp16"]
Method = Literal["dynamic", "static", "qat"]
Opaque = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """Fully connected layers between the encoder and the task's output."""

    layers: int = api_field("Number of hidden layers of the head.", default=0, minimum=0, maximum=3)
    hidden_size: int = api_field("Width of each hidden layer of the head.", default=128, minimum=8, maximum=4096)


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """Which BERT to start from and what to teach it."""

    source: str = api_field(
        "Weights, config and tokenizer to start from: preset://bert-base (random weights), package://module/folder (inside an "
        "installed Python package), hf://org/name, storage://path (below storage.prefix), s3://bucket/path, or file:///path in "
        "local runs.",
        pattern=SOURCE,
    )
    task: Task = api_field("What the model learns to do.")
    problem: Problem | None = api_field(
        "For sequence-classification and sentence-pair: one label for each example, any number of them, or a number. Unset: "
        "single-label.",
        default=None,
    )
    labels: tuple[str, ...] | None = api_field(
        "Class names in the order of the model's outputs. Unset: the sorted labels of the training data.",
        default=None,
        min_items=2,
        max_items=1024,
        max_length=256,
        unique=True,
    )
    head: Head = api_field("Optional hidden layers before the output.", default_factory=Head)


@dataclass(frozen=True, slots=True, kw_only=True)
class Columns:
    """Names of the columns (or JSON keys) that hold text and label."""

    text: str = api_field("Column of the text.", default="text", max_length=128)
    label: str = api_field("Column of the label, or of the number for regression.", default="label", max_length=128)
    text_pair: str | None = api_field(
        "Column of the second text, for sentence-pair. Unset: text_pair.", default=None, max_length=128
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Data:
    """Where the examples are and how to read them."""

    train: str = api_field(
        "File or folder of the training examples: storage://, s3:// or file:// (local runs).", pattern=DATA_URI
    )
    validation: str = api_field("Held-out examples that evaluation and the gate use.", pattern=DATA_URI)
    test: str | None = api_field(
        "Examples for one final report; never used for a decision.", default=None, pattern=DATA_URI
    )
    format: DataFormat = api_field("File format of the examples.", default="jsonl")
    columns: Columns = api_field("Column names.", default_factory=Columns)
    max_sequence_length: int = api_field(
        "Tokens kept of each text, [CLS] and [SEP] included.", default=128, minimum=8, maximum=4096
    )
    max_bad_rows: int = api_field(
        "Unreadable rows to skip with a warning before the job fails.", default=0, minimum=0, maximum=1_000_000
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Elastic:
    """Bounds within which the number of training nodes may move."""

    min: int = api_field("Fewest nodes that may train.", minimum=1, maximum=4096)
    max: int = api_field("Most nodes that may train.", minimum=1, maximum=4096)


@dataclass(frozen=True, slots=True, kw_only=True)
class Parallelism:
    """How the processes are split; the product is the world size."""

    data: int = api_field(
        "Data-parallel replicas; -1: what the other axes leave over.", default=-1, minimum=-1, maximum=65536
    )
    tensor: int = api_field("Tensor-parallel ways.", default=1, minimum=1, maximum=64)
    pipeline: int = api_field("Pipeline stages.", default=1, minimum=1, maximum=64)
    fsdp: int = api_field("Ways in which parameters are sharded.", default=1, minimum=1, maximum=65536)


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """When training state is committed and how much of it is kept."""

    every: str = api_field(
        "Steps (500 steps) or time (5m) between commits.", default="500 steps", pattern=CADENCE, max_length=32
    )
    keep: int = api_field("Newest committed checkpoints that are kept.", default=3, minimum=1, maximum=1000)


@dataclass(frozen=True, slots=True, kw_only=True)
class Training:
    """How the model is trained."""

    replicas: int = api_field("Nodes to train on now; kubectl scale changes it.", default=1, minimum=0, maximum=4096)
    elastic: Elastic | None = api_field("Bounds for the number of nodes. Unset: exactly replicas.", default=None)
    processes_per_node: str = api_field(
        "Worker processes on each node; auto: one per GPU, or one on a CPU node.",
        default="auto",
        pattern="^(auto|[1-9][0-9]?)$",
        max_length=8,
    )
    parallelism: Parallelism = api_field("Parallel axes.", default_factory=Parallelism)
    epochs: int = api_field("Passes over the training examples.", default=3, minimum=1, maximum=10_000)
    batch_size: int = api_field(
        "Examples per optimizer step over all nodes; it stays the same when nodes come and go.",
        default=32,
        minimum=1,
        maximum=1_048_576,
    )
    micro_batch_size: int = api_field(
        "Examples in one forward pass, the unit that is dealt to processes: batchSize must be a multiple of it.",
        default=8,
        minimum=1,
        maximum=65536,
    )
    learning_rate: float = api_field("Peak learning rate of AdamW.", default=2e-5, minimum=0)
    warmup_ratio: float = api_field(
        "Share of the steps with rising learning rate; it then falls linearly to 0.", default=0.1, minimum=0, maximum=1
    )
    weight_decay: float = api_field(
        "Decoupled weight decay; not applied to biases and LayerNorm.", default=0.01, minimum=0, maximum=1
    )
    dropout: float | None = api_field(
        "Dropout probability. Unset: as in the model's config.", default=None, minimum=0, maximum=0.9
    )
    precision: Precision = api_field(
        "Arithmetic of forward and backward; auto: bf16 where the hardware has it.", default="auto"
    )
    seed: int = api_field("Seed of data order, dropout and new weights.", default=42, minimum=0, maximum=2**31 - 1)
    checkpoint: Checkpoint = api_field("Checkpoint policy.", default_factory=Checkpoint)
    command: tuple[str, ...] | None = api_field(
        "Own training script instead of BertJob's, as torchrun arguments.", default=None, max_items=128, max_length=4096
    )
    image: str | None = api_field(
        "Image of the training pods. Unset: the operator's default.", default=None, max_length=512
    )
    resources: Opaque | None = api_field(
        "Resource requests and limits of one training pod (core/v1 ResourceRequirements).", default=None, opaque=True
    )
    pod_template: Opaque | None = api_field(
        "Overlay on the training pods (core/v1 PodTemplateSpec); fields the operator sets are refused.",
        default=None,
        opaque=True,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Optimize:
    """Which INT8 candidates are built and measured."""

    methods: tuple[Method, ...] = api_field(
        "Candidates to build: dynamic (INT8 weights, activations quantized on the fly), static (calibrated), qat.",
        default=("dynamic", "static"),
        min_items=1,
        max_items=3,
        unique=True,
    )
    calibration_samples: int = api_field(
        "Training examples used to calibrate static quantization.", default=300, minimum=1, maximum=100_000
    )
    image: str | None = api_field("Image of the optimize pod. Unset: the training image.", default=None, max_length=512)
    resources: Opaque | None = api_field("Resource requests and limits of the optimize pod.", default=None, opaque=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Gate:
    """What an INT8 model must reach before it may be served. Applies whenever optimize is set, with these defaults if left out."""

    max_accuracy_drop: float = api_field(
        "Largest loss of the task's metric against FP32, as a fraction.", default=0.02, minimum=0, maximum=1
    )
    min_speedup: float = api_field(
        "Smallest speed-up over the fastest FP32 engine on the same CPU.", default=1.5, minimum=0, maximum=1000
    )
    max_size_ratio: float = api_field(
        "Largest size as a fraction of the FP32 weights.", default=0.35, minimum=0, maximum=10
    )
    against: tuple[Literal["fp32", "live"], ...] = api_field(
        "Models to compare with.", default=("fp32",), min_items=1, max_items=2, unique=True
    )
    on_missing: Literal["Fail", "Ignore"] = api_field("Verdict when a figure cannot be measured.", default="Fail")


@dataclass(frozen=True, slots=True, kw_only=True)
class Replicas:
    """Bounds of the number of predictor pods."""

    min: int = api_field("Fewest predictor pods.", default=1, minimum=1, maximum=1000)
    max: int = api_field("Most predictor pods.", default=1, minimum=1, maximum=1000)


@dataclass(frozen=True, slots=True, kw_only=True)
class Analysis:
    """What a candidate must show at each step of a rollout."""

    min_agreement: float = api_field(
        "Smallest share of golden inputs answered as at evaluation.", default=0.97, minimum=0, maximum=1
    )
    max_error_rate: float = api_field("Largest share of failed requests.", default=0.01, minimum=0, maximum=1)
    max_p99: str | None = api_field(
        "Largest 99th percentile of the latency. Unset: not looked at.", default=None, pattern=DURATION, max_length=32
    )
    failure_limit: int = api_field(
        "Failed measurements tolerated before the rollout is undone.", default=0, minimum=0, maximum=100
    )
    inconclusive_limit: int = api_field("Inconclusive measurements tolerated.", default=3, minimum=0, maximum=100)


@dataclass(frozen=True, slots=True, kw_only=True)
class Serving:
    """Which InferenceService gets the model, and how carefully."""

    inference_service: str = api_field(
        "Name of the KServe InferenceService in the same namespace; created when absent.",
        pattern=DNS_LABEL,
        max_length=40,
    )
    runtime: str = api_field(
        "KServe serving runtime of a new InferenceService.",
        default="bertjob-predictor",
        pattern=DNS_LABEL,
        max_length=63,
    )
    replicas: Replicas = api_field("Number of predictor pods of a new InferenceService.", default_factory=Replicas)
    steps: tuple[int, ...] = api_field(
        "Shares of the traffic in percent, ascending to 100.",
        default=(0, 10, 50, 100),
        min_items=1,
        max_items=20,
        minimum=0,
        maximum=100,
    )
    interval: str = api_field("Time at each step.", default="1m", pattern=DURATION, max_length=32)
    analysis: Analysis = api_field("Conditions at each step.", default_factory=Analysis)
    approval: Literal["Automatic", "Manual"] = api_field(
        "Manual: wait for bertjob approve before the first traffic.", default="Automatic"
    )
    progress_deadline: str = api_field(
        "Time in which new pods must become ready.", default="10m", pattern=DURATION, max_length=32
    )


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
        "Kueue LocalQueue.", default=None, pattern=r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$", max_length=63, immutable=True
    )
    priority_class_name: str | None = api_field(
        "PriorityClass of the job's pods.", default=None, max_length=253, immutable=True
    )
    image_pull_secrets: tuple[str, ...] = api_field(
        "Names of image pull Secrets.", default=(), max_items=16, max_length=253, immutable=True
    )


MUTABLE_TRAINING: Final = ("replicas", "elastic")
"""Fields of ``training`` that may change while the job lives; the others are refused."""
IMMUTABLE_SERVING: Final = ("inference_service", "runtime")
