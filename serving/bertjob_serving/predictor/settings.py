"""Command line of the predictor. Spelling of the first three follows KServe's own model servers."""

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bertjob_api import names

ANY_ADDRESS = "0.0.0.0"  # noqa: S104  # in a pod without POD_IP nothing else is known


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How much is accepted; low limits refuse requests early instead of letting all of them wait."""

    max_batch: int = 256
    """Texts in one request."""
    max_chars: int = 20_000
    """Characters of one text."""
    max_body_bytes: int = 4 << 20
    max_waiting: int = 1024
    """Texts that may wait for the engine; more are answered 429."""
    deadline_s: float = 10.0
    """Longest time until an answer."""
    max_tokens: int = 4096
    """Padded tokens that the engine gets at once."""
    max_items: int = 16
    """Texts that the engine gets at once; 1 where the artifact's answers would depend on batch mates."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Everything that was given to this process."""

    model_name: str
    model_dir: Path
    host: str
    """Address to listen on: the pod's own, so that several predictors can share a machine."""
    port: int
    limits: Limits


def parse(arguments: Sequence[str], env: Mapping[str, str]) -> Settings:
    """Return the settings; ends the program with a usage message when they are wrong."""
    parser = argparse.ArgumentParser(prog="python -m bertjob_serving.predictor", allow_abbrev=False)
    parser.add_argument("--model_name", required=True, help="name in the request paths")
    parser.add_argument("--model_dir", type=Path, default=Path(names.MODEL_DIR), help="folder of the artifact")
    parser.add_argument("--http_port", type=int, default=names.PREDICTOR_PORT)
    default = Limits()
    for name in Limits.__dataclass_fields__:
        value = getattr(default, name)
        parser.add_argument(f"--{name}", type=type(value), default=value)
    found = vars(parser.parse_args(list(arguments)))
    return Settings(
        model_name=found["model_name"],
        model_dir=found["model_dir"],
        host=env.get(names.POD_IP_ENV) or ANY_ADDRESS,
        port=found["http_port"],
        limits=Limits(**{name: found[name] for name in Limits.__dataclass_fields__}),
    )
