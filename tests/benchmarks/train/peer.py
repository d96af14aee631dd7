"""The peer: ``transformers.Trainer`` on the same model, data and hyper-parameters."""

import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from benchmarks.train import ours
from benchmarks.train.ours import Run
from benchmarks.train.workload import PAD_TO, Size, Texts
from transformers import BertConfig, BertForSequenceClassification, Trainer, TrainerCallback, TrainingArguments
from transformers.utils import logging

from bertjob_trainer import optim

logging.set_verbosity_error()


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """How the Trainer is told to work."""

    name: str
    bf16: bool = False
    pad_to: int | None = None
    """None: to the longest of the batch."""
    sampling: str = "random"


WAYS = (
    Way(name="fp32, padded to 128", pad_to=PAD_TO),
    Way(name="fp32, dynamic padding"),
    Way(name="fp32, dynamic padding, group_by_length", sampling="group_by_length"),
    Way(name="bf16, dynamic padding", bf16=True),
    Way(name="bf16, dynamic padding, group_by_length", bf16=True, sampling="group_by_length"),
)


class _Watch(TrainerCallback):  # type: ignore[misc]
    """Notes losses and the time from the first step's begin to the last one's end."""

    def __init__(self) -> None:
        self.started = self.ended = 0.0
        self.losses: list[float] = []

    def on_train_begin(self, *_: Any, **__: Any) -> None:
        """Start the watch."""
        self.started = time.perf_counter()

    def on_step_end(self, *_: Any, **__: Any) -> None:
        """Note the time."""
        self.ended = time.perf_counter()

    def on_log(self, *_: Any, logs: dict[str, Any], **__: Any) -> None:
        """Note the loss."""
        if "loss" in logs:
            self.losses.append(float(logs["loss"]))


def train(size: Size, texts: Texts, way: Way, *, samples: Sequence[int] | None = None, steps_log: bool = False) -> Run:
    """
    Train one epoch.

    Args:
        size: model and hyper-parameters.
        texts: what to train on.
        way: how.
        samples: their order; None: as *way* says.
        steps_log: note every step's loss, which costs the Trainer a little.

    """
    chosen = range(len(texts.inputs)) if samples is None else samples
    rows = [{"input_ids": texts.inputs[number].ids.tolist(), "labels": int(texts.labels[number])} for number in chosen]
    watch = _Watch()
    with tempfile.TemporaryDirectory() as folder:
        arguments = TrainingArguments(
            output_dir=folder,
            num_train_epochs=1,
            per_device_train_batch_size=size.batch,
            learning_rate=size.learning_rate,
            weight_decay=size.weight_decay,
            warmup_steps=int(0.1 * -(-len(rows) // size.batch)),
            bf16=way.bf16,
            use_cpu=not torch.cuda.is_available(),
            train_sampling_strategy="sequential" if samples is not None else way.sampling,
            logging_strategy="steps" if steps_log else "no",
            logging_steps=1,
            save_strategy="no",
            report_to=[],
            disable_tqdm=True,
            seed=size.seed,
        )
        model = _model(size)
        collate = _Collate(way.pad_to)
        Trainer(model=model, args=arguments, train_dataset=rows, data_collator=collate, callbacks=[watch]).train()
    return Run(seconds=watch.ended - watch.started, losses=watch.losses)


def _model(size: Size) -> Any:
    """Return transformers' model with our model's first weights."""
    model = BertForSequenceClassification(BertConfig(**size.config, num_labels=2))
    weights = ours.state_of(size, torch.device("cpu")).model.state_dict()
    missing, unexpected = model.load_state_dict(weights, strict=False)
    assert not unexpected, unexpected
    assert all("position_ids" in name for name in missing), missing
    return model


@dataclass(frozen=True, slots=True)
class _Collate:
    """Rows to a padded batch."""

    pad_to: int | None

    def __call__(self, rows: Sequence[dict[str, Any]]) -> dict[str, torch.Tensor]:
        """Return input_ids, attention_mask and labels."""
        length = self.pad_to or max(len(row["input_ids"]) for row in rows)
        ids = np.zeros((len(rows), length), dtype=np.int64)
        mask = np.zeros((len(rows), length), dtype=np.int64)
        for place, row in enumerate(rows):
            ids[place, : len(row["input_ids"])] = row["input_ids"]
            mask[place, : len(row["input_ids"])] = 1
        labels = torch.tensor([row["labels"] for row in rows])
        return {"input_ids": torch.from_numpy(ids), "attention_mask": torch.from_numpy(mask), "labels": labels}


assert optim.BETAS == (0.9, 0.999), "the Trainer's defaults"
