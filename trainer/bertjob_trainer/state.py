"""Everything that must survive a restart, named in one place."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from bertjob_api.manifest import CorruptError
from bertjob_trainer import ledger, optim
from bertjob_trainer.course import Course
from bertjob_trainer.group import Group
from bertjob_trainer.ledger import Ledger

MOMENTS: Final = ("exp_avg", "exp_avg_sq")


@dataclass(slots=True, kw_only=True)
class TrainState:
    """
    Model, optimizer, position and the way there.

    Data order and dropout are functions of the step, so no generator's state is part of it.
    """

    model: nn.Module
    optimizer: torch.optim.AdamW
    step: int = 0
    """Optimizer steps that the model contains."""
    ledger: Ledger = field(default_factory=Ledger)
    """What those steps trained on."""
    course: Course = field(default_factory=Course)
    """How it came there."""

    @classmethod
    def start(cls, model: nn.Module, *, weight_decay: float) -> Self:
        """Return the state before the first step."""
        return cls(model=model, optimizer=optim.adamw(model.named_parameters(), weight_decay=weight_decay))

    def tensors(self) -> dict[str, Tensor]:
        """Return the live tensors by name; they change with the next step."""
        found: dict[str, Tensor] = {}
        for name, parameter in self.model.named_parameters():
            found[f"model.{name}"] = parameter.detach()
            moments = self.optimizer.state[parameter]
            found.update({f"optimizer.{kind}.{name}": moments[kind] for kind in MOMENTS})
        return found

    @property
    def is_split(self) -> bool:
        """Return whether other processes hold parts of the model that are not here."""
        return False

    def gathered(self) -> Mapping[str, Tensor]:
        """Return the whole tensors by name, in rank 0 at least; every process calls this."""
        return self.tensors()

    def whole_model(self) -> nn.Module:
        """Return the model with all its weights, the same in every process, which all call this."""
        return self.model

    def meta(self) -> dict[str, Any]:
        """Return what is not a tensor, as JSON values."""
        return {"step": self.step, "ledger": self.ledger.head, "course": self.course.to_json()}

    def restore(self, tensors: Mapping[str, Tensor], meta: Mapping[str, Any]) -> None:
        """Overwrite the state with a saved one of the same model, in place. Raises CorruptError for one of another model."""
        own = self.tensors()
        refuse_another_shape({name: tensor.shape for name, tensor in own.items()}, tensors)
        with torch.no_grad():
            for name, tensor in own.items():
                tensor.copy_(tensors[name])
        self.continue_from(meta)

    def continue_from(self, meta: Mapping[str, Any]) -> None:
        """Say that the tensors are those of a checkpoint with this ``meta``."""
        self.ledger = Ledger(meta.get("ledger", ledger.START))
        self.move_to(int(meta["step"]))
        if "course" in meta:
            self.course = Course.from_json(meta["course"])

    def stepped(self, samples: NDArray[np.int64], tally: Sequence[float], *, world: int, committed: int) -> None:
        """
        Say that the tensors contain one step more, and write down what it trained on (``Ledger.add``).

        What led to the *committed* step is in storage, and is not kept here.
        """
        self.step += 1
        self.ledger.add(samples, tally, step=self.step, world=world)
        self.ledger.forget(committed)

    def fill(self, tensors: Mapping[str, Tensor] | None, step: int, *, group: Group) -> None:
        """
        Bring every process to rank 0's saved state of so many steps.

        Args:
            tensors: whole ones by name; None in the other processes.
            step: optimizer steps that they contain.
            group: all processes; each calls this.

        """
        if tensors is not None:
            self.restore(tensors, {"step": step})
        for tensor in self.tensors().values():
            group.broadcast(tensor)
        self.move_to(step)

    def move_to(self, step: int) -> None:
        """Say that the tensors contain *step* optimizer steps."""
        self.step = step
        for moments in self.optimizer.state.values():
            moments["step"].fill_(float(step))


def refuse_another_shape(own: Mapping[str, torch.Size], saved: Mapping[str, Tensor]) -> None:
    """Raise CorruptError for *saved* tensors that are not of these names and shapes."""
    hint = "it belongs to another model; remove it, or train under another name"
    if own.keys() != saved.keys():
        odd = sorted(own.keys() ^ saved.keys())
        raise CorruptError(f"checkpoint: has other tensors than the model, such as {', '.join(odd[:3])}; {hint}")
    for name, shape in own.items():
        if shape != saved[name].shape:
            got, expected = tuple(saved[name].shape), tuple(shape)
            raise CorruptError(f"checkpoint: {name} has shape {got}, the model's is {expected}; {hint}")
