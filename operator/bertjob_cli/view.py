"""How a BertJob looks on a screen: one line for each phase. Pure."""

from collections.abc import Iterable, Mapping
from typing import Any, Final

from bertjob_api import conditions
from bertjob_api.cluster import Object

BAR_WIDTH: Final = 24
EVENTS: Final = 5
_PHASES: Final = (
    (conditions.ACCEPTED, "preflight"),
    (conditions.TRAINED, "train"),
    (conditions.OPTIMIZED, "optimize"),
    (conditions.GATE_PASSED, "gate"),
    (conditions.ROLLED_OUT, "serve"),
)
_MARKS: Final = {"True": "done", "False": "    ", "Unknown": "    "}
_NOT_WANTED: Final = {
    "train": (),
    "preflight": (),
    "optimize": ("optimize", "serving"),
    "gate": ("optimize",),
    "serve": ("serving",),
}


def screen(value: Object) -> list[str]:
    """Return the lines for a job: a phase each, with a bar while it trains or optimizes."""
    spec, status = value["spec"], value.get("status", {})
    found = {item["type"]: item for item in status.get("conditions", ())}
    lines = []
    for kind, title in _PHASES:
        wanted = _NOT_WANTED[title]
        if not wanted or any(spec.get(part) is not None for part in wanted):
            lines.append(_phase_line(title, found.get(kind, {}), status))
    return lines


def _phase_line(title: str, condition: Mapping[str, Any], status: Mapping[str, Any]) -> str:
    mark = _MARKS[condition.get("status", "Unknown")]
    text = condition.get("message", "")
    if title == "train" and condition.get("status") != "True":
        text = training(status.get("training") or {}) or text
    if title == "optimize" and status.get("phase") == "Optimizing":
        text = f"{bar(_fraction(status.get('progress')))} {text}"
    return f"  {mark}  {title:<10} {text}".rstrip()


def training(progress: Mapping[str, Any]) -> str:
    """Return bar, steps, loss, speed and remaining time of a training that has begun; else nothing."""
    step, total = progress.get("step"), progress.get("total")
    if step is None or not total:
        return ""
    parts = [f"{bar(step / total)} {step}/{total} steps"]
    for key, form in (("loss", "loss {:.3f}"), ("samplesPerSecond", "{:.0f} texts/s"), ("etaSeconds", "{} s left")):
        if progress.get(key) is not None:
            parts.append(form.format(progress[key]))
    if progress.get("resumedFromStep"):
        parts.append(f"resumed from step {progress['resumedFromStep']}")
    if (recovery := progress.get("lastRecovery")) is not None:
        parts.append(recovered(recovery))
    return ", ".join(parts)


def recovered(recovery: Mapping[str, Any]) -> str:
    """Return how long processes stood still when others were lost or came, and what took longest."""
    phases = {
        "detect": "noticing",
        "place": "agreeing",
        "form": "connecting",
        "restore": "state",
        "firstStep": "first step",
    }
    slowest = max(phases, key=lambda phase: float(recovery.get(phase, 0)))
    why = "a loss" if recovery.get("reason") == "Loss" else "a change of size"
    return f"stood still {recovery['seconds']:.1f} s at {why} (most: {phases[slowest]} {recovery[slowest]:.1f} s)"


def _fraction(percent: str | None) -> float:
    """Return the fraction of 1 that a display such as ``57 %`` tells; 0 when there is none."""
    return int(percent.partition(" ")[0]) / 100 if percent else 0.0


def bar(fraction: float) -> str:
    """Return a bar of ``BAR_WIDTH`` characters for a fraction of 1."""
    full = round(min(max(fraction, 0.0), 1.0) * BAR_WIDTH)
    return f"[{'#' * full}{'.' * (BAR_WIDTH - full)}]"


def evaluation(status: Mapping[str, Any]) -> list[str]:
    """Return the table of FP32 beside INT8, or nothing when nothing was measured."""
    found = status.get("evaluation") or {}
    rows = [(name, found[name]) for name in ("fp32", "int8", "live") if found.get(name)]
    if not rows:
        return []
    metric = rows[0][1]["metric"]
    lines = [f"  {'':<6}{metric:>12}{'p50 ms':>10}{'p99 ms':>10}{'MB':>8}  engine"]
    for name, scores in rows:
        figures = (
            f"{_figure(scores.get('value'), 4):>12}{_figure(scores.get('latencyP50Ms'), 2):>10}"
            f"{_figure(scores.get('latencyP99Ms'), 2):>10}{_megabytes(scores.get('sizeBytes')):>8}"
        )
        lines.append(f"  {name:<6}{figures}  {scores.get('engine') or ''}")
    verdict = found.get("verdict")
    return [*lines, f"  gate: {verdict}, method {found.get('method') or 'none'}"] if verdict else lines


def rollout(status: Mapping[str, Any]) -> list[str]:
    """Return which service has how much of the new model, and where it answers; nothing before a rollout."""
    found = status.get("rollout") or {}
    if not found:
        return []
    parts = [f"{found.get('trafficPercent', 0)} % of the traffic"]
    parts += [f"{key} {found[key]}" for key in ("canary", "verdict") if found.get(key)]
    lines = [f"  rollout: {found.get('service')}: {', '.join(parts)}"]
    return [*lines, f"  served at {found['url']}"] if found.get("url") else lines


def events(value: Object, found: Iterable[Object]) -> list[str]:
    """Return the last ``EVENTS`` events of a job, oldest first."""
    uid = value["metadata"].get("uid")
    own = [each for each in found if (each.get("regarding") or {}).get("uid") == uid]
    last = sorted(own, key=lambda each: str(each.get("eventTime")))[-EVENTS:]
    return ["  last events:"] * bool(last) + [
        f"    {str(each.get('eventTime'))[11:19]}  {each.get('type', ''):<8}{each.get('reason', '')}: {each.get('note', '')}"
        for each in last
    ]


def failure(value: Object) -> list[str]:
    """Return why a job failed, as sentences for a person."""
    status = value.get("status", {})
    failed: Mapping[str, Any] = next(
        (item for item in status.get("conditions", ()) if item["type"] == conditions.FAILED), {}
    )
    lines = [f"error: {failed.get('reason', 'Failed')}: {failed.get('message', 'no reason was given')}"]
    last = status.get("lastFailure")
    if last is not None and last["message"] not in lines[0]:
        place = f" in pod {last['pod']}" if last.get("pod") else ""
        lines.append(f"  last failure: {last['phase']}{place}: {last['reason']}: {last['message']}")
    return lines


def _figure(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:.{digits}f}"


def _megabytes(size: int | None) -> str:
    return "-" if size is None else f"{size / 1e6:.1f}"
