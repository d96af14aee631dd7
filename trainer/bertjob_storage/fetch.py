"""
Downloader with the command line of KServe's storage initializer: ``python -m bertjob_storage.fetch SOURCE TARGET``.

More pairs may follow. A source with a ``manifest.json`` is verified file by file; one whose last folder is a sha256 must have
a manifest with that digest. Everything else is copied as it is. Ends 0, or 1 with one line on stderr.

Source: KServe ``cmd/storage-initializer`` (arguments, environment).
"""

import os
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from bertjob_api.manifest import MANIFEST, CorruptError
from bertjob_storage import folders, uris
from bertjob_storage.opening import open_storage
from bertjob_storage.protocol import StorageError

_SHA256: Final = re.compile(r"^[0-9a-f]{64}$")


def fetch(source: str, target: Path, *, env: Mapping[str, str]) -> str:
    """
    Copy *source* into *target* and return a sentence that says what was done.

    Raises:
        ValueError, StorageError: the source cannot be read, or is not what its name or manifest says.

    """
    source = source.rstrip("/")
    storage = open_storage(source, env)
    name = source.rpartition("/")[2]
    expected = name if _SHA256.match(name) else None
    if expected is None and storage.etag(uris.join(source, MANIFEST)) is None:
        copied = folders.download(storage, source, target)
        return f"{source}: copied {len(copied)} files to {target}; it has no {MANIFEST}, so nothing was verified"
    manifest = folders.fetch(storage, source, target, expected)
    return f"{source}: copied {len(manifest.files)} files ({manifest.size_bytes} bytes) to {target}, all verified"


def main(arguments: Sequence[str], env: Mapping[str, str]) -> int:
    """Return the exit code of the downloader called with *arguments*."""
    if not arguments or len(arguments) % 2:
        sys.stderr.write("usage: python -m bertjob_storage.fetch SOURCE TARGET [SOURCE TARGET ...]\n")
        return 1
    for source, target in zip(arguments[::2], arguments[1::2], strict=True):
        try:
            sys.stdout.write(f"{fetch(source, Path(target), env=env)}\n")
        except (StorageError, CorruptError, ValueError) as error:
            sys.stderr.write(f"fetch: {error}\n")
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], os.environ))
