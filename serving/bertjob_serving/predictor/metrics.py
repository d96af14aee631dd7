"""What the predictor counts, in Prometheus' default registry, which KServe exposes at ``/metrics``."""

from typing import Final

from prometheus_client import Counter, Gauge, Histogram

REQUESTS: Final = Counter(
    "requests_total", "Inference requests by status code and model version.", ["code", "model_version"]
)
IN_FLIGHT: Final = Gauge("requests_in_flight", "Inference requests that are being answered.")
LATENCY: Final = Histogram(
    "request_latency_seconds",
    "Time from the request's headers to its response, by model version.",
    ["model_version"],
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.5, 1, 2.5, 5, 10),
)
"""200 ms is a bucket of its own since it is the usual bound of the rollout's analysis."""


def observe(*, code: int, seconds: float, version: str) -> None:
    """Count one inference request."""
    REQUESTS.labels(code=str(code), model_version=version).inc()
    LATENCY.labels(model_version=version).observe(seconds)
