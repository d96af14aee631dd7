"""From caches and a few live reads to ``Observed``."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from bertjob_api import names
from bertjob_api.cluster import (
    BERT_JOB,
    CONFIG_MAP,
    DEPLOYMENT,
    INFERENCE_SERVICE,
    JOB,
    POD,
    SERVICE,
    SERVICE_ACCOUNT,
    WORKLOAD,
    Cluster,
    Kind,
    Object,
    Ref,
    ref_of,
)
from bertjob_api.job import BertJob, parse_job
from bertjob_api.parse import InvalidSpecError
from bertjob_operator.plan import Observed, children, reading, results, serving
from bertjob_operator.plan.rules.lifecycle import is_finished
from bertjob_operator.runtime.store import Store
from bertjob_operator.shell.endings import Endings
from bertjob_operator.shell.nodes import NodeBook
from bertjob_operator.shell.pods import PodBook
from bertjob_operator.shell.progress import Board
from bertjob_operator.shell.settings import Settings

Key = tuple[str, str]
"""Namespace and name of a BertJob."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What was observed, and the objects behind it."""

    observed: Observed
    version: str | None
    """Of the BertJob, as it was observed."""
    found: Mapping[Ref, Object]
    """The children as they stand, for comparison with what is wanted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """A BertJob whose spec cannot be read."""

    uid: str
    version: str | None
    generation: int
    stored: Mapping[str, Any]
    """Its status."""
    errors: list[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sources:
    """Where an observation comes from."""

    cluster: Cluster
    stores: Mapping[Kind, Store]
    settings: Settings
    pods: PodBook
    nodes: NodeBook
    board: Board
    endings: Endings = field(default_factory=Endings)
    """What this process remembers; nothing is lost with it but a few seconds."""


async def observe(key: Key, sources: Sources, *, now: datetime) -> Seen | Refused | None:
    """
    Return what there is of the BertJob *key*; None: it is gone.

    Raises:
        ClusterError: something could not be read; nothing may be planned from a partial view.
        ValueError: the status was written by another version and cannot be read.

    """
    raw = sources.stores[BERT_JOB].get(*key)
    if raw is None:
        sources.endings.forget(key)
        return None
    try:
        job = parse_job(raw, local=sources.settings.local_files)
    except InvalidSpecError as error:
        return _refused(raw, error)
    found = dict(_children(job, sources))
    stored = raw.get("status") or {}
    seen = Observed(job=job, now=now, stored=stored, platform=sources.settings.platform)
    seen = await _with_training(_from_caches(seen, found, sources), found, sources)
    seen = sources.endings.marked(seen, key=key)
    if job.spec.serving is not None and results.model(seen) is not None and not is_finished(seen):
        seen = await _with_serving(seen, found, sources.cluster)
    return Seen(observed=seen, version=raw["metadata"].get("resourceVersion"), found=found)


def _refused(raw: Object, error: InvalidSpecError) -> Refused:
    if any(item.startswith("status") for item in error.errors):
        raise ValueError(f"the status cannot be read: {error}") from error
    metadata = raw["metadata"]
    return Refused(
        uid=metadata["uid"],
        version=metadata.get("resourceVersion"),
        generation=metadata.get("generation", 0),
        stored=raw.get("status") or {},
        errors=error.errors,
    )


def _children(job: BertJob, sources: Sources) -> Iterator[tuple[Ref, Object]]:
    """Yield the cached objects with the job's label; of the pods, which may be many, only one with the store's name."""
    pod = sources.stores[POD].get(job.namespace, names.store_name(job.name))
    if pod is not None and (pod["metadata"].get("labels") or {}).get(names.JOB_LABEL) == job.name:
        yield Ref(POD, job.namespace, names.store_name(job.name)), pod
    for kind in (JOB, SERVICE, CONFIG_MAP, SERVICE_ACCOUNT):
        for value in sources.stores[kind].by_label(names.JOB_LABEL, job.name):
            if value["metadata"]["namespace"] == job.namespace:
                yield ref_of(value), value


def is_owned(value: Object, uid: str) -> bool:
    """Tell whether the controller of *value* is the object *uid*."""
    owners = value["metadata"].get("ownerReferences") or ()
    return any(owner.get("controller") and owner["uid"] == uid for owner in owners)


def _from_caches(seen: Observed, found: dict[Ref, Object], sources: Sources) -> Observed:
    job = seen.job
    strangers = tuple(str(ref) for ref, value in found.items() if not is_owned(value, job.uid))
    jobs = {
        ref.name: _job(value, sources) for ref, value in found.items() if ref.kind == JOB and is_owned(value, job.uid)
    }
    store = Ref(POD, job.namespace, names.store_name(job.name))
    service = Ref(SERVICE, job.namespace, names.store_name(job.name))
    seen = replace(
        seen,
        strangers=strangers,
        preflight=jobs.get(names.preflight_name(job.name)),
        optimize=jobs.get(names.optimize_name(job.name)),
        training=dict(_attempts(found, jobs)),
        store=reading.pod(found[store]) if store in found else None,
        store_service=reading.service(found[service]) if service in found else None,
    )
    told = [pod for each in jobs.values() for pod in sources.board.told(each.pods)]
    nodes = {node for each in jobs.values() for node in each.pods.nodes}
    if seen.store is not None and seen.store.node is not None:
        nodes.add(seen.store.node)
    return replace(
        seen,
        progress={pod.name: sources.board.answers[pod.uid] for pod in told},
        standing={pod.name: span for pod in told if (span := sources.board.standing(pod.uid)) is not None},
        silent_nodes=sources.nodes.silent(nodes),
    )


def _job(value: Object, sources: Sources) -> children.Job:
    """Return a Job with its pods, and with its Workloads where Kueue runs."""
    uid = value["metadata"]["uid"]
    return reading.job(value, sources.pods.of(uid), sources.stores[WORKLOAD].by_owner(uid))


def _attempts(found: Mapping[Ref, Object], jobs: Mapping[str, children.Job]) -> Iterator[tuple[int, children.Job]]:
    for ref, value in found.items():
        number = (value["metadata"].get("labels") or {}).get(names.ATTEMPT_LABEL)
        if ref.kind == JOB and number is not None and ref.name in jobs:
            yield int(number), jobs[ref.name]


async def _with_training(seen: Observed, found: dict[Ref, Object], sources: Sources) -> Observed:
    """
    Ask the API server for a training Job that should be there: a new attempt is dear.

    Our own writes have come back before a plan is made, so this happens to a new process whose caches are of different ages,
    and where somebody deleted the Job.
    """
    number = seen.job.status.attempt
    if seen.job.status.training is None or number in seen.training or results.model(seen) is not None:
        return seen
    name = names.train_name(seen.job.name, number)
    for value in await sources.cluster.list(JOB, namespace=seen.job.namespace, name=name):
        if is_owned(value, seen.job.uid):
            found[ref_of(value)] = value
            return replace(seen, training={**seen.training, number: _job(value, sources)})
    return seen


async def _with_serving(seen: Observed, found: dict[Ref, Object], cluster: Cluster) -> Observed:
    """
    Read the InferenceService and what KServe made of it, live: caches would hold every service of the cluster.

    What KServe makes, and a service that a user made, carry no label of ours by which a watch could select them. All else that
    an ordinary job needs comes from caches; these reads, of which there are up to five, are made from the model's training on to
    the job's end.
    """
    spec, namespace = seen.job.spec.serving, seen.job.namespace
    assert spec is not None
    service = spec.inference_service

    async def one(kind: Kind, name: str) -> Object | None:
        values = await cluster.list(kind, namespace=namespace, name=name)
        found.update((ref_of(value), value) for value in values)
        return values[0] if values else None

    account = serving.account_name(seen.job, spec)
    if account is not None:
        await one(SERVICE_ACCOUNT, account)
    inference = await one(INFERENCE_SERVICE, service)
    deployment = await one(DEPLOYMENT, names.predictor_name(service))
    history = await one(CONFIG_MAP, names.history_name(service))
    pods = await cluster.list(POD, namespace=namespace, labels={"app": names.predictor_app(service)})
    predictors = sorted(map(reading.pod, pods), key=lambda pod: pod.name)
    return replace(
        seen,
        inference=reading.inference_service(inference) if inference is not None else None,
        deployment=reading.deployment(deployment) if deployment is not None else None,
        history=reading.history(history) if history is not None else None,
        predictors=tuple(pod for pod in predictors if pod.phase not in ("Succeeded", "Failed")),
    )
