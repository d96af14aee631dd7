"""
Rules over several fields, each written once in Python and once in CEL.

The parser evaluates ``holds``; the CRD carries ``cel`` on the spec. A table of bad specs is tested against both.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from bertjob_api.spec import JobSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One thing that must hold between fields of a spec."""

    message: str
    """Path, what is wrong, and the next step."""
    holds: Callable[[JobSpec], bool]
    cel: str
    """The same in CEL, where ``self`` is the spec with defaults filled in."""
    cluster_only: bool = False
    """Local runs are not bound by it."""


def _elastic_ordered(spec: JobSpec) -> bool:
    elastic = spec.training.elastic
    return elastic is None or elastic.min <= elastic.max


def _replicas_within(spec: JobSpec) -> bool:
    elastic = spec.training.elastic
    return elastic is None or elastic.min <= spec.training.replicas <= elastic.max


def _whole_micro_batches(spec: JobSpec) -> bool:
    return spec.training.batch_size % spec.training.micro_batch_size == 0


def _ways(spec: JobSpec) -> int:
    """Return the processes of one copy of the model."""
    axes = spec.training.parallelism
    return axes.tensor * axes.pipeline * axes.fsdp


def _one_way_to_cut(spec: JobSpec) -> bool:
    axes = spec.training.parallelism
    return [axes.tensor > 1, axes.pipeline > 1, axes.fsdp > 1].count(True) <= 1


def _copies_follow_nodes(spec: JobSpec) -> bool:
    return spec.training.elastic is None or spec.training.parallelism.data == -1


def _axes_fill_processes(spec: JobSpec) -> bool:
    training = spec.training
    if training.processes_per_node == "auto" or training.elastic is not None or training.replicas == 0:
        return True
    processes = training.replicas * int(training.processes_per_node)
    if training.parallelism.data == -1:
        return processes % _ways(spec) == 0
    return processes == training.parallelism.data * _ways(spec)


def _fewest_hold_a_copy(spec: JobSpec) -> bool:
    elastic = spec.training.elastic
    if elastic is None or spec.training.processes_per_node == "auto":
        return True
    return elastic.min * int(spec.training.processes_per_node) >= _ways(spec)


def _one_identity(spec: JobSpec) -> bool:
    return spec.storage.secret_ref is None or spec.storage.service_account_name is None


def _service_replicas_ordered(spec: JobSpec) -> bool:
    return spec.serving is None or spec.serving.replicas.min <= spec.serving.replicas.max


def _steps_end_at_all(spec: JobSpec) -> bool:
    return spec.serving is None or spec.serving.steps[-1] == 100


def _steps_ascend(spec: JobSpec) -> bool:
    return spec.serving is None or list(spec.serving.steps) == sorted(set(spec.serving.steps))


def _uris(spec: JobSpec) -> tuple[str, ...]:
    vocabulary = (spec.model.vocabulary and spec.model.vocabulary.source) or ""
    data = (spec.data.train, spec.data.validation, spec.data.test or "")
    return (spec.model.source, vocabulary, *data, spec.storage.prefix)


def _no_local_files(spec: JobSpec) -> bool:
    return not any(uri.startswith("file://") for uri in _uris(spec))


def _gate_has_subject(spec: JobSpec) -> bool:
    return spec.gate is None or spec.optimize is not None


def _faster_or_size_only(spec: JobSpec) -> bool:
    return spec.gate is None or spec.gate.min_speedup >= 1 or spec.gate.size_only


def _methods_have_engines(spec: JobSpec) -> bool:
    optimize = spec.optimize
    return optimize is None or "openvino" in optimize.engines or set(optimize.methods) != {"static"}


_LABELLED: Final = ("single-label", "multi-label", "regression")
_PROBLEMS: Final = {
    "sequence-classification": _LABELLED,
    "sentence-pair": _LABELLED,
    "question-answering": ("unanswerable",),
    "embedding": ("positive-pairs",),
}


def _problem_fits_task(spec: JobSpec) -> bool:
    return spec.model.problem is None or spec.model.problem in _PROBLEMS.get(spec.model.task, ())


def _problems_cel() -> str:
    cases = (f"self.model.task == '{task}' && self.model.problem in {list(known)}" for task, known in _PROBLEMS.items())
    return "!has(self.model.problem) || " + " || ".join(cases)


def _own_script_judges_itself(spec: JobSpec) -> bool:
    training = spec.training
    asked = (training.evaluate, training.early_stopping, training.checkpoint.best)
    return training.command is None or asked == (None, None, None)


def _labels_have_outputs(spec: JobSpec) -> bool:
    has_none = spec.model.problem == "regression" or spec.model.task in ("question-answering", "embedding")
    return spec.model.labels is None or not has_none


def _pooling_fits_task(spec: JobSpec) -> bool:
    return spec.model.pooling is None or spec.model.task == "embedding"


