"""One worker of a job with an own script: ``python -m bertjob_trainer.own ARGUMENT...``, under torchrun's environment."""

import contextlib
import json
import logging
import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Final

from bertjob_api import layout, names, termination
from bertjob_api.job import BertJob, parse_job
from bertjob_api.termination import EVICTED, OK, Result
from bertjob_storage.opening import open_storage
from bertjob_storage.protocol import Storage
from bertjob_trainer import commits, results, settings
from bertjob_trainer.own import following, model, places, report
from bertjob_trainer.own.following import Following
from bertjob_trainer.own.mirror import Mirror
from bertjob_trainer.own.places import Inputs, Places
from bertjob_trainer.own.script import Script
from bertjob_trainer.report import writing

_log = logging.getLogger(__name__)
_POLL_S: Final = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """The run of this job."""

    job: BertJob
    id: str
    uri: str
    storage: Storage
    inputs: Inputs
    digests: Mapping[str, str]
    """sha256 of each input and of the script."""


def main() -> int:
    """Return the script's exit code, or that of what went wrong around it."""
    rank, env, script = os.environ.get("RANK", "0"), os.environ, Script()
    form = f"%(asctime)s rank {rank} %(levelname)s %(name)s: %(message)s"
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format=form)
    logging.getLogger("botocore").setLevel(logging.WARNING)
    try:
        code = work(sys.argv[1:], env, script)
    except Exception as error:  # noqa: BLE001  # the outermost frame: whatever it is becomes an exit code
        from bertjob_trainer import failures  # noqa: PLC0415  # loads torch

        return failures.told(error, rank=int(rank), result_file=settings.result_file(env))
    if code < 0:  # end as the script did, so that whoever watches sees the signal
        with contextlib.suppress(OSError):  # SIGKILL has no handler to be reset
            signal.signal(-code, signal.SIG_DFL)
        os.kill(os.getpid(), -code)
    return code


def work(command: Sequence[str], env: Mapping[str, str], script: Script) -> int:
    """Prepare, run the script, and bring its result to storage; returns an exit code as ``subprocess`` gives it."""
    job = parse_job(json.loads(Path(env[names.SPEC_FILE_ENV]).read_text(encoding="utf-8")), local=True)
    here, rank = places.places_of(env), int(env.get("RANK", "0"))
    if env.get("LOCAL_RANK", "0") != "0":
        if places.await_mark(here.marker(env), is_stopped=lambda: script.is_stopped):
            return EVICTED if script.is_stopped else OK
        inputs = places.located(job, here.root / "inputs")
        return script.run(command, handed(env, here, inputs), meanwhile=lambda: None)
    places.fetch(job, here.root / "inputs")
    run = _run_of(job, places.located(job, here.root / "inputs"), command)
    done = commits.committed(run.storage, run.uri)
    if done is not None:
        _log.info("%s is trained already", run.id)
        results.write(Path(env[names.RESULT_FILE_ENV]), done)
        places.mark(here.marker(env), is_done=True)
        return OK
    mirror = Mirror(run.storage, f"{run.uri}/own-checkpoints", here.checkpoints, keep=job.spec.training.checkpoint.keep)
    found = mirror.restore()
    _log.info("%s: %s", run.id, f"checkpoints {', '.join(found)}" if found else "no checkpoint yet")
    shutil.rmtree(here.output, ignore_errors=True)
    here.output.mkdir(parents=True)
    places.mark(here.marker(env), is_done=False)
    followed = _following(run, env) if rank == 0 else None
    code = script.run(command, handed(env, here, run.inputs), meanwhile=partial(_look, mirror, followed))
    if followed is not None:
        followed.close()
    if script.is_stopped:  # a script that stops cleanly ends with 0 too, with a model that is not trained to its end
        if followed is not None and code >= 0:  # killed by a signal, it may have been writing
            mirror.finish()
        return EVICTED
    if code != OK:
        return code
    return _after(run, here, env, mirror, followed)


def _look(mirror: Mirror, followed: Following | None) -> None:
    """Copy checkpoints and follow the script; None: the process of rank 0 does."""
    if followed is not None:
        mirror.look()
        followed.look()


def _following(run: Run, env: Mapping[str, str]) -> Following:
    url = env.get(names.PROGRESS_URL_ENV)
    ask = following.ask_at(url) if url else None
    return Following(run.storage, run.uri, local=settings.records_of(env, run.job), ask=ask)


def handed(env: Mapping[str, str], here: Places, inputs: Inputs) -> dict[str, str]:
    """Return the script's environment."""
    return {
        **env,
        **inputs.env(),
        names.OWN_CHECKPOINTS_ENV: str(here.checkpoints),
        names.OWN_OUTPUT_ENV: str(here.output),
    }


def _run_of(job: BertJob, inputs: Inputs, command: Sequence[str]) -> Run:
    digests = places.digests(job, inputs, command)
    name = layout.run_id(job, digests)
    storage = open_storage(job.spec.storage.prefix)
    return Run(job=job, id=name, uri=f"{layout.job_root(job)}/{name}", storage=storage, inputs=inputs, digests=digests)


def _after(run: Run, here: Places, env: Mapping[str, str], mirror: Mirror, followed: Following | None) -> int:
    """Publish what the script of rank 0 left (*followed*), and give every pod that result; a script may have told its own."""
    target = Path(env[names.RESULT_FILE_ENV])
    if target.exists() and termination.decode(target.read_text(errors="replace")) is not None:
        return OK
    if followed is not None:
        mirror.finish()
        with tempfile.TemporaryDirectory(prefix="bertjob-model-") as folder:
            manifest = model.collect(run.job, here.output, Path(folder), run=run.id, source=run.inputs.model)
            artifact = commits.publish(run.storage, run.job, Path(folder), manifest)
        metrics = model.metrics(here.output)
        commits.commit(run.storage, run.uri, Result(artifact=artifact, metrics=metrics))
        told = report.of_script(
            run.job, artifact, followed, digests=run.digests, metrics=metrics or {}, now=time.time()
        )
        writing.put(run.storage, artifact, told)
    # Whoever watches ends this process when rank 0 fails instead.
    while (found := commits.committed(run.storage, run.uri)) is None:
        time.sleep(_POLL_S)
    results.write(target, replace(found, trained_steps=None))  # how many only the script knows
    return OK


if __name__ == "__main__":
    sys.exit(main())
