"""The report of a model that an own script has trained: what the script told, and on what it ran."""

from collections.abc import Mapping

from bertjob_api.job import BertJob
from bertjob_api.status import Artifact
from bertjob_tasks import registry
from bertjob_trainer.own.following import Following
from bertjob_trainer.report import environment, page, writing
from bertjob_trainer.report.findings import Analysis


def of_script(
    job: BertJob,
    artifact: Artifact,
    followed: Following,
    *,
    digests: Mapping[str, str],
    metrics: Mapping[str, float],
    now: float,
) -> page.Report:
    """
    Return the report; what only the script could know, such as its mistakes, is not in it.

    Args:
        job: the job.
        artifact: the published model.
        followed: the script's course.
        digests: sha256 of its inputs.
        metrics: what it left as ``metrics.json``.
        now: Unix time in seconds.

    """
    records = followed.course.records
    return page.Report(
        name=job.name,
        task=f"{job.spec.model.task}, by its own script",
        metric=registry.of_spec(job.spec.model).metric,
        scores=metrics,
        records=records,
        chosen=followed.last_step,
        reasons=() if records else ("the script told nothing of its progress, so there are no curves",),
        analysis=Analysis(),
        texts={},
        pieces={},
        spec=writing.shown_spec(job),
        model=artifact.uri,
        environment=environment.facts({}, records, digests, now=now),
    )
