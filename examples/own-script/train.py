"""
A plain ``transformers.Trainer`` script as the own script of a BertJob: sentiment-like labels of texts in JSON lines.

What makes it a good citizen are four lines: it reads where BertJob put the inputs, keeps its checkpoints where BertJob brings them
back after a loss, resumes from the newest one, and leaves its model where BertJob publishes it. Progress needs no line:
transformers reports to BertJob by itself. Run it with torchrun alone by setting the same variables.
"""

import argparse
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.data import Dataset
from transformers import (
    AutoModelForSequenceClassification,
    AutoTokenizer,
    DataCollatorWithPadding,
    EvalPrediction,
    Trainer,
    TrainingArguments,
)
from transformers.trainer_utils import get_last_checkpoint

SOURCE = os.environ["BERTJOB_MODEL_DIR"]
CHECKPOINTS = os.environ["BERTJOB_CHECKPOINT_DIR"]
OUTPUT = os.environ["BERTJOB_OUTPUT_DIR"]


class Texts(Dataset[dict[str, Any]]):
    """Texts with their labels, tokenized."""

    def __init__(self, path: str, labels: list[str], tokenizer: Any) -> None:
        rows = [json.loads(line) for line in Path(path).read_text().splitlines() if line.strip()]
        self.inputs = tokenizer([row["text"] for row in rows], truncation=True, max_length=128)
        self.labels = [labels.index(row["label"]) for row in rows]

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> dict[str, Any]:
        return {**{name: values[index] for name, values in self.inputs.items()}, "labels": self.labels[index]}


def accuracy(answers: EvalPrediction) -> dict[str, float]:
    """Return what is printed at each evaluation."""
    return {"accuracy": float(np.mean(answers.predictions.argmax(axis=-1) == answers.label_ids))}


def main() -> None:
    """Train, from the newest checkpoint if there is one, and leave the model."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--epochs", type=float, default=3)
    options.add_argument("--learning-rate", type=float, default=5e-5)
    options.add_argument("--save-steps", type=int, default=100)
    chosen = options.parse_args()
    with Path(os.environ["BERTJOB_TRAIN"]).open() as file:
        labels = sorted({json.loads(line)["label"] for line in file if line.strip()})
    tokenizer = AutoTokenizer.from_pretrained(SOURCE)
    model = AutoModelForSequenceClassification.from_pretrained(
        SOURCE,
        num_labels=len(labels),
        id2label=dict(enumerate(labels)),
        label2id={label: number for number, label in enumerate(labels)},
    )
    arguments = TrainingArguments(
        output_dir=CHECKPOINTS,
        num_train_epochs=chosen.epochs,
        per_device_train_batch_size=16,
        learning_rate=chosen.learning_rate,
        eval_strategy="epoch",
        save_strategy="steps",
        save_steps=chosen.save_steps,
        save_total_limit=2,
        use_cpu=not torch.cuda.is_available(),
        dataloader_pin_memory=torch.cuda.is_available(),
        report_to=[],
        disable_tqdm=True,
    )
    trainer = Trainer(
        model=model,
        args=arguments,
        train_dataset=Texts(os.environ["BERTJOB_TRAIN"], labels, tokenizer),
        eval_dataset=Texts(os.environ["BERTJOB_VALIDATION"], labels, tokenizer),
        data_collator=DataCollatorWithPadding(tokenizer),
        compute_metrics=accuracy,
    )
    newest = get_last_checkpoint(CHECKPOINTS)
    print(f"starting from {newest or SOURCE}", flush=True)
    trainer.train(resume_from_checkpoint=newest)
    metrics = trainer.evaluate()
    if trainer.is_world_process_zero():
        trainer.save_model(OUTPUT)
        tokenizer.save_pretrained(OUTPUT)
        Path(OUTPUT, "metrics.json").write_text(json.dumps({"accuracy": metrics["eval_accuracy"]}))


if __name__ == "__main__":
    main()
