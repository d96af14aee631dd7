"""Reading examples: every mistake in the data names its place and the next step."""

import logging
from pathlib import Path
from typing import NamedTuple

import pytest

from bertjob_api.parse import parse
from bertjob_api.spec import Data
from bertjob_tasks import errors, labels, rows
from bertjob_tasks.readers import Example, read_examples

GOOD = b'{"text": "fine", "label": "up"}\n'


def settings(**fields: object) -> Data:
    """Return spec.data with the given fields."""
    return parse(Data, {"train": "storage://t", "validation": "storage://v", **fields}, path="spec.data")


def written(folder: Path, content: bytes, name: str = "train.jsonl") -> Path:
    """Return a data file with this content."""
    path = folder / name
    path.write_bytes(content)
    return path


class Bad(NamedTuple):
    """A file that is refused, and what the message must say."""

    name: str
    content: bytes
    kind: type[errors.DataError]
    words: tuple[str, ...]
    format: str = "jsonl"


BAD = (
    Bad("bad json", GOOD + b'{"text": "x", \n', errors.SyntaxRowError, (":2:", "not JSON")),
    Bad("a list", b'["x", "up"]\n', errors.SyntaxRowError, (":1:", "JSON list", "object")),
    Bad("deep json", b"[" * 100_000 + b"\n", errors.SyntaxRowError, (":1:",)),
    Bad("missing text", GOOD + b'\n{"body": "x", "label": "up"}\n', errors.MissingColumnError, (":3:", "body", "columns.text")),
    Bad("missing label", b'{"text": "x"}\n', errors.MissingColumnError, (":1:", "'label'", "columns.label")),
    Bad("text is a number", b'{"text": 3, "label": "up"}\n', errors.MissingColumnError, (":1:", "int")),
    Bad("empty text", b'{"text": " ", "label": "up"}\n', errors.EmptyTextError, (":1:", "empty")),
    Bad("no label", b'{"text": "x", "label": null}\n', errors.LabelError, (":1:", "nothing")),
    Bad("label is a list", b'{"text": "x", "label": ["up"]}\n', errors.LabelError, (":1:", "list")),
    Bad("unknown label", b'{"text": "x", "label": "left"}\n', errors.LabelError, (":1:", "left", "up", "spec.model.labels")),
    Bad("latin-1", b'{"text": "caf\xe9", "label": "up"}\n', errors.EncodingError, (":1:", "UTF-8")),
    Bad("lone surrogate", b'{"text": "\\ud800", "label": "up"}\n', errors.EncodingError, (":1:", "UTF-8")),
    Bad("empty file", b"", errors.NoExamplesError, ("train.jsonl", "no example")),
    Bad("only blank lines", b"\n\n", errors.NoExamplesError, ("train.jsonl", "no example")),
    Bad("too many commas", b"text,label\na,b,up\n", errors.SyntaxRowError, (":2:", "3 columns", "quotes"), "csv"),
    Bad("open quote", b'text,label\n"a,up\n', errors.SyntaxRowError, (":2:",), "csv"),
    Bad("header only", b"text,label\n", errors.NoExamplesError, ("no example",), "csv"),
    Bad("tab in a text", b"text\tlabel\na\tb\tup\n", errors.SyntaxRowError, (":2:", "3 columns", "tabs"), "tsv"),
    Bad("utf-16", "text,label\na,up\n".encode("utf-16"), errors.EncodingError, (":1:", "UTF-8"), "csv"),
)  # fmt: skip


@pytest.mark.parametrize("bad", BAD, ids=lambda bad: bad.name)
def test_bad_data_is_refused_with_its_place(bad: Bad, tmp_path: Path) -> None:
    """A mistake raises its own kind of ValueError that says file, line, what was expected and where to change it."""
    path = written(tmp_path, bad.content, f"train.{bad.format}")

    with pytest.raises(bad.kind) as caught:
        list(read_examples(path, settings(format=bad.format), labels=("down", "up")))

    assert isinstance(caught.value, ValueError)
    assert [word for word in bad.words if word not in str(caught.value)] == []


def test_message_never_quotes_a_text(tmp_path: Path) -> None:
    """Personal data in a text stays out of messages."""
    path = written(tmp_path, b'{"text": "secret", "label": {"a": "secret"}}\n')

    with pytest.raises(errors.LabelError) as caught:
        list(read_examples(path, settings()))

    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        (
            "a.jsonl",
            b'\xef\xbb\xbf{"text": "one", "label": 1}\r\n\r\n{"text": "t\\u2028wo", "label": true, "more": []}',
        ),
        ("a.csv", b'label,text\r\n1,"one"\r\ntrue,"t\xe2\x80\xa8wo"\r\n'),
        ("a.tsv", b"text\tlabel\none\t1\nt\xe2\x80\xa8wo\ttrue\n"),
    ],
)
def test_formats_read_alike(name: str, content: bytes, tmp_path: Path) -> None:
    """The same examples come from every format, byte order mark, line ends and U+2028 notwithstanding."""
    path = written(tmp_path, content, name)

    found = [(example.text, example.label) for example in read_examples(path, settings(format=name[2:]))]

    assert found == [("one", "1"), ("t\u2028wo", "true")]


