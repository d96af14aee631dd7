"""The checkpoints of one training run, as a training process uses them."""

import logging
import shutil
import tempfile
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

import torch

from bertjob_api.layout import checkpoint_root, step_folder
from bertjob_api.manifest import CheckpointManifest, CorruptError
from bertjob_api.progress import Committed
from bertjob_storage import uris
from bertjob_storage.protocol import AccessError, FullError, NotFoundError, Storage, StorageError
from bertjob_trainer.checkpoint import load, save
from bertjob_trainer.checkpoint.layout import FencedError
from bertjob_trainer.checkpoint.snapshot import Buffers

_log = logging.getLogger(__name__)
_HOPELESS: Final = (AccessError, FencedError, FullError)
"""Failures of an upload that end training at once; after others the next checkpoint is tried."""


class Checkpoints:
    """
    Saves in the background and finds the newest intact checkpoint.

    One process of a run saves; any process may load. State is a flat mapping of names to tensors plus JSON metadata.
    """

    def __init__(self, storage: Storage, run_uri: str, keep: int, attempt: int, run: str) -> None:
        """
        Prepare; nothing is read or written yet.

        Args:
            storage: serves *run_uri*.
            run_uri: folder of the run.
            keep: newest committed checkpoints that are kept, at least 1.
            attempt: ordinal of the training attempt; an older one than has written already is refused.
            run: name of the run; checkpoints of another one are never used.

        """
        self._storage = storage
        self._run_uri = run_uri
        self._root = checkpoint_root(run_uri)
        self._keep = keep
        self._attempt = attempt
        self._run = run
        self._records: Mapping[str, bytes] = {}
        self._damaged: set[int] = set()
        self._buffers = Buffers()
        self._uploads = ThreadPoolExecutor(1, thread_name_prefix="checkpoint")
        self._copies = ThreadPoolExecutor(1, thread_name_prefix="snapshot")
        self._copying: Future[dict[str, torch.Tensor]] | None = None
        self._pending: Future[Committed] | None = None
        self._committed: Committed | None = None
        self._verified: tuple[CheckpointManifest, Path] | None = None

    @property
    def committed(self) -> Committed | None:
        """Return the newest checkpoint that this process committed, without waiting and without raising."""
        if self._pending is not None and self._pending.done() and self._pending.exception() is None:
            self._collect()
        return self._committed

    def latest(self) -> CheckpointManifest | None:
        """
        Return the newest checkpoint of this run that is committed and intact, or None.

        Its files are downloaded and verified on the way and kept for ``load``; damaged ones are passed over with a warning.

        Raises:
            StorageError: storage does not answer; a checkpoint may exist.

        """
        while True:
            found = load.newest(self._storage, self._root, run=self._run, damaged=self._damaged)
            self._damaged.update(found.damaged)
            if found.manifest is None:
                return None
            try:
                self._verify(found.manifest)
            except (CorruptError, NotFoundError) as error:
                load.warn(self._folder(found.manifest.step), error)
                self._damaged.add(found.manifest.step)
            else:
                return found.manifest

    def at(self, step: int) -> CheckpointManifest:
        """Return the committed checkpoint of one step. Raises NotFoundError, CorruptError, StorageError."""
        return load.at(self._storage, self._root, step=step, run=self._run)

    def load(
        self, manifest: CheckpointManifest, into: Path | None = None
    ) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
        """
        Return tensors (on the CPU) and metadata of a checkpoint.

        Args:
            manifest: as ``latest`` gave it; its files are then here already, else they are downloaded and verified.
            into: folder to keep the downloaded files in; None: they are removed.

        Raises:
            CorruptError, NotFoundError: it is damaged or gone; ``latest`` then gives the next older one.

        """
        try:
            folder = self._verify(manifest)
            state = load.read(manifest, folder=folder)
        except (CorruptError, NotFoundError):
            self._damaged.add(manifest.step)
            raise
        if into is not None:
            shutil.copytree(folder, into, dirs_exist_ok=True)
        self._forget()
        return state

    def enclose(self, records: Mapping[str, bytes]) -> None:
        """Take files of the run, by name below its folder, that are written before the next save is committed."""
        self._records = {uris.join(self._run_uri, name): content for name, content in records.items()}

    def save(
        self,
        state: Mapping[str, torch.Tensor],
        meta: Mapping[str, Any],
        *,
        step: int,
        total_steps: int,
        world_size: int,
        samples_seen: int,
    ) -> None:
        """
        Copy *state* and commit the copy, both in the background; waits first while the previous commit is still under way.

        Args:
            state: tensors on any device; they may change once ``copied`` has returned.
            meta: JSON values, such as the position in the data; ``pinned`` lists older steps that retention must leave.
            step: optimizer steps that *state* contains.
            total_steps: optimizer steps of the run.
            world_size: processes that train together.
            samples_seen: examples that went into *state*.

        Raises:
            AccessError, FencedError, FullError: the previous one failed in a way that the next one would too. Other failures are logged
                and ``wait`` raises the newest.

        """
        try:
            self._collect()
        except _HOPELESS:
            raise
        except StorageError as error:
            _log.warning("checkpoint before step %d was not saved: %s", step, error)
        header = CheckpointManifest(
            step=step,
            total_steps=total_steps,
            run=self._run,
            attempt=self._attempt,
            world_size=world_size,
            samples_seen=samples_seen,
            files=(),
        )
        self._copying = self._copies.submit(self._buffers.fill, state)
        if any(tensor.is_cuda for tensor in state.values()):
            self.copied()  # in order with the steps, which are in another thread's stream
        parts = (header, self._copying, dict(meta), self._records)
        self._records = {}
        self._pending = self._uploads.submit(self._write, *parts, damaged=frozenset(self._damaged))

    def copied(self) -> None:
        """Return once the newest save has its copy: the state may change from now on."""
        if self._copying is not None:
            copying, self._copying = self._copying, None
            copying.result()

    def _write(  # one save, in the background
        self,
        header: CheckpointManifest,
        copying: "Future[dict[str, torch.Tensor]]",
        meta: dict[str, Any],
        records: Mapping[str, bytes],
        *,
        damaged: frozenset[int],
    ) -> Committed:
        draft = save.Draft(header=header, tensors=copying.result(), meta=meta, records=records)
        return save.write(self._storage, self._root, draft, keep=self._keep, damaged=damaged)

    def wait(self) -> Committed | None:
        """Return the newest commit of this process after the upload under way, or None; raises what that upload failed with."""
        self._collect()
        return self._committed

    def _collect(self) -> None:
        """Wait for the upload under way, if there is one, and take its outcome; raises what it failed with."""
        if self._pending is not None:
            pending, self._pending = self._pending, None
            self._committed = pending.result()
            self._damaged.discard(self._committed.step)

    def _folder(self, step: int) -> str:
        return uris.join(self._root, step_folder(step))

    def _verify(self, manifest: CheckpointManifest) -> Path:
        """Return the local folder with the checkpoint's verified files."""
        if self._verified is not None and self._verified[0] == manifest:
            return self._verified[1]
        self._forget()
        scratch = Path(tempfile.mkdtemp(prefix="bertjob-resume-"))
        try:
            load.download(self._storage, self._folder(manifest.step), manifest, into=scratch)
            load.read_meta(manifest, folder=scratch)
        except BaseException:
            shutil.rmtree(scratch)
            raise
        self._verified = (manifest, scratch)
        return scratch

    def _forget(self) -> None:
        if self._verified is not None:
            shutil.rmtree(self._verified[1])
            self._verified = None
