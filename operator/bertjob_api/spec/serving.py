"""Which InferenceService gets the model, and how carefully."""

from dataclasses import dataclass
from typing import Final, Literal

from bertjob_api.fields import DNS_LABEL, DURATION, api_field


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


IMMUTABLE_SERVING: Final = ("inference_service", "runtime")
