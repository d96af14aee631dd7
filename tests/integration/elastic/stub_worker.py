"""
A worker that only counts: every step is one all_reduce over gloo, as in real training. Arguments: a folder.

It ends well once FOLDER/finish exists, with 42 and a failure once FOLDER/bad exists, and with 143 after SIGTERM.
"""

import json
import os
import signal
import sys
import time
import urllib.request
from datetime import timedelta
from pathlib import Path

import torch
import torch.distributed as dist

from bertjob_api import termination
from bertjob_api.termination import Failure, Result


def post(step: int) -> None:
    rank = int(os.environ["RANK"])
    body = {
        "rank": rank,
        "step": step,
        "worldSize": int(os.environ["WORLD_SIZE"]),
        "restarts": int(os.environ["TORCHELASTIC_RESTART_COUNT"]),
        "workers": [{"rank": rank, "pid": os.getpid()}],
    }
    request = urllib.request.Request(os.environ["BERTJOB_PROGRESS_URL"], data=json.dumps(body).encode(), method="POST")  # noqa: S310
    urllib.request.urlopen(request, timeout=5).close()  # noqa: S310


def write(result: Result) -> None:
    Path(os.environ["BERTJOB_RESULT_FILE"]).write_text(termination.encode(result))


def wanted(folder: Path) -> int:
    """Return 1 to finish and 0 to go on, the same on all ranks."""
    flag = torch.tensor([int((folder / "finish").exists())])
    dist.all_reduce(flag, op=dist.ReduceOp.MAX)
    return int(flag)


def main() -> None:
    """Count until told to end."""
    folder = Path(sys.argv[1])
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    dist.init_process_group("gloo", timeout=timedelta(seconds=60))
    sys.stderr.write(f"stub started in a world of {dist.get_world_size()}\n")
    sys.stderr.flush()
    step = 0
    while not wanted(folder):
        step += 1
        post(step)
        if (folder / "bad").exists() and dist.get_rank() == 0:
            write(Result(failure=Failure(reason="BadData", message="row 7 has no label", rank=0, step=step)))
            sys.exit(42)
        if (folder / "crash").exists():
            raise RuntimeError(f"crashed at step {step}")
        time.sleep(0.05)
    write(Result(steps=100, trained_steps=100, metrics={"accuracy": 0.5}))
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
