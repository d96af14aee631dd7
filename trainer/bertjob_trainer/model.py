"""
BERT, with the weight names and outputs of ``transformers.BertModel``.

Own code because importing transformers' modelling code costs several times as much start-up as torch itself.

Shapes: B inputs, L tokens, Q of them asking, E model width, H heads, D = E / H head width, F feed-forward width. Between embeddings
and the last layer a batch is (B, L, E), or, where there is padding, (T, E): its T tokens alone (``packing``).

Source: Devlin et al. 2018 (arXiv:1810.04805).
"""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from bertjob_trainer import attention
from bertjob_trainer.bert_config import BertConfig
from bertjob_trainer.dropout import Dropout
from bertjob_trainer.module import Module
from bertjob_trainer.packing import Packing


class _Rows(torch.autograd.Function):  # type: ignore[misc]
    """Rows of a matrix; the gradient is added to those rows of ``weight.grad``, where there is one already."""

    @staticmethod
    def forward(ctx: Any, ids: Tensor, weight: Tensor) -> Tensor:
        """Return ``weight[ids]``, (B, L, E)."""
        ctx.save_for_backward(ids)
        ctx.weight = weight
        return functional.embedding(ids, weight)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[None, None]:
        """Add (B, L, E) to the rows of the ids; nothing is handed back, so no (V, E) tensor of zeros is ever made."""
        (ids,) = ctx.saved_tensors
        (gradient,) = gradients
        ctx.weight.grad.index_add_(0, ids.flatten(), gradient.flatten(0, 1).to(ctx.weight.grad.dtype))
        return None, None


class WordEmbedding(nn.Embedding):  # type: ignore[misc]
    """
    Word vectors whose backward pass touches the rows of the batch only, once ``weight.grad`` exists.

    A dense gradient of 30,522 x 384 for each micro-batch took 34 ms where the rows of 8 texts of 44 tokens took 0.05 ms
    (measured on one core; forward and backward of a whole layer are of the size of the former). Padding needs no special
    care: nothing attends to it, so its gradient is 0.
    """

    def forward(self, ids: Tensor) -> Tensor:
        """Return vectors ``(B, L, E)`` of ids ``(B, L)``."""
        if self.weight.grad is None or not torch.is_grad_enabled():
            return super().forward(ids)
        return _Rows.apply(ids, self.weight)


class Embeddings(Module):
    """Word, position and segment vectors, added and normalized."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        width = config.hidden_size
        self.word_embeddings = WordEmbedding(config.vocab_size, width, padding_idx=config.pad_token_id)
        self.position_embeddings = nn.Embedding(config.max_position_embeddings, width)
        self.token_type_embeddings = nn.Embedding(config.type_vocab_size, width)
        self.LayerNorm = nn.LayerNorm(width, eps=config.layer_norm_eps)
        self.dropout = Dropout(config.hidden_dropout_prob)

    def forward(self, ids: Tensor, type_ids: Tensor, packing: Packing | None) -> Tensor:
        """Return vectors ``(B, L, E)`` or ``(T, E)`` of ids ``(B, L)``."""
        positions = self.position_embeddings.weight[: ids.shape[1]]
        vectors = self.word_embeddings(ids) + positions + self.token_type_embeddings(type_ids)
        if packing is not None:
            vectors = packing.pack(vectors)
        return self.dropout(self.LayerNorm(vectors))


class SelfAttention(Module):
    """Scaled dot-product attention of some tokens to all."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        width = config.hidden_size
        self.query = nn.Linear(width, width)
        self.key = nn.Linear(width, width)
        self.value = nn.Linear(width, width)
        self.num_heads = config.num_attention_heads
        self.share = (0, 1)
        """Which share of all heads these are, and how many shares there are."""
        self.dropout = config.attention_probs_dropout_prob

    def forward(self, asking: Tensor, x: Tensor, packing: Packing | None) -> Tensor:
        """Return mixed values for the asking ones, in the shape of *asking*: ``(B, Q, E)``, or packed ``(T, E)`` or ``(B, E)``."""
        q, k, v = self.query(asking), self.key(x), self.value(x)
        dropout = self.dropout if self.training else 0.0
        if packing is None:
            return self._mixed(q, k, v, mask=None, dropout=dropout)
        all_ask = len(q) == len(k)  # else the first ones do
        if all_ask and q.device.type == "cuda":
            return attention.attend_packed(q, k, v, packing=packing, heads=self.num_heads, dropout=dropout)
        q = packing.unpack(q) if all_ask else q[:, None]
        k, v, mask = packing.unpack(k), packing.unpack(v), packing.mask[:, None, None, :]
        mixed = self._mixed(q, k, v, mask=mask, dropout=dropout)
        return packing.pack(mixed) if all_ask else mixed[:, 0]

    def _mixed(self, q: Tensor, k: Tensor, v: Tensor, *, mask: Tensor | None, dropout: float) -> Tensor:
        """Return ``(B, Q, E)`` of ``(B, Q, E)`` and twice ``(B, L, E)``."""
        q, k, v = (self._split(part) for part in (q, k, v))  # (B, H, Q or L, D)
        mixed = attention.attend(q, k, v, mask=mask, dropout=dropout, share=self.share)
        return mixed.transpose(1, 2).flatten(2)

    def _split(self, x: Tensor) -> Tensor:
        return x.unflatten(-1, (self.num_heads, -1)).transpose(1, 2)


