"""Commands carry no secret, and the same job always gives the same command."""

from support.jobs import a_job

from bertjob_api import commands, names
from bertjob_api.commands import Command
from bertjob_api.contract import CONTRACT, mismatch
from bertjob_api.job import parse_job


def _all() -> dict[str, Command]:
    job = parse_job(a_job(storage={"secretRef": {"name": "bertjob-storage"}}))
    return {
        "store": commands.store(),
        "preflight": commands.preflight(job),
        "train": commands.train(job, attempt=1, store_host="127.100.0.9"),
        "optimize": commands.optimize(job, model_uri="s3://bucket/m", model_sha256="ab" * 32, live_uri=None),
        "predictor": commands.predictor(),
    }


def test_secrets_come_by_reference() -> None:
    """Storage keys reach a container only through secretKeyRef."""
    for command in _all().values():
        for item in command.env:
            assert item["name"] not in names.SECRET_KEYS or "secretKeyRef" in item["valueFrom"]


def test_hub_is_asked_only_by_jobs_that_start_from_it() -> None:
    """A job with a model of a hub gets its token by reference and may ask; every other pod is told that it is offline."""
    for source, offline, keys in (("hf://org/name", "0", names.HUB_SECRET_KEYS), ("storage://m", "1", ())):
        job = parse_job(a_job(model={"source": source}, storage={"secretRef": {"name": "s"}}))
        for command in (commands.preflight(job), commands.train(job, attempt=0, store_host="x")):
            env = {item["name"]: item for item in command.env}
            assert env["HF_HUB_OFFLINE"]["value"] == offline
            found = tuple(key for key in names.HUB_SECRET_KEYS if key in env)
            assert found == keys
            assert all(env[key]["valueFrom"]["secretKeyRef"]["name"] == "s" for key in found)


def test_names_in_an_environment_are_unique() -> None:
    """Server-side apply merges env by name, so a name may stand only once."""
    for command in _all().values():
        found = [item["name"] for item in command.env]

        assert sorted(set(found)) == sorted(found)


def test_endpoint_of_the_spec_stands_beside_the_secret() -> None:
    """An endpoint in the spec is used as it is; keys still come from the Secret."""
    job = parse_job(a_job(storage={"endpoint": "http://127.0.0.1:9000", "secretRef": {"name": "s"}}))
    env = {item["name"]: item for item in commands.storage_env(job)}

    assert env["AWS_ENDPOINT_URL"]["value"] == "http://127.0.0.1:9000"
    assert "secretKeyRef" in env["AWS_ACCESS_KEY_ID"]["valueFrom"]


def test_rendezvous_is_new_for_each_attempt() -> None:
    """A closed rendezvous cannot be joined again, so every attempt has its own id."""
    job = parse_job(a_job())
    ids = {
        item["value"]
        for attempt in range(3)
        for item in commands.train(job, attempt=attempt, store_host="x").env
        if item["name"] == names.RDZV_ID_ENV
    }

    assert len(ids) == 3


def test_programs_that_read_the_spec_are_told_the_contract() -> None:
    """Whoever reads the resolved spec learns by which contract it was written, and finds itself fitting."""
    for name in ("preflight", "train", "optimize"):
        env = {item["name"]: item.get("value", "") for item in _all()[name].env}

        assert env[names.CONTRACT_ENV] == str(CONTRACT)
        assert mismatch(env) is None
