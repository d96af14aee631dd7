"""
Training as people write it for torchrun: all_reduce, an optimizer step, ``torch.save`` every so many steps, start from the file.

Arguments: a folder, samples of a step, steps between two saves. Computing is a sleep of ``BENCH_SECONDS_PER_SAMPLE`` a sample.
Each step is a line in FOLDER/steps: Unix time and number.
"""

import os
import sys
import time
from pathlib import Path

import torch
from torch import distributed

PARAMETERS = 200_000


def main() -> None:
    """Train until killed."""
    folder, batch, every = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    seconds = float(os.environ["BENCH_SECONDS_PER_SAMPLE"])
    distributed.init_process_group("gloo")
    rank, world = distributed.get_rank(), distributed.get_world_size()
    weights = torch.zeros(PARAMETERS, requires_grad=True)
    optimizer = torch.optim.AdamW([weights], lr=1e-3)
    file, step = folder / "checkpoint.pt", 0
    if file.exists():
        saved = torch.load(file, weights_only=True)
        step = saved["step"]
        weights.data.copy_(saved["weights"])
        optimizer.load_state_dict(saved["optimizer"])
    with (folder / "steps").open("a") as log:
        while True:
            time.sleep(seconds * batch / world)
            weights.grad = torch.ones(PARAMETERS)
            distributed.all_reduce(weights.grad)
            optimizer.step()
            step += 1
            if rank == 0:
                log.write(f"{time.time()} {step}\n")
                log.flush()
                if step % every == 0:
                    draft = folder / "checkpoint.tmp"
                    torch.save({"step": step, "weights": weights.data, "optimizer": optimizer.state_dict()}, draft)
                    draft.replace(file)


if __name__ == "__main__":
    main()
