"""The INT8 model and what it must reach."""

from dataclasses import dataclass
from typing import Literal

from bertjob_api.fields import api_field
from bertjob_api.spec.training import Opaque

Method = Literal["dynamic", "static", "qat", "pruning"]
Reference = Literal["torch", "magnitude"]
Engine = Literal["openvino", "onnxruntime"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Pruning:
    """What the method pruning leaves out, least important parts first."""

    heads: float = api_field(
        "Share of all attention heads to leave out; every layer keeps one.", default=0.25, minimum=0, maximum=0.95
    )
    channels: float = api_field(
        "Share of all feed-forward channels to leave out.", default=0.5, minimum=0, maximum=0.95
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class FineTune:
    """The short fine-tune of the methods qat and pruning, which makes them answer as the FP32 model does."""

    examples: int = api_field(
        "Training examples to learn from; their labels are not used.", default=2000, minimum=1, maximum=1_000_000
    )
    epochs: int = api_field("Passes over them.", default=3, minimum=1, maximum=100)
    learning_rate: float = api_field("Greatest learning rate.", default=5e-5, minimum=0, maximum=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Optimize:
    """Which INT8 candidates are built and measured."""

    methods: tuple[Method, ...] = api_field(
        "Candidates to build: dynamic (INT8 weights, activations quantized on the fly), static (calibrated), qat (fine-tuned for "
        "INT8), pruning (heads and channels left out, then as qat).",
        default=("dynamic", "static"),
        min_items=1,
        max_items=4,
        unique=True,
    )
    engines: tuple[Engine, ...] = api_field(
        "Engines to build them for; the fastest candidate that passes the gate wins. static exists for openvino alone.",
        default=("openvino", "onnxruntime"),
        min_items=1,
        max_items=2,
        unique=True,
    )
    # No set: the API server takes two empty ones for unequal, and then refuses every change of the job.
    references: tuple[Reference, ...] = api_field(
        "Measured and shown beside the candidates, never served: torch (its dynamic quantization), magnitude (half of the weights "
        "zeroed: smaller only where files are packed, and no faster).",
        default=(),
        max_items=2,
    )
    calibration_samples: int = api_field(
        "Training examples used to calibrate static quantization.", default=300, minimum=1, maximum=100_000
    )
    pruning: Pruning = api_field("What pruning leaves out.", default_factory=Pruning)
    vocabulary: Literal["All", "Language"] = api_field(
        "Words whose embeddings INT8 candidates keep. Language: those written as the training texts are, and all that these have; "
        "texts in other scripts are then read as unknown words.",
        default="All",
    )
    fine_tune: FineTune = api_field("How qat and pruning learn.", default_factory=FineTune)
    image: str | None = api_field("Image of the optimize pod. Unset: the training image.", default=None, max_length=512)
    resources: Opaque | None = api_field("Resource requests and limits of the optimize pod.", default=None, opaque=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Gate:
    """What an INT8 model must reach before it may be served. Applies whenever optimize is set, with these defaults if left out."""

    max_accuracy_drop: float = api_field(
        "Largest loss of the task's metric against FP32, as a fraction.", default=0.02, minimum=0, maximum=1
    )
    min_speedup: float = api_field(
        "Smallest speed-up over the fastest FP32 engine on the same CPU; below 1 only with sizeOnly.",
        default=1.5,
        minimum=0,
        maximum=1000,
    )
    size_only: bool = api_field(
        "Accept INT8 that gains size and no speed: lets minSpeedup be below 1. For CPUs without INT8 instructions.",
        default=False,
    )
    max_size_ratio: float = api_field(
        "Largest size as a fraction of the FP32 weights.", default=0.35, minimum=0, maximum=10
    )
    against: tuple[Literal["fp32", "live"], ...] = api_field(
        "Models to compare with.", default=("fp32",), min_items=1, max_items=2, unique=True
    )
    on_missing: Literal["Fail", "Ignore"] = api_field("Verdict when a figure cannot be measured.", default="Fail")
