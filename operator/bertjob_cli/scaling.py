"""
How much faster a training step is on several nodes: a model of computing and of the sum of the gradients. Pure.

A step computes its micro-batches, shared by the nodes, and adds up all gradients but those of words that did not occur. The sum
begins during the backward pass of a node's last micro-batch, bucket by bucket, and ends after it with what comes last::

    T(1) = batch * tokens / rate
    T(n) = T(1) * ceil(m / n) / m + max(c(all but words) - hidden, c(a bucket)) + c(words)
    c(x) = 2 (n - 1) / n * bytes of x / bandwidth
    hidden = 2 / 3 of a micro-batch, but for its first layer

with m micro-batches in a step. Sources: a ring moves each byte 2 (n - 1) / n times over each node's link (Patarasuk and Yuan 2009,
doi:10.1016/j.jpdc.2008.09.002); a backward pass costs twice a forward pass (Kaplan et al. 2020, arXiv:2001.08361, 2.1).
"""

import math
from dataclasses import dataclass, replace
from typing import Final

from bertjob_api import presets

EFFICIENCY: Final = 1448 / 1538
"""Share of a link's rate that is data: what is left of a full Ethernet frame without preamble, gap and headers (RFC 7323, A)."""
GIGABIT_BYTES: Final = 125_000_000
BUCKET_NUMBERS: Final = 1024 * 1024
"""Of the trainer's sums; held equal to its own by a test, since this module must not load it."""
BACKWARD: Final = 2 / 3
"""Share of a micro-batch's time."""
_WORDS_FACTOR, _WORDS_POWER = 12.2, 0.6
"""Different words in so many tokens, by Heaps' law: about 1,800 in 4,096 tokens of English."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sizes:
    """A BERT model."""

    layers: int
    hidden: int
    intermediate: int
    vocabulary: int = 30_522
    positions: int = 512

    @property
    def dense(self) -> int:
        """Return the parameters that have a gradient in every step: all but the word vectors."""
        hidden, inner = self.hidden, self.intermediate
        layer = 4 * (hidden * hidden + hidden) + 2 * hidden * inner + inner + hidden + 4 * hidden
        return self.layers * layer + (self.positions + 2 + 2) * hidden + hidden * hidden + hidden

    @property
    def parameters(self) -> int:
        """Return all parameters of the encoder."""
        return self.dense + self.vocabulary * self.hidden


PRESETS: Final = {
    name: Sizes(layers=size.layers, hidden=size.width, intermediate=size.intermediate)
    for name, size in presets.SIZES.items()
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """A training on several nodes."""

    sizes: Sizes
    nodes: int
    gigabits: float
    """Of each node's link, per second."""
    batch_size: int
    """Samples of a step over all nodes."""
    micro_batch_size: int
    tokens: float
    """Mean tokens of a sample."""
    rate: float
    """Tokens per second that one node trains on."""
    gradient_bytes: int = 4
    """Of one number on the wire."""
    is_tied: bool = False
    """The word vectors are the output layer too, as for hidden words: all of them have a gradient in every step."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Forecast:
    """A step on one node and on several, in seconds."""

    alone: float
    computing: float
    """On the node that has the most micro-batches."""
    network: float
    """What sums take, hidden or not."""
    exposed: float
    """Part of ``network`` in which nothing is computed."""
    bytes_per_node: float
    """Sent by each node in a step."""
    waiting: float
    """Part of ``computing`` in which other nodes wait, because micro-batches do not divide evenly."""

    @property
    def speed_up(self) -> float:
        """Return how many times faster a step is than on one node."""
        return self.alone / (self.computing + self.exposed)


def forecast(setting: Setting) -> Forecast:
    """Return what a step takes."""
    alone = setting.batch_size * setting.tokens / setting.rate
    count = math.ceil(setting.batch_size / setting.micro_batch_size)
    share = math.ceil(count / setting.nodes) / count
    early, late = _numbers(setting)
    sent = 2 * (setting.nodes - 1) / setting.nodes * setting.gradient_bytes
    bandwidth = setting.gigabits * GIGABIT_BYTES * EFFICIENCY
    layers = setting.sizes.layers
    hidden = alone / count * BACKWARD * (layers - 1) / layers
    tail = sent * min(BUCKET_NUMBERS, early) / bandwidth
    return Forecast(
        alone=alone,
        computing=alone * share,
        network=sent * (early + late) / bandwidth,
        exposed=max(sent * early / bandwidth - hidden, tail) + sent * late / bandwidth,
        bytes_per_node=sent * (early + late),
        waiting=alone * (share - 1 / setting.nodes),
    )


def _numbers(setting: Setting) -> tuple[float, float]:
    """Return how many gradients can leave during the backward pass, and how many only after it."""
    hidden, vocabulary = setting.sizes.hidden, setting.sizes.vocabulary
    head = hidden * hidden + 3 * hidden + vocabulary if setting.is_tied else 0
    words = (vocabulary if setting.is_tied else words_in(setting)) * hidden
    return setting.sizes.dense + head, words


def words_in(setting: Setting) -> float:
    """Return how many different words a step has, whose vectors' gradients travel."""
    count = _WORDS_FACTOR * math.pow(setting.batch_size * setting.tokens, _WORDS_POWER)
    return min(count, float(setting.sizes.vocabulary))


