"""What a worker computes with, and with whom."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch

from bertjob_trainer.group import Group


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """Device and peers of this process."""

    device: torch.device
    group: Group
    dtype: torch.dtype
    """Arithmetic of forward passes, the same in every process."""

    @property
    def facts(self) -> dict[str, str]:
        """Return what people want to know of it, by name."""
        return {
            "processes at the end": f"{self.group.world}, {str(self.dtype).removeprefix('torch.')}",
            "accelerator": torch.cuda.get_device_name(self.device) if self.device.type == "cuda" else "none",
            "torch": torch.__version__,
        }


def device_of(local_rank: int, env: Mapping[str, str]) -> torch.device:
    """Return the accelerator of one of a pod's workers, or the CPU where there is none; an empty CUDA_VISIBLE_DEVICES hides all."""
    if env.get("CUDA_VISIBLE_DEVICES") == "" or not torch.cuda.is_available():
        return torch.device("cpu")
    device = torch.device("cuda", local_rank % torch.cuda.device_count())
    torch.cuda.set_device(device)
    return device
