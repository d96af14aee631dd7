"""The file in which a worker leaves its result for the supervisor."""

from pathlib import Path

from bertjob_api import termination
from bertjob_api.termination import Result
from bertjob_storage import files


def write(path: Path, result: Result) -> None:
    """Leave *result*, whatever was there."""
    with files.appearing(path) as temporary:
        temporary.write_text(termination.encode(result), encoding="ascii")


def write_failure(path: Path, result: Result) -> None:
    """Leave *result* unless another worker has: the first failure is the cause, later ones its consequences."""
    try:
        with path.open("x", encoding="ascii") as file:
            file.write(termination.encode(result))
    except FileExistsError:
        if termination.decode(path.read_text(encoding="ascii", errors="replace")) is None:
            write(path, result)  # empty or cut off: somebody died while writing
