"""How both demos end: answers over both protocols, the timeline, and the figures beside the baseline's."""

from typing import Any

import questions
from timeline import Timeline

from bertjob_cli import view


def show(final: dict[str, Any], *, url: str, timeline: Timeline, simple: float) -> None:
    """
    Ask the model served at *url* and print what a run came to.

    Args:
        final: the BertJob that succeeded.
        url: of the model server.
        timeline: of the run.
        simple: the baseline's accuracy as a fraction.

    """
    model = final["spec"]["serving"]["inferenceService"]
    sentences = list(questions.SENTENCES)
    pairs = zip(sentences, questions.v1(url, model, sentences), questions.v2(url, model, sentences), strict=True)
    print(f"\nasked {model} at {url}:")
    for sentence, by_v1, by_v2 in pairs:
        print(f"  {sentence}\n    V1: {by_v1.label} {by_v1.score:.2f}   V2: {by_v2.label} {by_v2.score:.2f}")
    print("\ntimeline:")
    print("\n".join(timeline.lines()))
    int8 = final["status"]["evaluation"]["int8"]["value"]
    print("\nheld-out figures on this CPU:")
    print("\n".join(view.evaluation(final["status"])))
    print(f"  TF-IDF with logistic regression: {simple:.4f}; INT8 is {100 * (int8 - simple):+.1f} points")
