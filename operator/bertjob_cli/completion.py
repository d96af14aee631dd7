"""``bertjob completion``: a script that completes command, options and names at a shell's prompt."""

import argparse
import sys
from collections.abc import Iterator, Mapping
from typing import Any, Final

SHELLS: Final = ("bash", "zsh", "fish")
NAMES: Final = "kubectl get bertjobs --output=jsonpath='{.items[*].metadata.name}' 2>/dev/null"
"""Prints the BertJobs of kubectl's current namespace; nothing where there is no cluster."""
_FILES: Final = frozenset({"file", "files", "images"})
_FOLDERS: Final = frozenset({"state"})
_ON_A_CLUSTER: Final = frozenset({"status", "logs", "report", "predict"})
"""Commands whose ``name`` is that of a BertJob."""
_LOADING: Final = """\
  bash:  source <(bertjob completion bash)              # in ~/.bashrc to keep it
  zsh:   source <(bertjob completion zsh)               # in ~/.zshrc, after compinit
  fish:  bertjob completion fish | source               # or into ~/.config/fish/completions/bertjob.fish
"""


def add_parser(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command."""
    parser = commands.add_parser(
        "completion",
        help="print a script for completion at the prompt",
        description="Print a script that completes bertjob's commands, options, files and BertJob names in a shell.",
        epilog=f"load it:\n{_LOADING}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("shell", choices=SHELLS, help="which shell reads the script")
    parser.set_defaults(main=main)


def main(options: argparse.Namespace) -> int:
    """Print the script."""
    from bertjob_cli.main import parser  # noqa: PLC0415  # main imports every command, this one too

    sys.stdout.write(script(parser(), options.shell))
    return 0


def script(root: argparse.ArgumentParser, shell: str) -> str:
    """Return the completion script of *root* for one of ``SHELLS``."""
    import shtab  # noqa: PLC0415  # for nothing else

    completers = {
        "file": shtab.FILE,
        "folder": shtab.DIRECTORY,
        "job": shtab.cmd(NAMES),
    }
    for command, action in _actions(root):
        if (kind := _kind(command, action)) is not None:
            action.complete = completers[kind]  # type: ignore[attr-defined]  # how shtab is told
    return str(shtab.complete(root, shell=shell))


def _actions(parser: argparse.ArgumentParser, command: str = "") -> Iterator[tuple[str, argparse.Action]]:
    """Yield every option and argument with the name of its command."""
    for action in parser._actions:  # noqa: SLF001  # argparse has no other way to look at a parser
        if isinstance(action, argparse._SubParsersAction):  # noqa: SLF001
            choices: Mapping[str, Any] = action.choices
            for name, child in choices.items():
                yield from _actions(child, command or name)
        else:
            yield command, action


def _kind(command: str, action: argparse.Action) -> str | None:
    """Return what a word of *action* is completed with, beyond its own choices."""
    if action.dest in _FILES or (action.dest == "output" and action.choices is None):
        return "file"
    if action.dest in _FOLDERS:
        return "folder"
    return "job" if action.dest == "name" and command in _ON_A_CLUSTER else None
