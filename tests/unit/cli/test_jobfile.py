"""Files become jobs, or one sentence for each mistake."""

from pathlib import Path

import pytest

from bertjob_cli import jobfile

JOB = """\
apiVersion: bertjob.dev/v1alpha1
kind: BertJob
metadata: {name: a}
spec:
  model: {source: "preset://bert-tiny", task: sequence-classification}
  data: {train: "storage://a", validation: "storage://b"}
  training: {learningRate: 2e-5}
  storage: {prefix: "s3://bucket/a"}
"""


def _file(folder: Path, text: str) -> Path:
    path = folder / "job.yaml"
    path.write_text(text)
    return path


@pytest.mark.parametrize(("written", "value"), [("2e-5", 2e-5), ("1E3", 1e3), ("1.5e-4", 1.5e-4), (".5e1", 5.0)])
def test_floats_are_read_as_kubectl_reads_them(written: str, value: float, tmp_path: Path) -> None:
    """An exponent without a point makes a number, not a text as in YAML 1.1."""
    found = jobfile.read(_file(tmp_path, JOB.replace("2e-5", written)))

    assert found["spec"]["training"]["learningRate"] == value


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("spec: [", "is not YAML"),
        ("", "holds 0 documents"),
        (f"{JOB}---\n{JOB}", "holds 2 documents"),
        (JOB.replace("learningRate", "learningrate"), "spec.training.learningrate: unknown field; did you mean"),
        (JOB.replace("s3://bucket/a", "ftp://x"), "spec.storage.prefix: got 'ftp://x'"),
        (JOB.replace("learningRate: 2e-5", "elastic: {min: 4, max: 2}"), "min is above max"),
        (JOB.replace("storage://a", "file:///a"), "file:// is for local runs"),
    ],
    ids=["not yaml", "empty", "two", "unknown field", "bad uri", "min above max", "local file"],
)
def test_mistake_names_the_file_and_what_is_wrong(text: str, said: str, tmp_path: Path) -> None:
    """Each line of the error begins with the file's name and says what was expected."""
    path = _file(tmp_path, text)

    with pytest.raises(jobfile.JobFileError) as caught:
        jobfile.parse(path, jobfile.read(path), local=False)

    assert all(line.startswith(str(path)) for line in caught.value.lines)
    assert said in str(caught.value)


def test_missing_file_is_a_mistake(tmp_path: Path) -> None:
    """A file that is not there is named."""
    with pytest.raises(jobfile.JobFileError, match=r"nowhere\.yaml: cannot be read"):
        jobfile.read(tmp_path / "nowhere.yaml")