def test_csv_row_over_several_lines_is_placed_at_its_first(tmp_path: Path) -> None:
    """Quoted line ends belong to the text, and line numbers stay those of the editor."""
    path = written(tmp_path, b'text,label\n"a\nb\nc",up\nd,down\n', "a.csv")

    found = list(read_examples(path, settings(format="csv")))

    assert found == [
        Example("a\nb\nc", "up", errors.Place("a.csv", 2)),
        Example("d", "down", errors.Place("a.csv", 5)),
    ]


def test_quotes_in_tsv_are_text(tmp_path: Path) -> None:
    """A text that begins with a quotation mark keeps it."""
    path = written(tmp_path, b'text\tlabel\n"so it goes\tup\n', "a.tsv")

    assert [example.text for example in read_examples(path, settings(format="tsv"))] == ['"so it goes']


def test_columns_are_configurable(tmp_path: Path) -> None:
    """spec.data.columns names the text and the label."""
    path = written(tmp_path, b'{"sentence": "x", "class": "up"}\n')

    found = list(read_examples(path, settings(columns={"text": "sentence", "label": "class"})))

    assert [(example.text, example.label) for example in found] == [("x", "up")]


def test_tolerated_rows_are_skipped_with_a_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """As many rows as maxBadRows are left out and named in the log; one more fails the job."""
    path = written(tmp_path, b"broken\n" + GOOD + b'{"text": "", "label": "up"}\n')

    with caplog.at_level(logging.WARNING):
        found = list(read_examples(path, settings(maxBadRows=2)))

    assert len(found) == 1
    assert [record.getMessage().partition(" ")[0] for record in caplog.records] == ["skipped", "skipped"]
    with pytest.raises(errors.EmptyTextError, match=r"train.jsonl:3: .*maxBadRows: 1"):
        list(read_examples(path, settings(maxBadRows=1)))


def test_many_skipped_rows_are_counted_not_listed(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The log names the first skipped rows and then says how many there were."""
    path = written(tmp_path, b"broken\n" * 50 + GOOD)

    with caplog.at_level(logging.WARNING):
        assert len(list(read_examples(path, settings(maxBadRows=50)))) == 1

    assert len(caplog.records) == 11
    assert "skipped 50 rows of train.jsonl" in caplog.records[-1].getMessage()


def test_folder_is_read_in_order_of_names(tmp_path: Path) -> None:
    """A folder is all its files of the format; others are ignored."""
    written(tmp_path, b'{"text": "2", "label": "up"}\n', "b.jsonl")
    written(tmp_path, b'{"text": "1", "label": "up"}\n', "a.jsonl")
    written(tmp_path, b"not data", "README.md")

    assert [example.text for example in read_examples(tmp_path, settings())] == ["1", "2"]


def test_format_without_a_reader_is_refused(tmp_path: Path) -> None:
    """A format that is not read yet says so instead of reading nonsense."""
    with pytest.raises(errors.UnsupportedError, match="conll"):
        list(read_examples(written(tmp_path, GOOD), settings(format="conll")))


def test_labels_are_sorted_and_numbered(tmp_path: Path) -> None:
    """Label numbers do not depend on the order of the rows."""
    path = written(tmp_path, b'{"text": "1", "label": "up"}\n{"text": "2", "label": "down"}\n')
    examples = list(read_examples(path, settings()))

    assert labels.discover(examples) == ("down", "up")
    assert labels.numbers(examples, ("down", "up")).tolist() == [1, 0]


def test_one_label_is_refused(tmp_path: Path) -> None:
    """There is nothing to learn from one label."""
    with pytest.raises(errors.DataError, match="only the label 'up'"):
        labels.discover(read_examples(written(tmp_path, GOOD), settings()))


@pytest.mark.parametrize("codec", ["utf-16", "utf-16-be"])
def test_utf16_is_named_once(codec: str, tmp_path: Path) -> None:
    """A file that a Windows program saved as UTF-16 is told so, and not that its first line is broken JSON."""
    path = tmp_path / "train.jsonl"
    text = '{"text": "x", "label": "a"}\n'
    path.write_bytes(text.encode(codec) if codec == "utf-16" else b"\xfe\xff" + text.encode(codec))
    with pytest.raises(
        errors.EncodingError, match=r"train\.jsonl:1: is UTF-16, expected UTF-8; save the file as UTF-8"
    ):
        list(rows.read(path, "jsonl"))
