"""Which tasks there are: the one place where a task's name is looked at."""

from collections.abc import Callable, Mapping
from typing import Any, Final

from bertjob_api.spec import Model
from bertjob_tasks.errors import UnsupportedError
from bertjob_tasks.masked_lm import MaskedLanguage
from bertjob_tasks.multi_label import MultiLabel
from bertjob_tasks.pretraining import Pretraining
from bertjob_tasks.regression import Regression
from bertjob_tasks.single_label import SingleLabel
from bertjob_tasks.tagging import Tagging
from bertjob_tasks.task import Task

_PROBLEMS: Final[Mapping[str | None, Callable[[str], Task[Any]]]] = {
    None: SingleLabel,
    "single-label": SingleLabel,
    "multi-label": MultiLabel,
    "regression": Regression,
}
_TASKS: Final[Mapping[str, Callable[[str | None], Task[Any]]]] = {
    "sequence-classification": lambda problem: _PROBLEMS[problem]("sequence-classification"),
    "sentence-pair": lambda problem: _PROBLEMS[problem]("sentence-pair"),
    "token-classification": lambda _: Tagging(),
    "masked-lm": lambda _: MaskedLanguage(),
    "pretraining": lambda _: Pretraining(),
}
NAMES: Final = tuple(_TASKS)


def task_of(name: str, problem: str | None) -> Task[Any]:
    """
    Return the task of a spec or a manifest.

    Args:
        name: ``spec.model.task``.
        problem: ``spec.model.problem``; None: the task's default.

    Raises:
        UnsupportedError: this version does not know it.

    """
    if name not in _TASKS or problem not in _PROBLEMS:
        raise UnsupportedError(f"spec.model.task: got {name}, this version trains {', '.join(NAMES)}")
    return _TASKS[name](problem)


def of_spec(model: Model) -> Task[Any]:
    """Return the task of ``spec.model``; raises UnsupportedError."""
    return task_of(model.task, model.problem)
