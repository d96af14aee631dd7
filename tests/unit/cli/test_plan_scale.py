"""The forecast of the speed-up on more nodes."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from support.jobs import a_job

from bertjob_cli import main, plan_scale, scaling
from bertjob_cli.scaling import PRESETS, Setting
from bertjob_trainer import buckets

BASE = Setting(
    sizes=PRESETS["bert-base"], nodes=4, gigabits=10, batch_size=128, micro_batch_size=8, tokens=128, rate=4096
)
LINK = 1.25e9 * 1448 / 1538


def test_presets_have_the_published_sizes() -> None:
    """BERT-base has 109.5 million parameters and BERT-large 335 million (Source: the models' Hugging Face checkpoints)."""
    assert PRESETS["bert-base"].parameters == pytest.approx(109_482_240, rel=1e-4)
    assert PRESETS["bert-large"].parameters == pytest.approx(335_141_888, rel=1e-4)


def test_one_node_is_as_fast_as_itself() -> None:
    """One node sends nothing and has a speed-up of 1."""
    found = scaling.forecast(replace(BASE, nodes=1))
    assert (found.network, found.speed_up, found.alone) == (0, 1, 4.0)


def test_a_sum_hides_behind_the_last_backward_pass() -> None:
    """Of 1.5 times the dense gradients a quarter of a node's backward pass hides its part, of larger micro-batches all but a bucket."""
    found = scaling.forecast(BASE)
    dense, words = BASE.sizes.dense, scaling.words_in(BASE) * 768
    hidden = 0.25 * 2 / 3 * 11 / 12
    assert found.computing == 1.0
    assert found.network == pytest.approx(1.5 * (dense + words) * 4 / LINK)
    assert found.exposed == pytest.approx(found.network - hidden)
    assert found.speed_up == pytest.approx(4 / (1 + found.exposed))

    wide = scaling.forecast(replace(BASE, micro_batch_size=32))
    assert wide.network == found.network
    assert wide.exposed == pytest.approx(1.5 * (scaling.BUCKET_NUMBERS + words) * 4 / LINK)
    ((text, after), *_) = scaling.changes(BASE, goal=3.9)
    assert "microBatchSize: 32" in text
    assert after == replace(BASE, micro_batch_size=32)


def test_buckets_are_the_trainers() -> None:
    """The forecast knows how much the trainer sums at once."""
    assert scaling.BUCKET_NUMBERS == buckets.BUCKET_NUMBERS


def test_tied_word_vectors_are_sent_whole() -> None:
    """Where words are filled in, every word vector has a gradient, and so has the head that names words."""
    found = scaling.forecast(replace(BASE, is_tied=True))
    numbers = BASE.sizes.parameters + 768 * 768 + 3 * 768 + 30_522
    assert found.bytes_per_node == pytest.approx(1.5 * numbers * 4)


def test_uneven_micro_batches_are_the_limit() -> None:
    """Five micro-batches on four nodes take two turns; the network is not what to change, and smaller ones help."""
    uneven = replace(BASE, batch_size=40, gigabits=400)
    found = scaling.forecast(uneven)
    assert found.speed_up == pytest.approx(2.5, rel=0.03)
    assert "do not divide evenly" in scaling.limit(found, nodes=4)
    (text, after), *_ = scaling.changes(uneven, goal=3.9)
    assert "microBatchSize: 2" in text
    assert scaling.forecast(after).speed_up > 3.8


def test_half_precision_is_proposed_where_it_is_enough() -> None:
    """Sums in bf16 send half; where that reaches the goal it is named before anything that costs more."""
    close = replace(BASE, micro_batch_size=32, rate=8192)
    assert scaling.forecast(replace(close, gradient_bytes=2)).network == scaling.forecast(close).network / 2
    (text, after), *_ = scaling.changes(close, goal=3.75)
    assert "bf16" in text
    assert scaling.forecast(close).speed_up < 3.75 <= scaling.forecast(after).speed_up


def test_changes_reach_the_goal() -> None:
    """Each proposed batch or network gives at least the goal by the same model."""
    slow = replace(BASE, rate=8192)
    assert scaling.forecast(slow).speed_up < 3
    found = scaling.changes(slow, goal=3.9)
    assert len(found) == 3
    assert all(scaling.forecast(after).speed_up >= 3.9 for _, after in found)


def test_command_tells_speed_up_limit_and_change(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The command reads batch and model from the file; a wrong network or an unknown model is one clear line."""
    file = tmp_path / "job.yaml"
    file.write_text(yaml.safe_dump(a_job(model={"source": "preset://bert-base"}, training={"batchSize": 32})))
    argv = ["plan-scale", str(file), "--nodes", "4", "--network", "10GbE", "--tokens-per-second", "4096"]
    assert main.main(argv) == 0
    shown = capsys.readouterr().out
    assert "of 4 on 10 GbE" in shown
    assert "change         batchSize:" in shown
    assert main.main([*argv, "-o", "json"]) == 0
    value = json.loads(capsys.readouterr().out)
    assert value["alone"] == pytest.approx(32 * 128 / 4096)
    assert 1 < value["speedUp"] < 4

    assert main.main([*argv[:-1], "0"]) == 2
    assert main.main(["plan-scale", str(file), "--network", "fast"]) == 2
    assert "expected a rate in Gbit/s such as 10GbE" in capsys.readouterr().err
    file.write_text(yaml.safe_dump(a_job(model={"source": "s3://bucket/model"})))
    assert main.main(["plan-scale", str(file)]) == 2
    assert "--model bert-base" in capsys.readouterr().err


@pytest.mark.parametrize("option", ["--tokens", "--tokens-per-second"])
@pytest.mark.parametrize("value", ["-5", "0", "nan", "inf"])
def test_numbers_that_are_none_are_refused(
    option: str, value: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Tokens and rates are finite and above 0; anything else is one line that names the option."""
    file = tmp_path / "job.yaml"
    file.write_text(yaml.safe_dump(a_job(model={"source": "preset://bert-base"})))

    assert main.main(["plan-scale", str(file), option, value]) == 2
    assert f"{option}: got {value}, expected a finite number above 0" in capsys.readouterr().err


def test_rates_of_links() -> None:
    """A link is written as people write it."""
    assert [plan_scale.gigabits_of(text) for text in ("10GbE", "25 Gbit", "2.5G")] == [10, 25, 2.5]
