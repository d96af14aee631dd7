"""What stands for a container's image: this machine's interpreter, or a command that somebody mapped. Pure."""

import fnmatch
import shlex
import sys
from collections.abc import Mapping
from typing import Any, Final

from bertjob_api import commands

_INTERPRETERS = ("python", "python3")

STORAGE_INITIALIZER: Final = "*storage-initializer*"
"""Pattern for the image of the downloader that KServe injects; it has no command."""


class ImageError(Exception):
    """Nothing is known to run for an image; the message goes into the container's waiting state."""


def argv(container: Mapping[str, Any], images: Mapping[str, str]) -> list[str]:
    """
    Return program and arguments of a container, before ``$(NAME)`` is replaced.

    Args:
        container: core/v1 Container.
        images: pattern of image names to the command line that stands for the image's own command; the first that fits.

    Raises:
        ImageError: the container states no command and its image is not mapped.

    """
    arguments = list(container.get("args", ()))
    command = list(container.get("command", ())) or _mapped(container.get("image", ""), images)
    if not command:
        raise ImageError(
            f"image {container.get('image')!r}: images are not pulled for local processes and this one is not mapped; "
            "give the container a command, or map the image"
        )
    if command[0] in _INTERPRETERS:
        command[0] = sys.executable
    return command + arguments


def _mapped(image: str, images: Mapping[str, str]) -> list[str]:
    for pattern, line in images.items():
        if fnmatch.fnmatchcase(image, pattern):
            return shlex.split(line)
    return list(commands.fetch().argv) if fnmatch.fnmatchcase(image, STORAGE_INITIALIZER) else []
