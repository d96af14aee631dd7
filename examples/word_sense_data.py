"""
Data for examples/tasks/word-sense.yaml, which tells the meaning that a word has in its sentence.

A row is a sentence with the word between quotation marks, one meaning of the word, and whether that is the one. All sentences of a
word are made of a few written here; the held-out ones are made of others than the training ones.

Source of the form: Huang et al. 2019, "GlossBERT" (arXiv:1908.07245), "weak supervision".
"""

import argparse
import itertools
import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final, NamedTuple

from bertjob_storage import open_storage
from bertjob_storage.protocol import StorageError

WHO: Final = ("Ada", "My neighbour", "The old man", "Somebody", "A tourist", "Our teacher")
HELD_OUT: Final = 2
"""The last so many sentences of each meaning."""

SENSES: Final[Mapping[str, Mapping[str, tuple[str, ...]]]] = {
    "bank": {
        "a house that keeps and lends money": (
            "borrowed money from the {} to buy a house",
            "opened a savings account at the {}",
            "asked the {} for a loan",
            "paid the cheque in at the {}",
            "works as a cashier in a {}",
            "lost the key to the safe of the {}",
        ),
        "the land along a river": (
            "sat on the {} and watched the water",
            "tied the boat to a tree on the {}",
            "went fishing from the grassy {}",
            "swam across the stream to the other {}",
            "saw ducks on the muddy {}",
            "walked along the {} of the river",
        ),
    },
    "bat": {
        "a stick to hit a ball with": (
            "swung the {} and missed the ball",
            "bought a new {} before the match",
            "broke the wooden {} in the last game",
            "hit the ball hard with the {}",
            "left the {} and the gloves on the field",
            "held the {} with both hands and waited for the throw",
        ),
        "a flying animal of the night": (
            "saw a {} fly out of the cave at dusk",
            "heard that a {} finds insects by its echo",
            "found a {} asleep under the roof",
            "is afraid of the {} in the attic",
            "watched a {} hunt moths in the dark",
            "photographed the wings of a {}",
        ),
    },
    "spring": {
        "the season after winter": (
            "plants the garden in {}",
            "likes the first warm days of {}",
            "waits for {} after the long winter",
            "saw the trees bloom in {}",
            "paints the house every {}",
            "met us in the {} when the snow was gone",
        ),
        "a coil of metal that gives way": (
            "replaced the broken {} of the mattress",
            "pressed the {} down until it clicked",
            "oiled the {} of the clock",
            "found a metal {} inside the pen",
            "bent the {} of the trap",
            "heard the {} of the old sofa squeak",
        ),
    },
    "seal": {
        "an animal of the sea with flippers": (
            "saw a {} sleeping on the rocks by the sea",
            "fed fish to the {} in the zoo",
            "watched a {} dive under the ice",
            "photographed a {} and its pup on the beach",
            "heard the {} bark at the waves",
            "swam beside a grey {} in the bay",
        ),
        "a stamp that closes or proves a document": (
            "broke the {} and read the letter",
            "pressed the {} into the hot wax",
            "checked the {} on the contract",
            "put the royal {} on the document",
            "noticed that the {} of the envelope was torn",
            "signed the deed beside the {} of the city",
        ),
    },
    "crane": {
        "a tall bird with long legs": (
            "saw a {} standing in the marsh",
            "watched a {} spread its wings and fly south",
            "found the nest of a {} in the reeds",
            "heard the call of a {} over the lake",
            "drew the feathers of a {}",
            "fed a white {} by the pond",
        ),
        "a machine that lifts loads": (
            "drives the {} at the building site",
            "lifted the steel beam with a {}",
            "rented a {} to unload the ship",
            "saw the {} swing a container over the harbour",
            "repaired the cable of the {}",
            "climbed into the cabin of the {}",
        ),
    },
}


class Row(NamedTuple):
    """One sentence and one meaning."""

    text: str
    text_pair: str
    label: str


def rows(*, held_out: bool) -> Iterator[Row]:
    """Yield a row for each sentence and each meaning of its word."""
    for word, senses in SENSES.items():
        for meaning, sentences in senses.items():
            chosen = sentences[-HELD_OUT:] if held_out else sentences[:-HELD_OUT]
            for who, sentence in itertools.product(WHO, chosen):
                text = f"{who} {sentence}.".format(f'" {word} "')
                yield from (Row(text, f"{word}: {other}", "yes" if other == meaning else "no") for other in senses)


def main() -> int:
    """Write both files; 1 when they cannot be written."""
    parser = argparse.ArgumentParser(description="Write train.jsonl and validation.jsonl.")
    parser.add_argument("--to", required=True, metavar="DIR|s3://...", help="where to put both files")
    to: str = parser.parse_args().to
    base = to.rstrip("/") if "://" in to else Path(to).absolute().as_uri()
    try:
        storage = open_storage(base)
        for name, held_out in (("train", False), ("validation", True)):
            lines = [json.dumps(row._asdict()) for row in rows(held_out=held_out)]
            storage.put(f"{base}/{name}.jsonl", ("\n".join(lines) + "\n").encode())
            print(f"{to}: {len(lines)} rows in {name}.jsonl")
    except (OSError, ValueError, StorageError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
