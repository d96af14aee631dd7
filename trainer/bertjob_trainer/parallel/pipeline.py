"""
Pipeline parallelism: each process holds some layers in a row, and a step's micro-batches flow through.

Source: Huang et al. 2018 (GPipe, arXiv:1811.06965), Narayanan et al. 2019 (1F1B, arXiv:1806.03377), by torch's schedules.

All micro-batches that flow together have one shape, so they are padded to the longest and filled up with rows that count nothing.
Shapes: N micro-batches of B rows and L tokens; E model width.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import torch
from torch import Tensor, nn
from torch.distributed import pipelining

from bertjob_trainer import precision
from bertjob_trainer.data import Batch
from bertjob_trainer.module import Module
from bertjob_trainer.order import dealt
from bertjob_trainer.parallel.axes import Axes, Spot
from bertjob_trainer.parallel.strategy import Arithmetic, Work, dropout_seed, mean_share

_ROUND: Final = 8
"""Lengths are rounded up to multiples of this, so that steps have few different shapes."""


def layers_of(stage: int, *, stages: int, layers: int) -> range:
    """Return the layers of a stage: as equal as can be, the later ones have one more."""
    return range(layers * stage // stages, layers * (stage + 1) // stages)


def holders(model: Any, *, stages: int) -> dict[str, int]:
    """Return the stage of every parameter: the embeddings are in the first, all behind the layers in the last."""
    layers = len(model.bert.encoder.layer)
    owner = {layer: stage for stage in range(stages) for layer in layers_of(stage, stages=stages, layers=layers)}
    found = {}
    for name, _ in model.named_parameters():
        if name.startswith("bert.embeddings."):
            found[name] = 0
        elif name.startswith("bert.encoder.layer."):
            found[name] = owner[int(name.split(".")[3])]
        else:
            found[name] = stages - 1
    return found


def cut(model: Any, stage: int, *, stages: int) -> None:
    """Take the memory of what other stages hold from *model*."""
    mine = layers_of(stage, stages=stages, layers=len(model.bert.encoder.layer))
    held = holders(model, stages=stages)
    for name, parameter in list(model.named_parameters()):
        if held[name] != stage:
            owner, _, leaf = name.rpartition(".")
            setattr(model.get_submodule(owner), leaf, nn.Parameter(parameter.detach().to("meta")))
    model.bert.encoder.part = slice(mine.start, mine.stop)


class Stage(Module):
    """The layers of one stage as one module; the last one's output is the loss."""

    def __init__(self, model: Any, arithmetic: Arithmetic, *, is_last: bool, salt: int) -> None:
        super().__init__()
        self.model = model
        self.flow = Flow(batches=(), seeds=(), num_targets=(1,))
        """What flows now."""
        self._arithmetic = arithmetic
        self._is_last = is_last
        self._salt = salt
        """Told from those of other stages, so that no two draw the same dropout."""

    def forward(self, x: Tensor, *, type_ids: Tensor, mask: Tensor, number: Tensor) -> Tensor:
        """
        Return hidden states (B, L, E), or in the last stage the share of the step's loss, (1,).

        Args:
            x: ids (B, L), or hidden states of the stage before.
            type_ids: (B, L) segments.
            mask: (B, L), True at tokens.
            number: (1,) which micro-batch it is; those behind the last real one are fill.

        """
        index = int(number)
        torch.manual_seed(self.flow.seed(index) ^ self._salt)
        part = self.model if self._is_last else self.model.bert
        with precision.autocast(self._arithmetic.dtype, device=x.device):
            outputs = part(x, type_ids, mask).float()
        return self._loss(outputs, index).reshape(1) if self._is_last else outputs

    def _loss(self, outputs: Tensor, index: int) -> Tensor:
        """Return the share of the step's loss, without rows and tokens of fill."""
        if index >= len(self.flow.batches):
            return outputs.sum() * 0.0
        batch = self.flow.batches[index]
        rows, length = batch.ids.shape
        real = outputs[:rows, :length] if outputs.dim() == 3 else outputs[:rows]
        return mean_share(self._arithmetic.loss(real, batch.labels), self.flow.num_targets)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Flow:
    """The micro-batches of a step that flow through the stages of one copy."""

    batches: Sequence[Batch]
    seeds: Sequence[int]
    """Of the dropout of each."""
    num_targets: tuple[int, ...]
    """Of the whole step."""

    def seed(self, index: int) -> int:
        """Return the seed of one, 0 for fill."""
        return self.seeds[index] if index < len(self.seeds) else 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """What micro-batches that flow together have in common."""

    count: int
    rows: int
    length: int