def _no_head_on_vectors(spec: JobSpec) -> bool:
    return spec.model.task != "embedding" or spec.model.head.layers == 0


def _vectors_in_one_stage(spec: JobSpec) -> bool:
    return spec.model.task != "embedding" or spec.training.parallelism.pipeline == 1


def _pairs_have_others(spec: JobSpec) -> bool:
    return spec.model.problem != "positive-pairs" or spec.training.micro_batch_size > 1


def _vocabulary_of_preset(spec: JobSpec) -> bool:
    return spec.model.vocabulary is None or spec.model.source.startswith("preset:")


def _masking_of_language(spec: JobSpec) -> bool:
    return spec.model.masking is None or spec.model.task in ("masked-lm", "pretraining")


def _no_head_of_language(spec: JobSpec) -> bool:
    return spec.model.head.layers == 0 or spec.model.task not in ("masked-lm", "pretraining")


def _no_labels_of_language(spec: JobSpec) -> bool:
    return spec.model.labels is None or spec.model.task not in ("masked-lm", "pretraining")


def _whole_vocabulary_of_language(spec: JobSpec) -> bool:
    hides = spec.model.task in ("masked-lm", "pretraining")
    return spec.optimize is None or spec.optimize.vocabulary == "All" or not hides


_WAYS: Final = "self.training.parallelism.tensor * self.training.parallelism.pipeline * self.training.parallelism.fsdp"
"""``_ways`` in CEL."""


