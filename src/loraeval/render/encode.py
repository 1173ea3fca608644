"""Prompts of any length to text embeddings, in 75-token chunks as sd-scripts trains them.

A prompt's tokens are cut into chunks of 75. Each chunk goes through the text encoder as its own
77-token sequence: BOS, the tokens, EOS, padding. The hidden states are joined, with BOS of the
first chunk and the last state of the last chunk kept and those in between dropped: ``75·n + 2``
states (sd-scripts, ``max_token_length`` 75, 150, 225). The shorter of prompt and negative prompt
is filled with empty chunks. With ``prompt_layout = "ui"`` all 77 states of each chunk stand there,
weighed by the brackets of the prompt (``tokens``). SDXL takes the last but one layer of both
encoders side by side, and the pooled state of the first chunk of the second.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from loraeval.render.pixels import to_device
from loraeval.render.tokens import CHUNK, Row, rows_of

if TYPE_CHECKING:
    import torch

ROWS = 16
"""77-token rows in one pass of a text encoder on a GPU; a CPU takes them one by one."""

CACHE_BYTES = 256 << 20
"""Embeddings kept on the device: about 280 texts of three chunks for SDXL in float16."""


@dataclass(frozen=True, slots=True)
class Embedding:
    """``states`` float [1, 75·n + 2 or 77·n, width]; ``pooled`` [1, width] for SDXL, else None."""

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


def chunk_ids(rows: Sequence[Row], chunks: int, bos: int, eos: int, pad: int) -> list[list[int]]:
    """Return ``chunks`` rows of 77 ids: BOS, the ids of a row, EOS, then ``pad``.

    >>> chunk_ids([Row([7] * 75), Row([8])], 3, 1, 2, 0)[1][:5]
    [1, 8, 2, 0, 0]
    """
    bodies = [row.ids for row in rows[:chunks]] + [[]] * (chunks - len(rows))
    return [[bos, *body, eos] + [pad] * (CHUNK - len(body)) for body in bodies]


def weigh(states: torch.Tensor, rows: Sequence[Row]) -> torch.Tensor:
    """Return hidden states [n, 77, width] times the weights of their tokens, each chunk's mean kept
    as it was: a UI's emphasis (A1111). Chunks without emphasis come back as they are.
    """
    import torch

    made = []
    for index, part in enumerate(states):
        weights = rows[index].weights if index < len(rows) else []
        if any(weight != 1.0 for weight in weights):
            full = [1.0, *weights] + [1.0] * (CHUNK + 1 - len(weights))
            column = to_device(torch.tensor(full, dtype=torch.float32), part.device)
            louder = part * column[:, None].to(part.dtype)
            part = louder * (part.mean() / louder.mean())
        made.append(part)
    return torch.stack(made)


def join_chunks(states: torch.Tensor, layout: str = "training") -> torch.Tensor:
    """Join hidden states [n, 77, width] to [1, 75·n + 2, width]: the first BOS, each chunk's 75
    states, the last state of the last chunk; with the layout ``ui`` all of them, [1, 77·n, width].
    """
    import torch

    if layout == "ui":
        return states.reshape(1, -1, states.shape[-1])
    inner = states[:, 1:-1].reshape(1, -1, states.shape[-1])
    return torch.cat([states[:1, :1], inner, states[-1:, -1:]], dim=1)


def encode_last(
    tokenizers: Sequence[Any], encoders: Sequence[Any], texts: Sequence[str], chunks: int,
    clip_skip: int | None = None, layout: str = "training",
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

    cut, rows = _ids(tokenizer, texts, chunks, layout, encoder.device)
    with torch.no_grad():
        found = torch.cat([states(piece)[:kept] for piece, kept in _pieces(rows)])
    parts = zip(torch.split(found, chunks), cut, strict=True)
    return [Embedding(join_chunks(weigh(part, rows_), layout)) for part, rows_ in parts]


def encode_penultimate(
    tokenizers: Sequence[Any], encoders: Sequence[Any], texts: Sequence[str], chunks: int,
    clip_skip: int | None = None,  # noqa: ARG001 - such a family's layer is always this one
    layout: str = "training",
) -> list[Embedding]:  # fmt: skip
    """Return the embeddings of ``texts`` by several encoders: the last but one layer of each side
    by side, and the last encoder's projected pooled state of the first chunk.
    """
    import torch

    hidden, pooled = [], torch.empty(0)
    with torch.no_grad():
        for tokenizer, encoder in zip(tokenizers, encoders, strict=True):
            cut, rows = _ids(tokenizer, texts, chunks, layout, encoder.device)
            outs = [
                (encoder(piece, output_hidden_states=True), kept) for piece, kept in _pieces(rows)
            ]
            states = torch.cat([out.hidden_states[-2][:kept] for out, kept in outs])
            parts = zip(torch.split(states, chunks), cut, strict=True)
            hidden.append(torch.cat([weigh(part, rows_) for part, rows_ in parts]))
            pooled = torch.cat([out[0][:kept] for out, kept in outs])
    both = torch.split(torch.cat(hidden, dim=-1), chunks)
    return [
        Embedding(join_chunks(part, layout), pooled[index * chunks : index * chunks + 1])
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


def _ids(
    tokenizer: Any, texts: Sequence[str], chunks: int, layout: str, device: Any
) -> tuple[list[list[Row]], torch.Tensor]:
    import torch

    special = (tokenizer.bos_token_id, tokenizer.eos_token_id, tokenizer.pad_token_id)
    cut = [rows_of(tokenizer, text, layout) for text in texts]
    ids = [row for rows in cut for row in chunk_ids(rows, chunks, *special)]
    return cut, to_device(torch.tensor(ids), device)
