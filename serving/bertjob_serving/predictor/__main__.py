"""``python -m bertjob_serving.predictor --model_name NAME --model_dir DIR --http_port PORT``."""

import logging
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from bertjob_api import names, termination
from bertjob_api.termination import Failure, Result
from bertjob_serving.artifact import ArtifactError
from bertjob_serving.predictor import server
from bertjob_serving.predictor.settings import parse

_log = logging.getLogger("bertjob_serving.predictor")


def main(arguments: Sequence[str], env: Mapping[str, str]) -> int:
    """Serve until SIGTERM and return 0; return 42 when the artifact must not be served."""
    settings = parse(arguments, env)
    try:
        artifact, worker = server.load(settings)
    except (ArtifactError, ValueError, RuntimeError) as error:
        _log.error("refused: %s", error)  # the sentence says all; a traceback would hide it
        _leave_word(str(error), env)
        return termination.USER_ERROR
    server.serve(settings, artifact, worker)
    return 0


def _leave_word(message: str, env: Mapping[str, str]) -> None:
    """Write the termination message, so that the rollout can say why the pod does not become ready."""
    target = env.get(names.TERMINATION_LOG_ENV)
    if target:
        result = Result(failure=Failure(reason="ArtifactRefused", message=message))
        Path(target).write_text(termination.encode(result), encoding="ascii")


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s", stream=sys.stderr)
    sys.exit(main(sys.argv[1:], os.environ))
