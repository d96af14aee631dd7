"""Names, labels and owners of children."""

from typing import Any, Final

from bertjob_api import names
from bertjob_api.cluster import Kind, Object, Ref
from bertjob_api.job import BertJob

PART_OF: Final = "bertjob"
"""Value of PART_OF_LABEL on everything we make; the operator's watches select by it."""
DISRUPTED_ANNOTATION: Final = f"{names.GROUP}/disrupted"
"""On the training Job: first characters of the uids of its pods that the infrastructure ended; such pods soon vanish."""

AVOIDED_ANNOTATION: Final = f"{names.GROUP}/avoided-nodes"
"""On the training Job: nodes on which earlier pods failed again and again; its pods rather run elsewhere."""


def labels(job: BertJob, *, component: str | None = None) -> dict[str, str]:
    """Return the labels of a child; those that the user gave the BertJob are passed on, but for Kueue's; ours come first."""
    ours = {
        names.JOB_LABEL: job.name,
        names.MANAGED_BY_LABEL: names.FIELD_MANAGER,
        names.PART_OF_LABEL: PART_OF,
    }
    given = {key: value for key, value in job.labels.items() if not key.startswith(names.KUEUE_DOMAIN)}
    return {**given, **ours, **({names.COMPONENT_LABEL: component} if component is not None else {})}


def owner(job: BertJob) -> dict[str, Any]:
    """Return the ownerReference of a child: it goes when the BertJob goes."""
    return {
        "apiVersion": names.API_VERSION,
        "kind": names.KIND,
        "name": job.name,
        "uid": job.uid,
        "controller": True,
        "blockOwnerDeletion": True,
    }


def child(job: BertJob, kind: Kind, name: str, *, component: str | None = None, **body: Any) -> Object:
    """Return a manifest that the BertJob owns."""
    metadata = {
        "name": name,
        "namespace": job.namespace,
        "labels": labels(job, component=component),
        "ownerReferences": [owner(job)],
    }
    return {"apiVersion": kind.api_version, "kind": kind.kind, "metadata": metadata, **body}


def ref(job: BertJob, kind: Kind, name: str) -> Ref:
    """Return the reference of an object beside the BertJob."""
    return Ref(kind, job.namespace, name)
