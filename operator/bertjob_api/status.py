"""
The status of a BertJob, as frozen types.

Written by the operator alone. Conditions are ``metav1.Condition``
(Source: Kubernetes API conventions, "Typical status properties").
"""

from dataclasses import dataclass
from typing import Literal

from bertjob_api.fields import api_field
from bertjob_api.progress import Recovered


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """One observation about the job."""

    type: str = api_field("Name of the condition.", max_length=63)
    status: Literal["True", "False", "Unknown"] = api_field("Whether it holds.")
    observed_generation: int = api_field("Generation of the spec that was judged.", default=0, minimum=0)
    last_transition_time: str = api_field("When status last changed.", timestamp=True)
    reason: str = api_field("CamelCase cause, for programs.", max_length=128, pattern="^[A-Z][A-Za-z0-9]*$")
    message: str = api_field("Sentence, for people.", max_length=1024)


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckpointStatus:
    """The newest committed checkpoint."""

    step: int = api_field("Optimizer steps it contains.", minimum=0)
    uri: str = api_field("Folder of its manifest.")
    time: str | None = api_field("When it was committed.", default=None, timestamp=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingStatus:
    """Progress of training, as rank 0 reported it last."""

    step: int | None = api_field("Optimizer steps done.", default=None, minimum=0)
    total: int | None = api_field("Optimizer steps to do.", default=None, minimum=0)
    epoch: float | None = api_field("Passes over the data done.", default=None, minimum=0)
    loss: float | None = api_field("Training loss of the newest step.", default=None)
    samples_per_second: float | None = api_field("Examples per second over all nodes.", default=None, minimum=0)
    eta_seconds: int | None = api_field("Seconds to the end at this rate.", default=None, minimum=0)
    resumed_from_step: int | None = api_field(
        "Step of the checkpoint or survivor that the current workers started from.", default=None, minimum=0
    )
    restarts: int = api_field("Restarts after failures of the program.", default=0, minimum=0)
    disruptions: int = api_field("Restarts after losses of the infrastructure.", default=0, minimum=0)
    last_checkpoint: CheckpointStatus | None = api_field("Newest committed checkpoint.", default=None)
    last_recovery: Recovered | None = api_field(
        "How long the processes that stayed stood still when others were lost or came.", default=None
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Artifact:
    """A folder in object storage whose manifest has this digest."""

    uri: str = api_field("Folder that holds manifest.json.")
    sha256: str = api_field("sha256 of the canonical manifest.", max_length=64, pattern="^[0-9a-f]{64}$")
    size_bytes: int = api_field("Bytes of all files.", minimum=0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Artifacts:
    """What the job has stored."""

    model: Artifact | None = api_field("The trained FP32 model in Hugging Face format.", default=None)
    optimized: Artifact | None = api_field(
        "The artifact that is served: INT8, or converted FP32 without optimize.", default=None
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Scores:
    """Figures of one model on the held-out data, measured on the CPU of the optimize pod."""

    metric: str = api_field("Name of the task's metric.", max_length=63)
    value: float | None = api_field("The metric as a fraction.", default=None)
    value_low: float | None = api_field("Lower bound of the metric, one-sided at 95 %.", default=None)
    value_high: float | None = api_field("Upper bound of the metric, one-sided at 95 %.", default=None)
    num_examples: int | None = api_field("Held-out examples.", default=None, minimum=0)
    latency_p50_ms: float | None = api_field("Median latency of one text in milliseconds.", default=None, minimum=0)
    latency_p99_ms: float | None = api_field("99th percentile of the latency in milliseconds.", default=None, minimum=0)
    fixed_tokens: int | None = api_field(
        "Tokens of the one text that every model is timed with too: 128, or the longest.", default=None, minimum=1
    )
    fixed_latency_p50_ms: float | None = api_field(
        "Median latency of the text of fixedTokens in milliseconds.", default=None, minimum=0
    )
    fixed_latency_p99_ms: float | None = api_field(
        "99th percentile of the latency of the text of fixedTokens in milliseconds.", default=None, minimum=0
    )
    size_bytes: int | None = api_field("Bytes of the weights.", default=None, minimum=0)
    peak_memory_bytes: int | None = api_field("Most memory of a process that serves it.", default=None, minimum=0)
    engine: str | None = api_field("What computed it.", default=None, max_length=128)


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """Comparison that the gate decided on."""

    fp32: Scores | None = api_field("The trained model.", default=None)
    int8: Scores | None = api_field("The chosen candidate.", default=None)
    live: Scores | None = api_field("The model that was served before.", default=None)
    method: str | None = api_field("How the chosen candidate was made.", default=None, max_length=63)
    verdict: Literal["Passed", "Failed", "Inconclusive"] | None = api_field("The gate's verdict.", default=None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rollout:
    """How far the new model has come."""

    service: str = api_field("Name of the InferenceService.", max_length=63)
    step: int = api_field("Index into serving.steps.", default=0, minimum=0)
    traffic_percent: int = api_field(
        "Share of the traffic that the new model answers.", default=0, minimum=0, maximum=100
    )
    canary: str | None = api_field("Name of the candidate InferenceService.", default=None, max_length=63)
    verdict: Literal["Successful", "Failed", "Error", "Inconclusive"] | None = api_field(
        "Newest analysis.", default=None
    )
    url: str | None = api_field("Where the service answers.", default=None)


@dataclass(frozen=True, slots=True, kw_only=True)
class HistoryEntry:
    """One model that the InferenceService served."""

    uri: str = api_field("Artifact.")
    job: str = api_field("BertJob that made it.", max_length=63)
    time: str = api_field("When it got all traffic.", timestamp=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class LastFailure:
    """The newest failure of any pod of the job."""

    phase: str = api_field("Component that failed.", max_length=63)
    pod: str | None = api_field("Name of the pod.", default=None, max_length=253)
    node: str | None = api_field("Node it ran on.", default=None, max_length=253)
    reason: str = api_field("CamelCase cause.", max_length=128)
    exit_code: int | None = api_field("Exit code of the container.", default=None, minimum=0, maximum=255)
    message: str = api_field("What the program said last.")
    time: str | None = api_field("When it failed.", default=None, timestamp=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class JobStatus:
    """What the operator has observed of one BertJob."""

    observed_generation: int = api_field("Newest generation that was acted on.", default=0, minimum=0)
    phase: str | None = api_field("One word for display; programs read conditions.", default=None, max_length=63)
    conditions: tuple[Condition, ...] = api_field("Observations.", default=(), max_items=16, list_key="type")
    replicas: int = api_field("Training pods that are running.", default=0, minimum=0)
    nodes: str | None = api_field("Running and wanted nodes, for display.", default=None, max_length=32)
    progress: str | None = api_field(
        "Progress of training, or of optimize while it runs, for display.", default=None, max_length=32
    )
    selector: str | None = api_field("Label selector of the training pods, for the scale subresource.", default=None)
    start_time: str | None = api_field("When the job was first seen.", default=None, timestamp=True)
    completion_time: str | None = api_field("When the job ended.", default=None, timestamp=True)
    attempt: int = api_field("Newest training attempt, 0-based.", default=0, minimum=0)
    training: TrainingStatus | None = api_field("Training progress.", default=None)
    artifacts: Artifacts | None = api_field("Stored results.", default=None)
    evaluation: Evaluation | None = api_field("Measurements and verdict of the gate.", default=None)
    rollout: Rollout | None = api_field("State of the rollout.", default=None)
    history: tuple[HistoryEntry, ...] = api_field(
        "Models of the InferenceService, newest first.", default=(), max_items=20
    )
    last_failure: LastFailure | None = api_field("Newest failure.", default=None)
