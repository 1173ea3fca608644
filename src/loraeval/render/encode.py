"""Prompts of any length to text embeddings, in 75-token chunks as sd-scripts trains them.

A prompt's tokens are cut into chunks of 75. Each chunk goes through the text encoder as its own
77-token sequence: BOS, the tokens, EOS, padding. The hidden states are joined, with BOS of the
first chunk and the last state of the last chunk kept and those in between dropped: ``75·n + 2``
states (sd-scripts, ``max_token_length`` 75, 150, 225). The shorter of prompt and negative prompt
is filled with empty chunks. SDXL takes the last but one layer of both encoders side by side, and
the pooled state of the first chunk of the second.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from loraeval.render.pixels import to_device

if TYPE_CHECKING:
    import torch

ROWS = 16
"""77-token rows in one pass of a text encoder on a GPU; a CPU takes them one by one."""

CACHE_BYTES = 256 << 20
"""Embeddings kept on the device: about 280 texts of three chunks for SDXL in float16."""

CHUNK = 75
"""Tokens of a prompt in one pass of a text encoder; BOS and EOS make it 77."""


@dataclass(frozen=True, slots=True)
class Embedding:
    """``states`` float [1, 75·n + 2, width]; ``pooled`` [1, width] for SDXL, else None."""

    states: torch.Tensor
    pooled: torch.Tensor | None = None

    @property
    def nbytes(self) -> int:
        """Bytes of memory on the device."""
        return self.states.nbytes + (0 if self.pooled is None else self.pooled.nbytes)


class EmbeddingCache:
    """Embeddings by what they were made of, the longest unused let go beyond ``most`` bytes: those
    of a long series would fill a GPU. ``get`` and ``put`` count as use.
    """

    def __init__(self, most: int = CACHE_BYTES) -> None:
        self._most, self.nbytes = most, 0
        self._kept: OrderedDict[Hashable, Embedding] = OrderedDict()

    def __contains__(self, key: Hashable) -> bool:
        return key in self._kept

    def get(self, key: Hashable) -> Embedding | None:
        """Return the embedding of ``key``, None where it is not kept."""
        if key in self._kept:
            self._kept.move_to_end(key)
        return self._kept.get(key)

    def put(self, key: Hashable, embedding: Embedding) -> None:
        """Keep an embedding under a new ``key``."""
        self._kept[key] = embedding
        self.nbytes += embedding.nbytes
        while self.nbytes > self._most and len(self._kept) > 1:
            self.nbytes -= self._kept.popitem(last=False)[1].nbytes

    def drop(self, unwanted: Callable[[Any], bool]) -> None:
        """Let go of every embedding whose key is ``unwanted``."""
        for key in [key for key in self._kept if unwanted(key)]:
            self.nbytes -= self._kept.pop(key).nbytes


def token_ids(tokenizer: Any, text: str) -> list[int]:
    """Return the ids of ``text`` without BOS, EOS and padding, however many there are."""
    return list(
        tokenizer(text, add_special_tokens=False, truncation=False, verbose=False)["input_ids"]
    )


def chunks_needed(tokenizers: Sequence[Any], texts: Sequence[str], limit: int) -> int:
    """Return how many 75-token chunks the longest of ``texts`` takes, at least 1, at most
    ``limit``; what lies beyond is cut off.
    """
    longest = max(len(token_ids(tokenizer, text)) for tokenizer in tokenizers for text in texts)
    return max(1, min(limit, -(-longest // CHUNK)))


def chunk_ids(ids: Sequence[int], chunks: int, bos: int, eos: int, pad: int) -> list[list[int]]:
    """Return ``chunks`` rows of 77 ids: BOS, up to 75 of ``ids``, EOS, then ``pad``.

    >>> chunk_ids([7] * 76, 2, 1, 2, 0)[1][:5]
    [1, 7, 2, 0, 0]
    """
    rows = []
    for index in range(chunks):
        body = list(ids[index * CHUNK : (index + 1) * CHUNK])
        rows.append([bos, *body, eos] + [pad] * (CHUNK - len(body)))
    return rows


def join_chunks(states: torch.Tensor) -> torch.Tensor:
    """Join hidden states [n, 77, width] to [1, 75·n + 2, width]: the first BOS, each chunk's 75
    states, the last state of the last chunk.
    """
    import torch

    inner = states[:, 1:-1].reshape(1, -1, states.shape[-1])
    return torch.cat([states[:1, :1], inner, states[-1:, -1:]], dim=1)


def encode_last(
    tokenizers: Sequence[Any], encoders: Sequence[Any], texts: Sequence[str], chunks: int,
    clip_skip: int | None = None,
) -> list[Embedding]:  # fmt: skip
    """Return the embeddings of ``texts`` by the last layer of the one text encoder.

    ``clip_skip`` counts as sd-scripts and web UIs do: 1 or None is the last layer, 2 the last but
    one; the final layer norm is applied in each case.
    """
    import torch

    (tokenizer,), (encoder,) = tokenizers, encoders

    def states(ids: torch.Tensor) -> torch.Tensor:
        if clip_skip in (None, 1):
            last: torch.Tensor = encoder(ids).last_hidden_state
            return last
        norm = getattr(encoder, "text_model", encoder).final_layer_norm
        normed: torch.Tensor = norm(
            encoder(ids, output_hidden_states=True).hidden_states[-clip_skip]
        )
        return normed

    rows = _ids(tokenizer, texts, chunks, encoder.device)
    with torch.no_grad():
        found = torch.cat([states(piece)[:kept] for piece, kept in _pieces(rows)])
    return [Embedding(join_chunks(part)) for part in torch.split(found, chunks)]


def encode_penultimate(
    tokenizers: Sequence[Any], encoders: Sequence[Any], texts: Sequence[str], chunks: int,
    clip_skip: int | None = None,  # noqa: ARG001 - such a family's layer is always this one
) -> list[Embedding]:  # fmt: skip
    """Return the embeddings of ``texts`` by several encoders: the last but one layer of each side
    by side, and the last encoder's projected pooled state of the first chunk.
    """
    import torch

    hidden, pooled = [], torch.empty(0)
    with torch.no_grad():
        for tokenizer, encoder in zip(tokenizers, encoders, strict=True):
            rows = _ids(tokenizer, texts, chunks, encoder.device)
            outs = [
                (encoder(piece, output_hidden_states=True), kept) for piece, kept in _pieces(rows)
            ]
            hidden.append(torch.cat([out.hidden_states[-2][:kept] for out, kept in outs]))
            pooled = torch.cat([out[0][:kept] for out, kept in outs])
    both = torch.split(torch.cat(hidden, dim=-1), chunks)
    return [
        Embedding(join_chunks(part), pooled[index * chunks : index * chunks + 1])
        for index, part in enumerate(both)
    ]


def _pieces(rows: torch.Tensor) -> Iterator[tuple[torch.Tensor, int]]:
    """Cut rows of ids into passes of always the same size, filled up with the last row, and say how
    many rows of each count: a prompt's embedding then does not depend on what it is encoded with.
    """
    import torch

    size = ROWS if rows.device.type == "cuda" else 1
    for piece in torch.split(rows, size):
        fill = piece[-1:].expand(size - len(piece), -1)
        yield torch.cat([piece, fill]), len(piece)


def _ids(tokenizer: Any, texts: Sequence[str], chunks: int, device: Any) -> torch.Tensor:
    import torch

    special = (tokenizer.bos_token_id, tokenizer.eos_token_id, tokenizer.pad_token_id)
    rows = [
        row for text in texts for row in chunk_ids(token_ids(tokenizer, text), chunks, *special)
    ]
    return to_device(torch.tensor(rows), device)
