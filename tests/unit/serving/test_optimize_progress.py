"""How far the optimize step says it is."""

from pathlib import Path

import httpx
import pytest
from support.s3_gateway import free_port

from bertjob_api.parse import parse
from bertjob_api.progress import Progress
from bertjob_serving.optimize import progress


@pytest.fixture
def board(tmp_path: Path) -> progress.Board:
    """Return a board of two candidates that answer 40 texts each."""
    return progress.Board(folder=tmp_path, methods=("fp32", "dynamic"), texts=40)


def test_texts_are_counted_over_all_candidates(board: progress.Board) -> None:
    """The count goes from 0 to texts times candidates, and says which candidate does what."""
    seen = [board.read()]
    progress.teller(board.folder, "fp32")("30 of 40 answered", 30)
    seen.append(board.read())
    board.finished = 1
    seen.append(board.read())
    progress.teller(board.folder, "dynamic")("timing", 40)
    seen.append(board.read())
    board.finished = 2
    seen.append(board.read())

    assert [(each.step, each.total) for each in seen] == [(0, 80), (30, 80), (40, 80), (80, 80), (80, 80)]
    assert [each.activity for each in seen] == [
        "candidate 1 of 2, fp32: starting",
        "candidate 1 of 2, fp32: 30 of 40 answered",
        "candidate 2 of 2, dynamic: starting",
        "candidate 2 of 2, dynamic: timing",
        "judging the candidates",
    ]


def test_progress_is_answered_while_the_block_runs(board: progress.Board) -> None:
    """GET /progress gives what the operator can read, other paths do not exist, and afterwards nobody listens."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    with progress.served(board, address="127.0.0.1", port=port), httpx.Client(base_url=url) as client:
        assert parse(Progress, client.get("/progress").json(), path="progress") == board.read()
        assert client.get("/").status_code == 404
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"{url}/progress")
