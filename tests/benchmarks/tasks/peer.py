"""
The peer: ``transformers.Trainer`` on the same examples with the same budget, in its own way in everything else.

Its model comes from ``from_pretrained``, or from a config where training starts from nothing; it pads to the longest of a batch,
draws batches at random, and hides words with its own collator. Its answers are judged by the same metrics.
"""

import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import numpy as np
import torch
from benchmarks.tasks.runs import Run, tell
from benchmarks.tasks.works import Prepared
from torch import Tensor, nn
from transformers import (
    AutoTokenizer,
    BertConfig,
    BertForPreTraining,
    BertForQuestionAnswering,
    BertForSequenceClassification,
    BertForTokenClassification,
    DataCollatorForLanguageModeling,
    PrinterCallback,
    Trainer,
    TrainerCallback,
    TrainingArguments,
    set_seed,
)
from transformers.utils import logging

from bertjob_api.spec import Training
from bertjob_tasks.masking import RATE
from bertjob_tasks.task import IGNORED, Reads
from bertjob_trainer import bert_config, presets
from bertjob_trainer.data import Dataset
from bertjob_trainer.evaluate import evaluate
from bertjob_trainer.machine import Machine

Row = Mapping[str, Any]
Collate = Callable[[Sequence[Row]], Mapping[str, Tensor]]
MODELS: Final[Mapping[Reads, Any]] = {
    "first": BertForSequenceClassification,
    "tokens": BertForTokenClassification,
    "spans": BertForQuestionAnswering,
    "masked-pairs": BertForPreTraining,
}


class Answering(nn.Module):  # type: ignore[misc]
    """One of transformers' models, asked as ours are."""

    def __init__(self, model: Any, *, reads: Reads, width: int) -> None:
        super().__init__()
        self.model, self.reads, self.width = model, reads, width

    def forward(self, ids: Tensor, type_ids: Tensor, mask: Tensor | None, chosen: Tensor | None = None) -> Any:
        """Return what our model of the same task returns."""
        found = self.model(
            input_ids=ids.long(),
            token_type_ids=type_ids.long(),
            attention_mask=None if mask is None else mask.long(),
        )
        if self.reads == "spans":
            return torch.stack([found.start_logits, found.end_logits], dim=-1)
        if self.reads == "masked-pairs":
            return found.prediction_logits.flatten(0, 1)[chosen], found.seq_relationship_logits
        return found.logits


class _Watch(TrainerCallback):  # type: ignore[misc]
    """Takes the time from the first step's begin to the last one's end, and says how far training is."""

    def __init__(self, who: str) -> None:
        self.who = who
        self.started = self.ended = 0.0

    def on_train_begin(self, *_: Any, **__: Any) -> None:
        """Start the watch."""
        self.started = time.perf_counter()

    def on_step_end(self, _: Any, state: Any, *__: Any, **___: Any) -> None:
        """Note the time."""
        self.ended = time.perf_counter()
        tell(self.who, state.global_step, state.max_steps)


def train(prepared: Prepared, *, seed: int, machine: Machine) -> Run:
    """Train with a seed and evaluate."""
    task, labels = prepared.examples.task, prepared.examples.labels
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    set_seed(seed)
    model = model_of(prepared)
    rows = rows_of(prepared.examples.train, reads=task.reads)
    watch = _Watch(f"{prepared.name}, seed {seed}, Trainer")
    with tempfile.TemporaryDirectory() as folder:
        arguments = _arguments(prepared.job.spec.training, folder, num_rows=len(rows), seed=seed, machine=machine)
        trainer = Trainer(
            model=model,
            args=arguments,
            train_dataset=rows,
            data_collator=collate_of(prepared),
            callbacks=[watch],
        )
        trainer.remove_callback(PrinterCallback)
        trainer.train()
    answering = Answering(model, reads=task.reads, width=task.width(labels))
    return Run(
        task=prepared.name,
        side="trainer",
        seed=seed,
        budget=prepared.budget,
        steps=trainer.state.global_step,
        seconds=watch.ended - watch.started,
        metrics=evaluate(answering, prepared.examples.validation, task, machine),
    )


def model_of(prepared: Prepared) -> Any:
    """Return transformers' model before its first step; what it lacks of weights comes from torch's random numbers."""
    task, folder = prepared.examples.task, prepared.paths.model
    kind = MODELS[task.reads]
    if presets.name_of(prepared.job.spec.model.source) is not None:
        return kind(BertConfig(**bert_config.read(folder)))
    width = task.width(prepared.examples.labels)
    return kind.from_pretrained(folder, num_labels=width, problem_type=task.problem_type, dtype=torch.float32)


def rows_of(data: Dataset, *, reads: Reads) -> list[Row]:
    """Return the samples as rows of the Trainer."""
    rows: list[Row] = []
    for sample in range(len(data)):
        part = slice(data.offsets[sample], data.offsets[sample + 1])
        row = {"input_ids": np.array(data.ids[part]), "token_type_ids": np.array(data.type_ids[part])}
        target = np.array(data.labels[part] if data.per_token else data.labels[sample])
        if reads == "spans":
            rows.append({**row, "start_positions": target[0], "end_positions": target[1]})
        else:
            rows.append({**row, "next_sentence_label" if reads == "masked-pairs" else "labels": target})
    return rows


def collate_of(prepared: Prepared) -> Collate:
    """Return what makes padded batches of such rows."""
    if prepared.examples.task.hides:
        tokenizer = AutoTokenizer.from_pretrained(prepared.paths.model)
        hiding: Collate = DataCollatorForLanguageModeling(tokenizer, mlm_probability=RATE)
        return lambda rows: hiding([{key: value.tolist() for key, value in row.items()} for row in rows])
    pad_id = prepared.examples.train.pad_id
    return lambda rows: padded(rows, pad_id=pad_id)


def padded(rows: Sequence[Row], *, pad_id: int) -> dict[str, Tensor]:
    """Return rows as one batch, padded to the longest; labels of padding are ignored."""
    shape = (len(rows), max(len(row["input_ids"]) for row in rows))
    fill = {"input_ids": pad_id, "token_type_ids": 0, "attention_mask": 0, "labels": IGNORED}
    batch: dict[str, Tensor] = {}
    for key in ("attention_mask", *rows[0]):
        values = [np.ones_like(row["input_ids"]) if key == "attention_mask" else row[key] for row in rows]
        is_per_token = key in fill and values[0].ndim == 1 and values[0].dtype.kind != "f"  # no number to be predicted
        if not is_per_token:
            batch[key] = torch.from_numpy(np.stack(values))
            continue
        table = np.full(shape, fill[key], dtype=np.int64)
        for place, value in zip(table, values, strict=True):
            place[: len(value)] = value
        batch[key] = torch.from_numpy(table)
    return batch


def _arguments(spec: Training, folder: str, *, num_rows: int, seed: int, machine: Machine) -> TrainingArguments:
    total = spec.epochs * -(-num_rows // spec.batch_size)
    return TrainingArguments(
        output_dir=folder,
        num_train_epochs=spec.epochs,
        per_device_train_batch_size=spec.batch_size,
        learning_rate=spec.learning_rate,
        weight_decay=spec.weight_decay,
        warmup_steps=int(spec.warmup_ratio * total),
        bf16=machine.dtype == torch.bfloat16,
        use_cpu=machine.device.type == "cpu",
        logging_strategy="no",
        save_strategy="no",
        report_to=[],
        disable_tqdm=True,
        seed=seed,
    )
