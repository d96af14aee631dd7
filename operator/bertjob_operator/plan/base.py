"""Children that every BertJob has: the resolved spec, the pods' identity, and the rendezvous store."""

from bertjob_api import commands, names
from bertjob_api.cluster import CONFIG_MAP, POD, SERVICE, SERVICE_ACCOUNT, Object
from bertjob_api.digest import canonical_json
from bertjob_api.job import BertJob, resolved
from bertjob_operator.plan import metadata, pods
from bertjob_operator.plan.observed import Observed


def account(job: BertJob) -> Object:
    """Return the ServiceAccount of the job's pods: no token, no rights."""
    return metadata.child(job, SERVICE_ACCOUNT, names.worker_account_name(job.name), automountServiceAccountToken=False)


def spec_config(job: BertJob) -> Object:
    """Return the ConfigMap with the resolved spec."""
    data = {names.SPEC_KEY: canonical_json(resolved(job)).decode("ascii")}
    return metadata.child(job, CONFIG_MAP, names.spec_config_name(job.name), data=data)


def store_service(job: BertJob, *, address: str | None) -> Object:
    """Return the store's Service; *address*: the cluster IP that running workers know, None: any."""
    spec: Object = {
        "selector": {names.JOB_LABEL: job.name, names.COMPONENT_LABEL: names.STORE},
        "ports": [{"name": "store", "port": names.STORE_PORT, "targetPort": names.STORE_PORT, "protocol": "TCP"}],
    }
    if address is not None:
        spec["clusterIP"] = address
    return metadata.child(job, SERVICE, names.store_name(job.name), component=names.STORE, spec=spec)


def store_pod(seen: Observed) -> Object:
    """Return the pod of the rendezvous store."""
    job = seen.job
    program = pods.Program(
        component=names.STORE,
        command=commands.store(),
        image=job.spec.training.image,
        resources={"requests": {"cpu": "50m", "memory": "256Mi"}},
        port=names.STORE_PORT,
        with_spec=False,
        grace_seconds=2,
    )
    template = pods.template(job, program, platform=seen.platform, restart="Always")
    pod = metadata.child(job, POD, names.store_name(job.name), component=names.STORE, spec=template["spec"])
    pod["metadata"]["annotations"] = template["metadata"]["annotations"]
    return pod
