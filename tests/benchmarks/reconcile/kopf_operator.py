"""
A kopf operator that writes for each BertJob what ours writes; run by ``kopf run``.

$KOPF_WRITES is a file of what ours wrote for one job: the requests, sent over the same connection code as ours, so that what
differs is the framework. It waits for nothing: not even for the preflight.
"""

import json
import os
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, Final

import kopf

from bertjob_api import names
from bertjob_api.cluster import BERT_JOB, Ref
from bertjob_operator.runtime.http import HttpCluster, connect

WRITES: Final = json.loads(Path(os.environ["KOPF_WRITES"]).read_text())


@kopf.on.startup()
async def start(memo: kopf.Memo, settings: kopf.OperatorSettings, **_: Any) -> None:
    """Connect, and leave kopf's own events out: ours are among the writes."""
    settings.posting.enabled = False
    memo.stack = AsyncExitStack()
    memo.cluster = await memo.stack.enter_async_context(connect(Path(os.environ["KUBECONFIG"])))


@kopf.on.cleanup()
async def end(memo: kopf.Memo, **_: Any) -> None:
    """Disconnect."""
    await memo.stack.aclose()


@kopf.on.create(names.GROUP, names.VERSION, names.PLURAL)
async def created(name: str, namespace: str, uid: str, memo: kopf.Memo, **_: Any) -> None:
    """Send every write."""
    cluster: HttpCluster = memo.cluster
    text = json.dumps(WRITES["writes"]).replace(WRITES["name"], name).replace(WRITES["uid"], uid)
    for kind, body in json.loads(text):
        if kind == "apply":
            await cluster.apply(body, manager=names.FIELD_MANAGER)
        else:
            await cluster.patch_status(Ref(BERT_JOB, namespace, name), body)
