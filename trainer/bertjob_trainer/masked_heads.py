"""
Heads that fill in hidden tokens, and tell whether one text comes after another.

Weight names and outputs are those of transformers. The output layer's matrix is that of the word vectors, so it is no weight of
its own. Shapes: B inputs, L tokens, M of all B L chosen, E model width, V words.

Source: Devlin et al. 2018 (arXiv:1810.04805), 3.1.
"""

from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from bertjob_trainer import model
from bertjob_trainer.bert_config import BertConfig
from bertjob_trainer.module import Module, Unfilled


class Transform(Module):
    """One more layer before the words."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        self.dense = nn.Linear(config.hidden_size, config.hidden_size)
        self.LayerNorm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)

    def forward(self, x: Tensor) -> Tensor:
        """Return ``(M, E)``."""
        return self.LayerNorm(functional.gelu(self.dense(x)))


class Predictions(Module):
    """Vectors to a logit for each word."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(config.vocab_size))
        self.transform = Transform(config)

    def forward(self, x: Tensor, words: Tensor) -> Tensor:
        """Return ``(M, V)`` of vectors ``(M, E)``, with the word vectors ``(V, E)``."""
        return functional.linear(self.transform(x), words, self.bias)


class LanguageHead(Module):
    """What transformers calls ``cls``."""

    def __init__(self, config: BertConfig, *, with_order: bool) -> None:
        super().__init__()
        self.predictions = Predictions(config)
        if with_order:
            self.seq_relationship = nn.Linear(config.hidden_size, 2)


class MaskedModel(Module):
    """``transformers.BertForMaskedLM``, with logits of the chosen tokens only: of 15 in 100 the others would be thrown away."""

    is_tied: ClassVar = True
    with_order: ClassVar = False

    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        self.bert = model.Bert(config, with_pooler=self.with_order)
        self.cls = LanguageHead(config, with_order=self.with_order)

    def forward(self, ids: Tensor, type_ids: Tensor, mask: Tensor | None, chosen: Tensor) -> Tensor:
        """Return logits ``(M, V)``; *chosen* ``(M,)`` are places among all B L tokens, the rest is as in ``model.Bert``."""
        return self.words(self.bert(ids, type_ids, mask), chosen)

    def words(self, x: Tensor, chosen: Tensor) -> Tensor:
        """Return logits ``(M, V)`` of hidden states ``(B, L, E)``."""
        return self.cls.predictions(x.flatten(0, 1)[chosen], self.bert.embeddings.word_embeddings.weight)


class PretrainingModel(MaskedModel):
    """``transformers.BertForPreTraining``."""

    with_order: ClassVar = True

    def forward(self, ids: Tensor, type_ids: Tensor, mask: Tensor | None, chosen: Tensor) -> tuple[Tensor, Tensor]:
        """Return logits ``(M, V)``, and ``(B, 2)``: the second text comes after the first one, or it does not."""
        x = self.bert(ids, type_ids, mask)
        return self.words(x, chosen), self.cls.seq_relationship(self.bert.pooler(x))


def build(config: BertConfig, *, seed: int, with_order: bool) -> MaskedModel:
    """Return a model with random weights that *seed* alone decides; *with_order*: with the head for pairs of texts."""
    kind = PretrainingModel if with_order else MaskedModel
    with Unfilled():
        built = kind(config)
    torch.manual_seed(seed)
    model.initialize(built, std=config.initializer_range)
    with torch.no_grad():
        built.cls.predictions.bias.zero_()
    return built
