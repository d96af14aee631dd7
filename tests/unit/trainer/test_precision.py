"""Arithmetic of forward passes."""

from pathlib import Path

import pytest
import torch

from bertjob_tasks.errors import UnsupportedError
from bertjob_trainer import precision
from bertjob_trainer.group import Alone

CPU = torch.device("cpu")


def test_auto_takes_what_the_hardware_has() -> None:
    """Auto computes in bf16 exactly where it is no emulation."""
    expected = torch.bfloat16 if precision.has_bf16(CPU) else torch.float32

    assert precision.choose("auto", device=CPU, group=Alone()) == expected


def test_wishes_are_obeyed() -> None:
    """Named types are used; fp16, which needs more than this loop does, is refused."""
    assert precision.choose("fp32", device=CPU, group=Alone()) == torch.float32
    assert precision.choose("bf16", device=CPU, group=Alone()) == torch.bfloat16
    with pytest.raises(UnsupportedError, match="fp16"):
        precision.choose("fp16", device=CPU, group=Alone())


def test_cpu_flags_are_linux_names(tmp_path: Path) -> None:
    """Flags are read from the kernel's list; without one there are none."""
    path = tmp_path / "cpuinfo"
    path.write_text("processor\t: 0\nflags\t\t: fpu avx512_bf16 amx_tile\n")

    assert "avx512_bf16" in precision.cpu_flags(path)
    assert precision.cpu_flags(tmp_path / "absent") == ()
