"""Which tasks there are: the one place where a task's name is looked at."""

from collections.abc import Callable, Mapping
from typing import Any, Final, TypeAlias

from bertjob_api.spec import Model, Pooling
from bertjob_tasks.embedding import POSITIVE_PAIRS, Embedding
from bertjob_tasks.errors import UnsupportedError
from bertjob_tasks.masked_lm import MaskedLanguage
from bertjob_tasks.multi_label import MultiLabel
from bertjob_tasks.pretraining import Pretraining
from bertjob_tasks.question_answering import UNANSWERABLE, QuestionAnswering
from bertjob_tasks.regression import Regression
from bertjob_tasks.single_label import SingleLabel
from bertjob_tasks.tagging import Tagging
from bertjob_tasks.task import Task

Make: TypeAlias = Callable[[str, Pooling | None], Task[Any]]
"""Makes a task of its name and ``spec.model.pooling``."""
_PROBLEMS: Final[Mapping[str | None, Make]] = {
    None: lambda name, _: SingleLabel(name),
    "single-label": lambda name, _: SingleLabel(name),
    "multi-label": lambda name, _: MultiLabel(name),
    "regression": lambda name, _: Regression(name),
}
_TASKS: Final[Mapping[str, Mapping[str | None, Make]]] = {
    "sequence-classification": _PROBLEMS,
    "sentence-pair": _PROBLEMS,
    "token-classification": {None: lambda _name, _: Tagging()},
    "question-answering": {
        None: lambda _name, _: QuestionAnswering(),
        UNANSWERABLE: lambda _name, _: QuestionAnswering(UNANSWERABLE),
    },
    "embedding": {
        None: lambda _, pooling: Embedding(pooling=pooling),
        POSITIVE_PAIRS: lambda _, pooling: Embedding(POSITIVE_PAIRS, pooling),
    },
    "masked-lm": {None: lambda *_: MaskedLanguage()},
    "pretraining": {None: lambda *_: Pretraining()},
}
"""By name and ``spec.model.problem``."""
NAMES: Final = tuple(_TASKS)


def task_of(name: str, problem: str | None, *, pooling: Pooling | None = None) -> Task[Any]:
    """
    Return the task of a spec or a manifest.

    Args:
        name: ``spec.model.task``.
        problem: ``spec.model.problem``; None: the task's default.
        pooling: ``spec.model.pooling``; of no matter to who only asks a finished model.

    Raises:
        UnsupportedError: this version does not know it.

    """
    if name not in _TASKS:
        raise UnsupportedError(f"spec.model.task: got {name}, this version trains {', '.join(NAMES)}")
    if problem not in _TASKS[name]:
        known = ", ".join(other or "unset" for other in _TASKS[name])
        raise UnsupportedError(f"spec.model.problem: got {problem}, this version knows {known} for {name}")
    return _TASKS[name][problem](name, pooling)


def served_of(model: Model) -> Task[Any]:
    """Return the task that a served model of ``spec.model`` has: what is trained on pairs fills in single texts."""
    task = of_spec(model)
    return MaskedLanguage() if task.hides else task


def of_spec(model: Model) -> Task[Any]:
    """Return the task of ``spec.model``; raises UnsupportedError."""
    return task_of(model.task, model.problem, pooling=model.pooling)
