"""
A WordPiece vocabulary, learnt from texts.

The library's trainer numbers the characters inside words in the order of a hash table with a random seed, so two runs on the
same texts give other vocabularies. Here every character gets its number beforehand; from then on nothing is left to chance,
whatever the number of threads.

Source: Schuster and Nakajima 2012, "Japanese and Korean voice search"; Devlin et al. 2018 (arXiv:1810.04805).
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from typing import Final

from tokenizers import Tokenizer
from tokenizers.models import WordPiece
from tokenizers.normalizers import BertNormalizer
from tokenizers.pre_tokenizers import BertPreTokenizer
from tokenizers.trainers import WordPieceTrainer

from bertjob_tasks.errors import NoExamplesError

SPECIAL: Final = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
INNER: Final = "##"
"""Before a piece that does not begin a word."""
_LEAST: Final = 1000
_MOST: Final = 30_522
"""Bounds of the size where none is asked for; the upper one is that of the published English BERT."""
_WORDS_PER_PIECE: Final = 200
_CHARACTERS: Final = 200_000_000
"""Of more text than this an even share is learnt from: more changes the frequent pieces no more, and takes memory."""


def learn(texts: Callable[[], Iterable[str]], *, size: int | None, lowercase: bool) -> tuple[str, ...]:
    """
    Return the pieces in the order of their numbers; the same texts give the same pieces.

    Args:
        texts: gives all texts anew at each call; they are not kept.
        size: most pieces; at most half of them are single characters, the frequent ones. None: one for each character and for
            every 200 words (at least 1,000), 30,522 in all at most.
        lowercase: fold case and accents, as the tokenizer then must.

    Raises:
        NoExamplesError: there is no text.

    """
    normalizer = BertNormalizer(lowercase=lowercase)
    seen, count = _characters(texts())
    if not count:
        raise NoExamplesError("training data: has no text to learn a vocabulary from; check spec.data.train")
    inside, alone = _normalized(seen, normalizer)
    known = _alphabet(inside, alone, most=max(1, ((size or _MOST) - len(SPECIAL)) // 2))
    wanted = size if size is not None else default_size(_words(seen, alone, count), known=len(known))
    tokenizer = Tokenizer(WordPiece(unk_token="[UNK]"))  # noqa: S106  # no password
    tokenizer.normalizer, tokenizer.pre_tokenizer = normalizer, BertPreTokenizer()
    trainer = WordPieceTrainer(
        vocab_size=max(wanted, len(known)),
        special_tokens=known,
        limit_alphabet=0,
        min_frequency=2,
        show_progress=False,
        continuing_subword_prefix=INNER,
    )
    tokenizer.train_from_iterator(_every(texts(), -(-seen.total() // _CHARACTERS)), trainer)
    found = tokenizer.get_vocab(with_added_tokens=True)
    return tuple(sorted(found, key=found.__getitem__))


def default_size(words: int, *, known: int) -> int:
    """Return the size of a vocabulary for a corpus of so many words, with so many *known* single characters."""
    return min(_MOST, max(_LEAST, words // _WORDS_PER_PIECE) + known)


def _characters(texts: Iterable[str]) -> tuple[Counter[str], int]:
    """Return how often each character occurs, and the number of texts."""
    seen, count = Counter[str](), 0
    for text in texts:
        seen.update(text)
        count += 1
    return seen, count


def _normalized(seen: Counter[str], normalizer: BertNormalizer) -> tuple[Counter[str], Counter[str]]:
    """Return the characters that words are made of, and those that are words by themselves: ideographs and punctuation."""
    splitter = BertPreTokenizer()
    inside, alone = Counter[str](), Counter[str]()
    for character, count in seen.items():
        shown = normalizer.normalize_str(character)
        for part in shown.strip():
            cut = shown != shown.strip() or len(splitter.pre_tokenize_str(f"a{part}a")) > 1
            (alone if cut else inside)[part] += count
    return inside, alone


def _words(seen: Counter[str], alone: Counter[str], texts: int) -> int:
    """Return about how many words there are."""
    return texts + alone.total() + sum(count for character, count in seen.items() if character.isspace())


def _alphabet(inside: Counter[str], alone: Counter[str], *, most: int) -> list[str]:
    """Return the special pieces, then the *most* frequent characters in their order, each inside words too where it can be."""
    both = inside + alone
    frequent = sorted(sorted(both, key=lambda one: (-both[one], one))[:most])
    return [*SPECIAL, *frequent, *(f"{INNER}{one}" for one in frequent if one in inside)]


def _every(texts: Iterable[str], step: int) -> Iterator[str]:
    return (text for number, text in enumerate(texts) if number % step == 0)