RULES: Final = (
    Rule(
        message="spec.training.elastic: min is above max; raise max or lower min",
        holds=_elastic_ordered,
        cel="!has(self.training.elastic) || self.training.elastic.min <= self.training.elastic.max",
    ),
    Rule(
        message="spec.training.replicas: is outside training.elastic; choose a number from min to max",
        holds=_replicas_within,
        cel="!has(self.training.elastic) || (self.training.replicas >= self.training.elastic.min && self.training.replicas <= self.training.elastic.max)",
    ),
    Rule(
        message="spec.training.batchSize: is not a multiple of training.microBatchSize; change one of them",
        holds=_whole_micro_batches,
        cel="self.training.batchSize % self.training.microBatchSize == 0",
    ),
    Rule(
        message="spec.training.parallelism: data is 0; take 1 or more, or -1 for what the other axes leave over",
        holds=lambda spec: spec.training.parallelism.data != 0,
        cel="self.training.parallelism.data != 0",
    ),
    Rule(
        message="spec.training.parallelism: only one of tensor, pipeline and fsdp may be above 1; set the others to 1",
        holds=_one_way_to_cut,
        cel="[self.training.parallelism.tensor, self.training.parallelism.pipeline, self.training.parallelism.fsdp]"
        ".filter(ways, ways > 1).size() <= 1",
    ),
    Rule(
        message="spec.training.parallelism.data: is fixed while training.elastic lets the nodes move; set it to -1",
        holds=_copies_follow_nodes,
        cel="!has(self.training.elastic) || self.training.parallelism.data == -1",
    ),
    Rule(
        message="spec.training.parallelism: the axes do not multiply to replicas x processesPerNode; "
        "set data to -1 and make the processes a multiple of the other axes",
        holds=_axes_fill_processes,
        cel="self.training.processesPerNode == 'auto' || has(self.training.elastic) || self.training.replicas == 0 || "
        "(self.training.parallelism.data == -1 "
        f"? self.training.replicas * int(self.training.processesPerNode) % ({_WAYS}) == 0 "
        f": self.training.replicas * int(self.training.processesPerNode) == self.training.parallelism.data * {_WAYS})",
    ),
    Rule(
        message="spec.training.elastic: min x processesPerNode is below the processes of one copy of the model, "
        "parallelism.tensor x pipeline x fsdp; raise min",
        holds=_fewest_hold_a_copy,
        cel="!has(self.training.elastic) || self.training.processesPerNode == 'auto' || "
        f"self.training.elastic.min * int(self.training.processesPerNode) >= {_WAYS}",
    ),
    Rule(
        message="spec.storage: secretRef and serviceAccountName exclude each other; keep one",
        holds=_one_identity,
        cel="!has(self.storage.secretRef) || !has(self.storage.serviceAccountName)",
    ),
    Rule(
        message="spec.serving.replicas: min is above max; raise max or lower min",
        holds=_service_replicas_ordered,
        cel="!has(self.serving) || self.serving.replicas.min <= self.serving.replicas.max",
    ),
    Rule(
        message="spec.serving.steps: the last step is not 100; end with 100",
        holds=_steps_end_at_all,
        cel="!has(self.serving) || self.serving.steps[size(self.serving.steps) - 1] == 100",
    ),
    Rule(
        message="spec.serving.steps: do not ascend; sort them and name each once",
        holds=_steps_ascend,
        cel="!has(self.serving) || self.serving.steps.all(a, self.serving.steps.exists_one(b, a == b)) && self.serving.steps.isSorted()",
    ),
    Rule(
        message="spec.gate: there is no optimize, so there is nothing to judge; add optimize or remove gate",
        holds=_gate_has_subject,
        cel="!has(self.gate) || has(self.optimize)",
    ),
    Rule(
        message="spec.gate.minSpeedup: is below 1, so INT8 could win that is slower than FP32; raise it, or set gate.sizeOnly to accept that",
        holds=_faster_or_size_only,
        cel="!has(self.gate) || self.gate.minSpeedup >= 1.0 || self.gate.sizeOnly",
    ),
    Rule(
        message="spec.optimize.engines: static exists for openvino alone; add another method, or openvino to engines",
        holds=_methods_have_engines,
        cel="!has(self.optimize) || 'openvino' in self.optimize.engines || self.optimize.methods != ['static']",
    ),
    Rule(
        message="spec.model.problem: does not belong to this task; remove it, or choose one of the task's own",
        holds=_problem_fits_task,
        cel=_problems_cel(),
    ),
    Rule(
        message="spec.model.labels: regression, question-answering and embedding have no labels; remove them",
        holds=_labels_have_outputs,
        cel="!has(self.model.labels) || !(self.model.task in ['question-answering', 'embedding'] || "
        "has(self.model.problem) && self.model.problem == 'regression')",
    ),
    Rule(
        message="spec.model.pooling: only embedding has one; remove it",
        holds=_pooling_fits_task,
        cel="!has(self.model.pooling) || self.model.task == 'embedding'",
    ),
    Rule(
        message="spec.model.head: embedding has no head, its output is the pooled vector; remove head",
        holds=_no_head_on_vectors,
        cel="self.model.task != 'embedding' || self.model.head.layers == 0",
    ),
    Rule(
        message="spec.training.parallelism.pipeline: embedding takes both texts of a pair through the layers side by side; leave "
        "it at 1 and use tensor or fsdp",
        holds=_vectors_in_one_stage,
        cel="self.model.task != 'embedding' || self.training.parallelism.pipeline == 1",
    ),
    Rule(
        message="spec.training.microBatchSize: positive-pairs are told from the others of their micro-batch; choose 2 or more",
        holds=_pairs_have_others,
        cel="!has(self.model.problem) || self.model.problem != 'positive-pairs' || self.training.microBatchSize > 1",
    ),
    Rule(
        message="spec.model.vocabulary: only preset:// starts without one, every other source has its own; remove it",
        holds=_vocabulary_of_preset,
        cel="!has(self.model.vocabulary) || self.model.source.startsWith('preset:')",
    ),
    Rule(
        message="spec.model.masking: only masked-lm and pretraining hide tokens; remove it",
        holds=_masking_of_language,
        cel="!has(self.model.masking) || self.model.task in ['masked-lm', 'pretraining']",
    ),
    Rule(
        message="spec.model.head.layers: masked-lm and pretraining have BERT's own head; remove it",
        holds=_no_head_of_language,
        cel="self.model.head.layers == 0 || !(self.model.task in ['masked-lm', 'pretraining'])",
    ),
    Rule(
        message="spec.optimize.vocabulary: masked-lm and pretraining name words, so they need all of them; remove it",
        holds=_whole_vocabulary_of_language,
        cel="!has(self.optimize) || self.optimize.vocabulary == 'All' || !(self.model.task in ['masked-lm', 'pretraining'])",
    ),
    Rule(
        message="spec.model.labels: masked-lm and pretraining have no labels; remove them",
        holds=_no_labels_of_language,
        cel="!has(self.model.labels) || !(self.model.task in ['masked-lm', 'pretraining'])",
    ),
    Rule(
        message="spec.training.command: an own script evaluates itself; remove evaluate, earlyStopping and checkpoint.best",
        holds=_own_script_judges_itself,
        cel="!has(self.training.command) || (!has(self.training.evaluate) && !has(self.training.earlyStopping) && !has(self.training.checkpoint.best))",
    ),
    Rule(
        message="spec: file:// is for local runs; put the files into object storage and use storage:// or s3://",
        holds=_no_local_files,
        cel="!self.model.source.startsWith('file:') && !self.data.train.startsWith('file:') && !self.data.validation.startsWith('file:') "
        "&& (!has(self.model.vocabulary) || !has(self.model.vocabulary.source) || !self.model.vocabulary.source.startsWith('file:')) "
        "&& (!has(self.data.test) || !self.data.test.startsWith('file:')) && !self.storage.prefix.startsWith('file:')",
        cluster_only=True,
    ),
)


def broken(spec: JobSpec, *, local: bool) -> list[str]:
    """Return the messages of the rules that *spec* breaks; *local* runs are free of the cluster's rules."""
    return [rule.message for rule in RULES if not (local and rule.cluster_only) and not rule.holds(spec)]
