"""Which tasks there are: the one place where a task's name is looked at."""

from collections.abc import Callable, Mapping
from typing import Any, Final

from bertjob_api.spec import Model
from bertjob_tasks.errors import UnsupportedError
from bertjob_tasks.multi_label import MultiLabel
from bertjob_tasks.question_answering import UNANSWERABLE, QuestionAnswering
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
_TASKS: Final[Mapping[str, Mapping[str | None, Callable[[str], Task[Any]]]]] = {
    "sequence-classification": _PROBLEMS,
    "sentence-pair": _PROBLEMS,
    "token-classification": {None: lambda _: Tagging()},
    "question-answering": {
        None: lambda _: QuestionAnswering(),
        UNANSWERABLE: lambda _: QuestionAnswering(UNANSWERABLE),
    },
}
"""By name and ``spec.model.problem``; made of the name."""
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
    if name not in _TASKS:
        raise UnsupportedError(f"spec.model.task: got {name}, this version trains {', '.join(NAMES)}")
    if problem not in _TASKS[name]:
        known = ", ".join(other or "unset" for other in _TASKS[name])
        raise UnsupportedError(f"spec.model.problem: got {problem}, this version knows {known} for {name}")
    return _TASKS[name][problem](name)


def of_spec(model: Model) -> Task[Any]:
    """Return the task of ``spec.model``; raises UnsupportedError."""
    return task_of(model.task, model.problem)
