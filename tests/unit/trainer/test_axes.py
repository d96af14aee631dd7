"""The grid of processes, and what of a model a pipeline stage holds; pure parts of the parallel strategies."""

import pytest
import torch
from support.learning import a_dataset, a_state
from torch.testing import assert_close

from bertjob_api.manifest import CorruptError
from bertjob_api.spec import Parallelism
from bertjob_tasks.errors import UnsupportedError
from bertjob_trainer import attention
from bertjob_trainer.dropout import keep_mask
from bertjob_trainer.group import Alone, is_of_a_peer
from bertjob_trainer.parallel import pipeline, starting
from bertjob_trainer.parallel.axes import Axes, axes_of
from bertjob_trainer.parallel.shards import layout_of
from bertjob_trainer.parallel.split_state import SplitState

CPU = torch.device("cpu")


@pytest.mark.parametrize(
    ("grid", "world", "shape"),
    [
        (Parallelism(), 3, (3, 1, 1, 1)),
        (Parallelism(data=2, tensor=2), 4, (2, 1, 1, 2)),
        (Parallelism(pipeline=2), 6, (3, 1, 2, 1)),
        (Parallelism(fsdp=2), 5, (2, 2, 1, 1)),
    ],
)
def test_grid_fills_the_processes_with_whole_copies(
    grid: Parallelism, world: int, shape: tuple[int, int, int, int]
) -> None:
    """With -1 there are as many copies as fit; every process has a place of its own or looks on."""
    axes = axes_of(grid, world=world)

    assert axes.shape == shape
    spots = [axes.spot(rank) for rank in range(world)]
    used = axes.data * axes.ways
    assert None not in spots[:used]
    assert spots[used:] == [None] * (world - used)
    assert len({(each.data, each.fsdp, each.pipeline, each.tensor) for each in spots if each}) == used
    assert {each.stream for each in spots if each} == set(range(axes.streams))


@pytest.mark.parametrize(
    ("grid", "world", "words"),
    [
        (Parallelism(tensor=4), 2, "tensor 4 x pipeline 1 x fsdp 1 needs 4 processes, got 2"),
        (Parallelism(data=2, fsdp=2), 6, "data 2 x tensor 1 x pipeline 1 x fsdp 2 is 4 processes, got 6"),
    ],
)
def test_grid_that_does_not_fit_is_refused(grid: Parallelism, world: int, words: str) -> None:
    """The numbers of both sides are named."""
    with pytest.raises(UnsupportedError, match=words):
        axes_of(grid, world=world)


@pytest.mark.parametrize(
    ("axes", "words"),
    [({"tensor": 4}, "2 attention heads"), ({"pipeline": 4}, "2 layers")],
)
def test_model_that_cannot_be_cut_so_is_refused(axes: dict[str, int], words: str) -> None:
    """Heads are not halved, and a stage without a layer is of no use."""
    grid = Axes(**{"data": 1, "fsdp": 1, "pipeline": 1, "tensor": 1, **axes})

    with pytest.raises(UnsupportedError, match=words):
        starting.refuse_uncuttable(a_state(dropout=0.0).model, grid)


def test_every_parameter_has_one_stage() -> None:
    """Stages hold layers in a row, as equal as can be; the ends hold the rest."""
    rows = [pipeline.layers_of(stage, stages=5, layers=12) for stage in range(5)]
    held = pipeline.holders(a_state(dropout=0.0).model, stages=2)

    assert [layer for row in rows for layer in row] == list(range(12))
    assert {len(row) for row in rows} == {2, 3}
    assert held["bert.embeddings.LayerNorm.weight"] == held["bert.encoder.layer.0.output.dense.bias"] == 0
    assert held["bert.encoder.layer.1.output.dense.bias"] == held["classifier.weight"] == 1


def test_micro_batches_that_flow_together_have_one_shape() -> None:
    """Rows and tokens of fill are masked, but for one token each, without which attention would not be a number."""
    data = a_dataset()
    batches = [data.batch(samples, device=CPU) for samples in (data.lengths.argsort()[-2:], data.lengths.argsort()[:1])]
    shape = pipeline.shape_of([batch.ids.shape[1] for batch in batches], rows=2, stages=4, most=64)

    inputs = pipeline.stacked(batches, shape, device=CPU)

    assert (shape.count, shape.rows, shape.length) == (4, 2, 16)
    assert inputs["number"].tolist() == [0, 1, 2, 3]
    assert inputs["mask"].sum(dim=1).tolist() == [
        *data.lengths[data.lengths.argsort()[-2:]],
        data.lengths.min(),
        *[1] * 5,
    ]
    assert_close(inputs["ids"][2][: data.lengths.min()], batches[1].ids[0])


def test_lengths_are_not_rounded_up_past_the_position_table() -> None:
    """A model with 13 positions takes texts of 13 tokens; 16 it could not embed."""
    shape = pipeline.shape_of([11, 13], rows=2, stages=2, most=13)
    assert shape.length == 13


@pytest.mark.parametrize("change", ["shape", "name"])
def test_parts_are_not_cut_from_another_models_checkpoint(change: str) -> None:
    """A process that holds parts refuses tensors of another shape or name as one that holds all does."""
    model, axes = a_state(dropout=0.0).model, Axes(data=1, fsdp=1, pipeline=1, tensor=1)
    layout = layout_of(model, axes=axes, spot=axes.spot(0), holders=pipeline.holders(model, stages=1))
    state = SplitState.of(model, layout, group=Alone(), grid=None, weight_decay=0.0, device=CPU)  # type: ignore[arg-type]  # not asked
    saved = state.gathered()
    taken = saved.pop("model.classifier.weight")
    saved["model.classifier.weight" if change == "shape" else "model.other"] = taken[:1]

    with pytest.raises(CorruptError, match="belongs to another model"):
        state.fill(saved, 3, group=Alone())
    assert state.step == 0


def test_dropout_of_heads_does_not_depend_on_who_computes_them() -> None:
    """Each of two processes that share the heads drops what one process alone drops of them."""
    torch.manual_seed(0)
    q, k, v = (torch.randn(2, 4, 5, 8) for _ in range(3))
    torch.manual_seed(1)
    alone = attention.attend_with_dropout(q, k, v, mask=None, probability=0.5)

    parts = []
    for place in (0, 1):
        torch.manual_seed(1)
        part = (each.chunk(2, dim=1)[place] for each in (q, k, v))
        parts.append(attention.attend_with_dropout(*part, mask=None, probability=0.5, share=(place, 2)))

    assert_close(torch.cat(parts, dim=1), alone)
    assert not keep_mask(alone, 0.5).all()


def test_only_a_broken_connection_is_a_lost_peer() -> None:
    """A mistake in the arithmetic is not tried again and again."""
    broken = RuntimeError("[../third_party/gloo/gloo/transport/tcp/pair.cc:534] Connection closed by peer")
    wrapped = RuntimeError("stage 1 failed")
    wrapped.__cause__ = broken

    assert is_of_a_peer(broken)
    assert is_of_a_peer(wrapped)
    assert not is_of_a_peer(RuntimeError("shapes cannot be multiplied"))
