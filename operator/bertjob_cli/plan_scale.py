"""``bertjob plan-scale``: how much faster a job would train on more nodes, what limits it, and what to change."""

import argparse
import json
import math
import re
import sys
from pathlib import Path
from typing import Any, Final

from bertjob_api.job import BertJob
from bertjob_cli import extras, jobfile, scaling
from bertjob_cli.scaling import Forecast, Setting, Sizes

_NETWORK: Final = re.compile(r"^([0-9]+(?:\.[0-9]+)?)\s*(?:GbE|Gbit|Gb/s|G)$", re.IGNORECASE)
_GOAL: Final = 0.975
"""Share of the nodes' number that a speed-up should reach: 3.9 on 4."""


def add_parser(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command."""
    parser = commands.add_parser(
        "plan-scale",
        help="predict the speed-up on more nodes",
        description="Predict how much faster a job's steps are on several nodes; nothing is started.",
    )
    parser.add_argument("file", type=Path, help="YAML file with one BertJob")
    parser.add_argument("--nodes", type=int, help="default: spec.training.replicas")
    parser.add_argument("--network", default="10GbE", help="link of each node, such as 10GbE (default: %(default)s)")
    parser.add_argument(
        "--tokens-per-second",
        type=float,
        default=4000.0,
        help="what one node trains on; the log's samples/s on one node times the mean tokens (default: %(default)g)",
    )
    parser.add_argument("--tokens", type=float, help="mean tokens of a sample (default: spec.data.maxSequenceLength)")
    parser.add_argument("--model", choices=sorted(scaling.PRESETS), help="size, where the file's model is not at hand")
    parser.add_argument("-o", "--output", choices=("json",), help="print the forecast as JSON")
    parser.set_defaults(main=main)


def main(options: argparse.Namespace) -> int:
    """Print the forecast."""
    setting = setting_of(jobfile.parse(options.file, jobfile.read(options.file), local=True), options)
    found = scaling.forecast(setting)
    if options.output == "json":
        json.dump(as_json(setting, found), sys.stdout, indent=2)
        sys.stdout.write("\n")
    else:
        sys.stdout.write("".join(f"{line}\n" for line in told(setting, found)))
    return 0


def setting_of(job: BertJob, options: argparse.Namespace) -> Setting:
    """Return what is asked about a job. Raises ValueError."""
    nodes = options.nodes if options.nodes is not None else job.spec.training.replicas
    if nodes < 1:
        raise ValueError(f"--nodes: got {nodes}, expected at least 1; name the nodes to plan for")
    for name, number in (("tokens-per-second", options.tokens_per_second), ("tokens", options.tokens)):
        if number is not None and not (math.isfinite(number) and number > 0):
            raise ValueError(f"--{name}: got {number:g}, expected a finite number above 0")
    if job.spec.training.parallelism.is_cut:
        raise ValueError(
            "spec.training.parallelism: got a model cut over processes, expected data alone; the forecast is for that"
        )
    return Setting(
        sizes=sizes_of(job, options.model),
        nodes=nodes,
        gigabits=gigabits_of(options.network),
        batch_size=job.spec.training.batch_size,
        micro_batch_size=job.spec.training.micro_batch_size,
        tokens=options.tokens or float(job.spec.data.max_sequence_length),
        rate=options.tokens_per_second,
        gradient_bytes=2 if job.spec.training.gradient_precision == "bf16" else 4,
        is_tied=job.spec.model.task in ("masked-lm", "pretraining"),
    )


def gigabits_of(network: str) -> float:
    """Return the rate of a link such as ``10GbE`` in Gbit/s. Raises ValueError."""
    found = _NETWORK.match(network.strip())
    if found is None or float(found[1]) <= 0:
        raise ValueError(f"--network: got {network!r}, expected a rate in Gbit/s such as 10GbE")
    return float(found[1])


def sizes_of(job: BertJob, model: str | None) -> Sizes:
    """Return the sizes of a job's model. Raises ValueError for one that is not on this machine."""
    source = job.spec.model.source
    name = model or (source.removeprefix("preset://") if source.startswith("preset://") else None)
    if name is not None:
        if name not in scaling.PRESETS:
            raise ValueError(f"spec.model.source: got {source}, expected a preset of {', '.join(scaling.PRESETS)}")
        return scaling.PRESETS[name]
    if source.partition("://")[0] not in ("file", "package"):
        raise ValueError(f"spec.model.source: {source} is not on this machine; name its size with --model bert-base")
    with extras.needing("trainer", command="plan-scale"):
        from bertjob_trainer import bert_config, sources  # noqa: PLC0415  # for models on this machine only

    try:
        config = bert_config.read(sources.model_folder(source, scratch=Path()))
        known = bert_config.BertConfig.from_dict(config)
    except Exception as error:
        raise ValueError(f"spec.model.source: {source}: {error}; or name its size with --model bert-base") from error
    return Sizes(
        layers=known.num_hidden_layers,
        hidden=known.hidden_size,
        intermediate=known.intermediate_size,
        vocabulary=known.vocab_size,
        positions=known.max_position_embeddings,
    )


def told(setting: Setting, found: Forecast) -> list[str]:
    """Return the forecast for a person."""
    goal = _GOAL * setting.nodes
    lines = [
        f"one node       {found.alone * 1000:8.0f} ms a step of {setting.batch_size} samples",
        (
            f"{setting.nodes:2} nodes       {(found.computing + found.exposed) * 1000:8.0f} ms: computing "
            f"{found.computing * 1000:.0f}, network {found.network * 1000:.0f} ({found.bytes_per_node / 1e6:.0f} MB a node), of which "
            f"{found.exposed * 1000:.0f} are not hidden behind computing"
        ),
        f"speed-up       {found.speed_up:8.2f} of {setting.nodes} on {setting.gigabits:g} GbE",
        f"limit          {scaling.limit(found, nodes=setting.nodes)}",
    ]
    if found.speed_up >= goal:
        return lines
    options = scaling.changes(setting, goal=goal)
    for text, after in options:
        lines.append(f"change         {text}: speed-up {scaling.forecast(after).speed_up:.2f}")
    if not options:
        lines.append(f"change         nothing here reaches {goal:.2f}; train on fewer nodes")
    return lines


def as_json(setting: Setting, found: Forecast) -> dict[str, Any]:
    """Return the forecast for a program; times in seconds."""
    return {
        "nodes": setting.nodes,
        "gigabits": setting.gigabits,
        "alone": found.alone,
        "computing": found.computing,
        "network": found.network,
        "exposed": found.exposed,
        "bytesPerNode": found.bytes_per_node,
        "speedUp": found.speed_up,
        "limit": scaling.limit(found, nodes=setting.nodes),
    }
