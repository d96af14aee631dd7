"""How the model is trained."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from bertjob_api.fields import CADENCE, METRIC, PERIOD, api_field

Precision = Literal["auto", "fp32", "bf16", "fp16"]
GradientPrecision = Literal["fp32", "bf16"]
Opaque = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Elastic:
    """Bounds within which the number of training nodes may move."""

    min: int = api_field("Fewest nodes that may train.", minimum=1, maximum=16384)
    max: int = api_field("Most nodes that may train.", minimum=1, maximum=16384)
    spare: bool = api_field(
        "Whether each pod keeps one more worker ready, which takes the place of one that dies at once; about 0.3 GB of memory.",
        default=False,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Parallelism:
    """How the processes are split; the product is their number, and of tensor, pipeline and fsdp one may be above 1."""

    data: int = api_field(
        "Data-parallel replicas; -1: what the other axes leave over.", default=-1, minimum=-1, maximum=65536
    )
    tensor: int = api_field("Tensor-parallel ways, a divisor of the attention heads.", default=1, minimum=1, maximum=64)
    pipeline: int = api_field("Pipeline stages, at most as many as layers.", default=1, minimum=1, maximum=64)
    fsdp: int = api_field("Ways in which parameters are sharded.", default=1, minimum=1, maximum=65536)

    @property
    def is_cut(self) -> bool:
        """Return whether one copy of the model needs several processes."""
        return self.tensor * self.pipeline * self.fsdp > 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """When training state is committed and how much of it is kept."""

    every: str = api_field(
        "Steps (500 steps) or time (5m) between commits.", default="500 steps", pattern=CADENCE, max_length=32
    )
    keep: int = api_field("Newest committed checkpoints that are kept.", default=3, minimum=1, maximum=1000)
    best: str | None = api_field(
        "Publish the model that was best by this metric of the held-out data, and keep its checkpoint. Unset: publish the last.",
        default=None,
        pattern=METRIC,
        max_length=63,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluate:
    """When the model is evaluated on the held-out data while it trains."""

    every: str = api_field(
        "Epochs (1 epoch) or steps (500 steps) between evaluations.", default="1 epoch", pattern=PERIOD, max_length=32
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class EarlyStopping:
    """When training ends before its last epoch."""

    metric: str | None = api_field(
        "Metric of the held-out data that must improve. Unset: the one that the gate compares.",
        default=None,
        pattern=METRIC,
        max_length=63,
    )
    patience: int = api_field(
        "Evaluations in a row without improvement that end training.", default=3, minimum=1, maximum=1000
    )
    min_delta: float = api_field("Smallest change that counts as improvement.", default=0.0, minimum=0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Training:
    """How the model is trained."""

    replicas: int = api_field("Nodes to train on now; kubectl scale changes it.", default=1, minimum=0, maximum=16384)
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
    gradient_precision: GradientPrecision = api_field(
        "In which gradients are summed over processes; bf16 moves half as many bytes.", default="fp32"
    )
    seed: int = api_field("Seed of data order, dropout and new weights.", default=42, minimum=0, maximum=2**31 - 1)
    checkpoint: Checkpoint = api_field("Checkpoint policy.", default_factory=Checkpoint)
    evaluate: Evaluate | None = api_field(
        "Evaluation while training. Unset: after each epoch when earlyStopping or checkpoint.best is set, else only at the end.",
        default=None,
    )
    early_stopping: EarlyStopping | None = api_field(
        "End training when a metric no longer improves. Unset: train every epoch.", default=None
    )
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


MUTABLE_TRAINING: Final = ("replicas", "elastic")
"""Fields of ``training`` that may change while the job lives; the others are refused."""
