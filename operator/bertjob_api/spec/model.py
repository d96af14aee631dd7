"""Which BERT to start from, what to teach it, and from which examples."""

from dataclasses import dataclass
from typing import Final, Literal

from bertjob_api.fields import api_field

SOURCE: Final = r"^(preset|package|hf|storage|s3|file)://.+$"
DATA_URI: Final = r"^(storage|s3|file)://.+$"
VOCABULARY: Final = r"^(package|storage|s3|file)://.+$"

Task = Literal[
    "sequence-classification",
    "sentence-pair",
    "token-classification",
    "question-answering",
    "masked-lm",
    "pretraining",
    "embedding",
]
DataFormat = Literal["jsonl", "csv", "tsv", "parquet", "conll", "squad", "text"]
Problem = Literal["single-label", "multi-label", "regression", "unanswerable", "positive-pairs"]
Pooling = Literal["mean", "cls"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """Fully connected layers between the encoder and the task's output."""

    layers: int = api_field("Number of hidden layers of the head.", default=0, minimum=0, maximum=3)
    hidden_size: int = api_field("Width of each hidden layer of the head.", default=128, minimum=8, maximum=4096)


@dataclass(frozen=True, slots=True, kw_only=True)
class Vocabulary:
    """Where the word pieces of a preset come from."""

    source: str | None = api_field(
        "vocab.txt, tokenizer.json or a folder with one of them: package://module/folder, storage://path, s3://bucket/path, or "
        "file:///path in local runs. Unset: trained from the training texts.",
        default=None,
        pattern=VOCABULARY,
    )
    size: int | None = api_field(
        "Most word pieces of a trained vocabulary. Unset: one for each character and one for every 200 words of the training "
        "texts (at least 1,000), 30,522 at most.",
        default=None,
        minimum=100,
        maximum=250_000,
    )
    lowercase: bool = api_field("Whether a trained vocabulary ignores case and accents.", default=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Masking:
    """Which tokens are hidden from a model that learns to fill them in; for masked-lm and pretraining."""

    rate: float = api_field("Share of the tokens that are chosen.", default=0.15, minimum=0.01, maximum=0.5)
    whole_words: bool = api_field("Choose all pieces of a word or none.", default=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """Which BERT to start from and what to teach it."""

    source: str = api_field(
        "Weights, config and tokenizer to start from: preset://bert-base (random weights), package://module/folder (inside an "
        "installed Python package), hf://org/name, storage://path (below storage.prefix), s3://bucket/path, or file:///path in "
        "local runs.",
        pattern=SOURCE,
    )
    task: Task = api_field("What the model learns to do.")
    problem: Problem | None = api_field(
        "What the data and the answers are, where a task leaves a choice. sequence-classification and sentence-pair: single-label "
        "(if unset), multi-label, or regression (a number). question-answering: unanswerable, if some questions have no answer in "
        "their text. embedding: positive-pairs, if training pairs belong together and have no score.",
        default=None,
    )
    labels: tuple[str, ...] | None = api_field(
        "Class names in the order of the model's outputs. Unset: the sorted labels of the training data.",
        default=None,
        min_items=2,
        max_items=1024,
        max_length=256,
        unique=True,
    )
    pooling: Pooling | None = api_field(
        "What an embedding is made of: mean (of all tokens) or cls (the first token). Unset: mean.", default=None
    )
    head: Head = api_field("Optional hidden layers before the output.", default_factory=Head)
    masking: Masking | None = api_field(
        "For masked-lm and pretraining: which tokens are hidden. Unset: 15 of 100, any of them.", default=None
    )
    vocabulary: Vocabulary | None = api_field(
        "For preset:// alone: where its vocabulary comes from. Unset: trained from the training texts.", default=None
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Columns:
    """Names of the columns (or JSON keys) that hold text and label."""

    text: str = api_field("Column of the text.", default="text", max_length=128)
    label: str = api_field("Column of the label, or of the number for regression.", default="label", max_length=128)
    text_pair: str | None = api_field(
        "Column of the second text, for sentence-pair and embedding. Unset: text_pair.", default=None, max_length=128
    )
    question: str | None = api_field(
        "Column of the question, for question-answering. Unset: question.", default=None, max_length=128
    )
    context: str | None = api_field(
        "Column of the text that answers it, for question-answering. Unset: context.", default=None, max_length=128
    )
    answers: str | None = api_field(
        "Column of the answers, for question-answering. Unset: answers.", default=None, max_length=128
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Data:
    """Where the examples are and how to read them."""

    train: str = api_field(
        "File or folder of the training examples: storage://, s3:// or file:// (local runs).", pattern=DATA_URI
    )
    validation: str = api_field("Held-out examples that evaluation and the gate use.", pattern=DATA_URI)
    test: str | None = api_field(
        "Examples for one final report; never used for a decision.", default=None, pattern=DATA_URI
    )
    format: DataFormat = api_field("File format of the examples.", default="jsonl")
    columns: Columns = api_field("Column names.", default_factory=Columns)
    max_sequence_length: int = api_field(
        "Tokens kept of each text, [CLS] and [SEP] included; a question's text is read in windows of so many.",
        default=128,
        minimum=8,
        maximum=4096,
    )
    stride: int | None = api_field(
        "Tokens that neighbouring windows of a long text share, for question-answering; at most half of a window. Unset: 64.",
        default=None,
        minimum=0,
        maximum=4096,
    )
    max_score: float | None = api_field(
        "Score of pairs that mean the same, for embedding; scores begin at 0. Unset: 1.", default=None, minimum=1e-6
    )
    max_bad_rows: int = api_field(
        "Unreadable rows to skip with a warning before the job fails.", default=0, minimum=0, maximum=1_000_000
    )