def shape_of(lengths: Sequence[int], *, rows: int, stages: int, most: int) -> Shape:
    """
    Return the common shape of micro-batches.

    Args:
        lengths: tokens of each; none: they are all fill.
        rows: of a full micro-batch.
        stages: at least so many micro-batches flow, which 1F1B needs.
        most: positions that the model has.

    """
    longest = max(lengths, default=1)
    return Shape(count=max(stages, len(lengths)), rows=rows, length=min(-(-longest // _ROUND) * _ROUND, most))


def stacked(batches: Sequence[Batch], shape: Shape, *, device: torch.device) -> Mapping[str, Tensor]:
    """Return ``ids``, ``type_ids`` and ``mask``, (N * B, L), of *batches* padded to *shape*, and each ``number``, (N,)."""
    size = (shape.count, shape.rows, shape.length)
    ids = torch.zeros(size, dtype=torch.int32, device=device)
    type_ids = torch.zeros(size, dtype=torch.int32, device=device)
    mask = torch.zeros(size, dtype=torch.bool, device=device)
    mask[:, :, 0] = True  # something to attend to in rows of fill too: without it attention is not a number
    for number, batch in enumerate(batches):
        rows, length = batch.ids.shape
        ids[number, :rows, :length] = batch.ids
        type_ids[number, :rows, :length] = batch.type_ids
        mask[number, :rows, :length] = True if batch.mask is None else batch.mask
    return {
        "ids": ids.flatten(0, 1),
        "type_ids": type_ids.flatten(0, 1),
        "mask": mask.flatten(0, 1),
        "number": torch.arange(shape.count),
    }


class Passes:
    """Forward and backward of a process's micro-batches."""

    def __init__(self, model: Any, axes: Axes, spot: Spot, arithmetic: Arithmetic, *, group: Any) -> None:
        """
        Prepare.

        Args:
            model: cut for this stage.
            axes: the grid.
            spot: this process's place.
            arithmetic: how a batch becomes a loss.
            group: torch's process group of the stages of this copy.

        """
        self._axes = axes
        self._spot = spot
        self._arithmetic = arithmetic
        self._group = group
        self._width = model.bert.encoder.layer[0].output.dense.out_features
        self._positions = model.bert.embeddings.position_embeddings.num_embeddings
        self._is_last = spot.pipeline == axes.pipeline - 1
        self._stage = Stage(model, arithmetic, is_last=self._is_last, salt=spot.pipeline)
        self._made: tuple[Shape, Any] | None = None

    def __call__(self, work: Work) -> float:
        """Add the gradients of this copy's micro-batches, and return their share of the loss in the last stage, else 0."""
        mine = dealt(len(work.micro_batches), rank=self._spot.stream, world=self._axes.streams)
        device = self._arithmetic.device
        batches = [work.data.batch(index, device=device) for index in mine]
        seeds = [dropout_seed(self._arithmetic.seed, work.step, index) for index in mine]
        self._stage.flow = Flow(batches=batches, seeds=seeds, num_targets=work.num_targets)
        rows = max(len(samples) for samples in work.micro_batches)
        lengths = [batch.ids.shape[1] for batch in batches]
        shape = shape_of(lengths, rows=rows, stages=self._axes.pipeline, most=self._positions)
        inputs = stacked(batches, shape, device=device)
        losses: list[Tensor] = []
        self._schedule(shape).step(
            *((inputs["ids"],) if self._spot.pipeline == 0 else ()),
            target=inputs["number"],
            losses=losses if self._is_last else None,
            return_outputs=False,
            **{name: tensor for name, tensor in inputs.items() if name != "ids"},
        )
        return sum(float(loss.detach()) for loss in losses)

    def _schedule(self, shape: Shape) -> Any:
        if self._made is None or self._made[0] != shape:
            device = self._arithmetic.device
            hidden = torch.empty(shape.rows, shape.length, self._width, device=device, requires_grad=True)
            ids = torch.empty(shape.rows, shape.length, dtype=torch.int32, device=device)
            loss = torch.empty(1, device=device, requires_grad=True)
            stage = pipelining.PipelineStage(
                self._stage,
                self._spot.pipeline,
                self._axes.pipeline,
                device,
                # Given, so that stages need not tell each other at the first step, which torch does with pickles.
                input_args=ids if self._spot.pipeline == 0 else hidden,
                output_args=loss if self._is_last else hidden,
                group=self._group,
            )
            schedule = pipelining.Schedule1F1B(stage, shape.count, loss_fn=_loss_itself, scale_grads=False)
            self._made = (shape, schedule)
        return self._made[1]


def _loss_itself(outputs: Tensor, target: Tensor) -> Tensor:  # noqa: ARG001  # the schedule's signature
    """Return the loss that the last stage has computed already."""
    return outputs.sum()