def limit(found: Forecast, *, nodes: int) -> str:
    """Return what keeps the speed-up below the number of nodes most, as a phrase."""
    if found.speed_up >= 0.975 * nodes:
        return "nothing worth changing"
    if found.waiting > found.exposed:
        return "micro-batches do not divide evenly: some nodes wait for those with one more"
    return "the network: nodes wait for the sum of the gradients"


def changes(setting: Setting, *, goal: float) -> tuple[tuple[str, Setting], ...]:
    """Return what could be changed to reach a speed-up of *goal*, each with the setting after it, the cheapest first."""
    found = []
    count = math.ceil(setting.batch_size / setting.micro_batch_size)
    if count % setting.nodes:
        smaller = math.gcd(setting.batch_size // setting.nodes, setting.micro_batch_size)
        if smaller and (setting.batch_size // smaller) % setting.nodes == 0:
            found.append(
                (f"microBatchSize: {smaller} divides the batch evenly", replace(setting, micro_batch_size=smaller))
            )
    most = setting.batch_size // setting.nodes
    wide = replace(setting, micro_batch_size=most)
    half = replace(setting, gradient_bytes=2)
    if most > setting.micro_batch_size and forecast(wide).speed_up >= goal:
        found.append((f"microBatchSize: {most} hides more of the sum behind the backward pass", wide))
    if setting.gradient_bytes > 2 and forecast(half).speed_up >= goal:
        found.append(("gradientPrecision: bf16 sends half", half))
    both = replace(half, micro_batch_size=most)
    if not found and setting.gradient_bytes > 2 and most > setting.micro_batch_size and forecast(both).speed_up >= goal:
        found.append((f"microBatchSize: {most} and gradientPrecision: bf16", both))
    factor = next((f for f in (2, 4, 8, 16, 32, 64, 128, 256, 512, 1024) if _scaled(setting, f) >= goal), None)
    if factor is not None:
        bigger = setting.batch_size * factor
        found.append(
            (f"batchSize: {bigger} sums gradients {factor} times less often", replace(setting, batch_size=bigger))
        )
    faster = next((g for g in (10, 25, 100, 200, 400) if g > setting.gigabits and _on(setting, g) >= goal), None)
    if faster is not None:
        found.append((f"{faster} GbE between the nodes", replace(setting, gigabits=float(faster))))
    return tuple(found)


def _scaled(setting: Setting, factor: int) -> float:
    return forecast(replace(setting, batch_size=setting.batch_size * factor)).speed_up


def _on(setting: Setting, gigabits: float) -> float:
    return forecast(replace(setting, gigabits=gigabits)).speed_up
