"""From a whole model to this process's state, and from the state to its strategy: the one place that chooses."""

from functools import partial
from typing import Any, Final

import torch

from bertjob_tasks.errors import UnsupportedError
from bertjob_trainer.group import Along, Group
from bertjob_trainer.heads import SentenceEmbedder
from bertjob_trainer.parallel.axes import Axes
from bertjob_trainer.parallel.replicated import Replicated
from bertjob_trainer.parallel.strategy import Arithmetic, Strategy
from bertjob_trainer.state import TrainState

WORDS: Final = "bert.embeddings.word_embeddings.weight"


def start(model: Any, axes: Axes, *, group: Group, device: torch.device, weight_decay: float, sums: torch.dtype = torch.float32) -> TrainState:  # fmt: skip
    """
    Return the state before the first step.

    Args:
        model: whole, the same in every process; it is cut in place where a copy has several processes.
        axes: the grid of the group's processes.
        group: all processes.
        device: where to compute.
        weight_decay: of the optimizer.
        sums: in which gradients are summed over processes.

    Raises:
        UnsupportedError: the model cannot be cut so.

    """
    if axes.ways == 1:
        return TrainState.start(model.to(device), weight_decay=weight_decay)
    refuse_uncuttable(model, axes)
    # Late: these parts of torch take seconds to load, and whole copies need none of them.
    from bertjob_trainer.parallel import pipeline, sharded, tensor  # noqa: PLC0415
    from bertjob_trainer.parallel.grid import grid_of  # noqa: PLC0415
    from bertjob_trainer.parallel.shards import layout_of  # noqa: PLC0415
    from bertjob_trainer.parallel.split_state import SplitState  # noqa: PLC0415

    spot = axes.spot(group.rank)
    layout = layout_of(model, axes=axes, spot=spot, holders=pipeline.holders(model, stages=axes.pipeline))
    grid = grid_of(axes, device=device, group=group)
    if spot is None:
        model.to("meta")
    else:
        if axes.pipeline > 1:
            pipeline.cut(model, spot.pipeline, stages=axes.pipeline)
        else:
            model.to(device)
        if axes.tensor > 1:
            tensor.cut(model, grid.along("tensor"))
        if axes.fsdp > 1:
            sharded.cut(model, grid.along("data", "fsdp"), sums=sums)
    return SplitState.of(model, layout, group=group, grid=grid, weight_decay=weight_decay, device=device)


def refuse_uncuttable(model: Any, axes: Axes) -> None:
    """Raise UnsupportedError where the model's shape does not allow the grid."""
    layers = len(model.bert.encoder.layer)
    heads = model.bert.encoder.layer[0].attention.self.num_heads
    if heads % axes.tensor:
        raise UnsupportedError(
            f"spec.training.parallelism.tensor: got {axes.tensor}, the model has {heads} attention heads; take a divisor"
        )
    if layers < axes.pipeline:
        raise UnsupportedError(
            f"spec.training.parallelism.pipeline: got {axes.pipeline}, the model has {layers} layers; lower it"
        )
    if axes.pipeline > 1 and isinstance(model, SentenceEmbedder):
        raise UnsupportedError(
            "spec.training.parallelism.pipeline: an embedding model takes texts apart before its first layer; use tensor or fsdp"
        )
    if axes.pipeline > 1 and model.is_tied:
        raise UnsupportedError(
            "spec.training.parallelism.pipeline: this task's head shares weights with the embeddings, which stand in another "
            "stage; use tensor or fsdp"
        )


def strategy_of(state: TrainState, *, group: Group, arithmetic: Arithmetic, num_flags: int) -> Strategy:
    """Return how the processes of *group* compute a step of *state*; *num_flags* numbers are summed along."""
    if not state.is_split:
        return Replicated(state.model, group, arithmetic, num_flags=num_flags)
    from bertjob_trainer.parallel import pipeline, sharded  # noqa: PLC0415
    from bertjob_trainer.parallel.divided import Divided, Onlooker, SharedPasses  # noqa: PLC0415
    from bertjob_trainer.parallel.split_gradients import SplitGradients  # noqa: PLC0415
    from bertjob_trainer.parallel.split_state import SplitState  # noqa: PLC0415

    assert isinstance(state, SplitState)
    axes, spot = state.layout.axes, state.layout.spot
    if spot is None:
        return Onlooker(group, device=state.device)
    if axes.fsdp > 1:
        return Divided(
            sharded.ShardedPasses(state.model, axes, spot, arithmetic),
            sharded.Gradients(state.parts, spot, group),
            share=partial(axes.share, spot),
        )
    copies = Along(rank=spot.data, world=axes.data, process_group=state.grid.process_group("data"))
    gradients = SplitGradients(
        tuple(state.parts.values()),
        None if state.model.is_tied else state.parts.get(WORDS),
        spot=spot,
        copies=copies,
        world=group,
        sums=arithmetic.sums,
    )
    if axes.pipeline > 1:
        stages = state.grid.process_group("pipeline")
        passes: Any = pipeline.Passes(state.model, axes, spot, arithmetic, group=stages)
    else:
        passes = SharedPasses(state.model, axes, spot, arithmetic)
    return Divided(passes, gradients, share=partial(axes.share, spot))