class Residual(Module):
    """A linear layer, added to what came before and normalized."""

    def __init__(self, inputs: int, config: BertConfig) -> None:
        super().__init__()
        self.dense = nn.Linear(inputs, config.hidden_size)
        self.LayerNorm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.dropout = Dropout(config.hidden_dropout_prob)

    def forward(self, x: Tensor, before: Tensor) -> Tensor:
        """Return ``(B, L, E)``."""
        return self.LayerNorm(self.dropout(self.dense(x)) + before)


class Attention(Module):
    """Self-attention with its output projection."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        self.self = SelfAttention(config)
        self.output = Residual(config.hidden_size, config)

    def forward(self, asking: Tensor, x: Tensor, packing: Packing | None) -> Tensor:
        """Return new vectors of the asking tokens."""
        return self.output(self.self(asking, x, packing), asking)


class Intermediate(Module):
    """First half of the feed-forward layer."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        self.dense = nn.Linear(config.hidden_size, config.intermediate_size)

    def forward(self, x: Tensor) -> Tensor:
        """Return ``(B, L, F)``."""
        return functional.gelu(self.dense(x))


class Layer(Module):
    """One transformer layer."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        self.attention = Attention(config)
        self.intermediate = Intermediate(config)
        self.output = Residual(config.intermediate_size, config)

    def forward(self, asking: Tensor, x: Tensor, packing: Packing | None) -> Tensor:
        """Return new vectors of the asking tokens, which are among ``x``."""
        attended = self.attention(asking, x, packing)
        return self.output(self.intermediate(attended), attended)


class Encoder(Module):
    """All layers."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        self.layer = nn.ModuleList(Layer(config) for _ in range(config.num_hidden_layers))
        self.part = slice(None)
        """The layers that this process computes; others may lie in other processes."""

    def forward(self, x: Tensor, packing: Packing | None, *, only_first: bool) -> Tensor:
        """Return ``(B, L, E)``, 0 at padding, or ``(B, 1, E)`` of the first tokens only."""
        *before, last = self.layer[self.part]
        for layer in before:
            x = layer(x, x, packing)
        if packing is None:
            return last(x[:, :1] if only_first else x, x, None)
        if only_first:
            return last(x.index_select(0, packing.firsts), x, packing)[:, None]
        return packing.unpack(last(x, x, packing))


class Pooler(Module):
    """The first token's vector, once more transformed."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        self.dense = nn.Linear(config.hidden_size, config.hidden_size)

    def forward(self, x: Tensor) -> Tensor:
        """Return ``(B, E)`` of hidden states ``(B, L, E)``."""
        return torch.tanh(self.dense(x[:, 0]))


class Bert(Module):
    """Token ids to hidden states and a pooled vector."""

    def __init__(self, config: BertConfig, *, with_pooler: bool = True) -> None:
        super().__init__()
        self.embeddings = Embeddings(config)
        self.encoder = Encoder(config)
        if with_pooler:
            self.pooler = Pooler(config)

    def forward(self, ids: Tensor, type_ids: Tensor, mask: Tensor | None, *, only_first: bool = False) -> Tensor:
        """
        Return hidden states ``(B, L, E)``, 0 at padding.

        Args:
            ids: ``(B, L)`` token ids, or ``(B, L, E)`` hidden states where the layers before lie in another process.
            type_ids: ``(B, L)`` segment of each token.
            mask: ``(B, L)``, True at tokens; None: nothing is padding, which is faster.
            only_first: return ``(B, 1, E)`` of the first tokens, which is all that classification reads: the last layer then
                skips five sixths of its work, the same for the outputs that remain.

        """
        packing = None if mask is None else Packing.of(mask)
        if not ids.is_floating_point():
            x = self.embeddings(ids, type_ids, packing)
        else:
            x = ids if packing is None else packing.pack(ids)
        return self.encoder(x, packing, only_first=only_first)

    def every_layer(self, ids: Tensor, type_ids: Tensor, mask: Tensor | None) -> Iterator[Tensor]:
        """Yield ``(B, L, E)``, 0 at padding, of the embeddings and after each layer; arguments as in ``forward``."""
        packing = None if mask is None else Packing.of(mask)
        x = self.embeddings(ids, type_ids, packing)
        yield x if packing is None else packing.unpack(x)
        for layer in self.encoder.layer:
            x = layer(x, x, packing)
            yield x if packing is None else packing.unpack(x)


def initialize(module: nn.Module, *, std: float) -> None:
    """
    Fill every weight: normal with deviation *std*, biases 0, LayerNorm 1 and 0, the padding vector 0.

    Reads torch's global generator, in order of the modules' names; seed it first.

    Source: Devlin et al., google-research/bert, modeling.py (truncation of the normal is left out, as in transformers).
    """
    with torch.no_grad():
        for part in module.modules():
            if isinstance(part, nn.LayerNorm):
                part.weight.fill_(1.0)
                part.bias.zero_()
            elif isinstance(part, nn.Linear | nn.Embedding):
                part.weight.normal_(0.0, std)
                if isinstance(part, nn.Linear):
                    part.bias.zero_()
                elif part.padding_idx is not None:
                    part.weight[part.padding_idx].zero_()
