"""Text of any length: against an encoder walked layer by layer and joined as sd-scripts joins."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from loraeval.records import Caption, Prompt, Recipe
from loraeval.render import sd
from loraeval.render.denoise import conditions
from loraeval.render.encode import encode_last, encode_penultimate, weigh
from loraeval.render.renderer import Renderer
from loraeval.render.store import Store
from loraeval.render.tokens import Row, chunks_needed, rows_of, token_ids, weighted

WORDS = "red hat on a grey cat near the old harbour wall with three small boats"


@pytest.fixture(scope="module")
def parts(bases: dict[str, Path]) -> dict[str, Any]:
    """Tokenizers and text encoders of both tiny base models."""
    from transformers import CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

    found = {
        f"{family}/{name}": CLIPTokenizer.from_pretrained(bases[family] / name)
        for family, name in (("sd15", "tokenizer"), ("sdxl", "tokenizer"), ("sdxl", "tokenizer_2"))
    }
    for key, kind in (
        ("sd15/text_encoder", CLIPTextModel),
        ("sdxl/text_encoder", CLIPTextModel),
        ("sdxl/text_encoder_2", CLIPTextModelWithProjection),
    ):
        found[key] = kind.from_pretrained(bases[key.split("/")[0]] / key.split("/")[1]).eval()
    return found


def text_of(tokenizer: Any, tokens: int) -> str:
    """A text of exactly ``tokens`` tokens."""
    words = (WORDS + " ").split() * 40
    for count in range(1, len(words)):
        text = " ".join(words[:count])
        if len(tokenizer(text, verbose=False)["input_ids"]) - 2 == tokens:
            return text
    raise AssertionError(f"no text of {tokens} tokens")


def layers_by_hand(encoder: Any, row: list[int]) -> list[torch.Tensor]:
    """The residual stream [77, width] before the first layer and after each, by plain algebra."""
    model = getattr(encoder, "text_model", encoder)
    heads = encoder.config.num_attention_heads
    x = (
        model.embeddings.token_embedding.weight[row]
        + model.embeddings.position_embedding.weight[:77]
    )
    seen = [x]
    mask = torch.full((77, 77), float("-inf")).triu(1)
    for layer in model.encoder.layers:
        at = layer.self_attn
        y = layer.layer_norm1(x)
        q, k, v = (
            p(y).view(77, heads, -1).transpose(0, 1) for p in (at.q_proj, at.k_proj, at.v_proj)
        )
        weights = (q @ k.transpose(1, 2) / q.shape[-1] ** 0.5 + mask).softmax(-1)
        x = x + at.out_proj((weights @ v).transpose(0, 1).reshape(77, -1))
        y = layer.mlp.fc1(layer.layer_norm2(x))
        quick = encoder.config.hidden_act == "quick_gelu"
        y = y * (1.702 * y).sigmoid() if quick else torch.nn.functional.gelu(y)
        x = x + layer.mlp.fc2(y)
        seen.append(x)
    return seen


def rows_by_hand(tokenizer: Any, text: str, chunks: int) -> list[list[int]]:
    """75 tokens at a time between BOS and EOS, the rest of a row padding."""
    ids = tokenizer(text, verbose=False)["input_ids"][1:-1]
    bos, eos, pad = 49406, 49407, tokenizer.pad_token_id
    rows = []
    for start in range(0, 75 * chunks, 75):
        row = [bos, *ids[start : start + 75], eos]
        while len(row) < 77:
            row.append(pad)
        rows.append(row)
    return rows


def joined_by_hand(states: list[torch.Tensor]) -> torch.Tensor:
    """sd-scripts' rule, state by state: chunks laid end to end in one line of 77·n, of which the
    first, then 75 of every 77 from the second on, then the last are taken.
    """
    line = torch.cat(states)
    taken = [0]
    for start in range(1, len(line), 77):
        taken += range(start, start + 75)
    return line[[*taken, len(line) - 1]]


@pytest.mark.parametrize("clip_skip", [None, 1, 2])
@pytest.mark.parametrize(
    ("tokens", "chunks"), [(9, 1), (75, 1), (76, 2), (160, 3), (9, 3), (225, 3)]
)
def test_sd15_states(parts: Any, tokens: int, chunks: int, clip_skip: int | None) -> None:
    tokenizer, encoder = parts["sd15/tokenizer"], parts["sd15/text_encoder"]
    text = text_of(tokenizer, tokens)
    norm = getattr(encoder, "text_model", encoder).final_layer_norm
    with torch.no_grad():
        rows = rows_by_hand(tokenizer, text, chunks)
        want = joined_by_hand([norm(layers_by_hand(encoder, r)[-(clip_skip or 1)]) for r in rows])
    (found,) = encode_last([tokenizer], [encoder], [text], chunks, clip_skip)
    assert found.states.shape == (1, 75 * chunks + 2, encoder.config.hidden_size)
    assert torch.allclose(found.states[0], want, atol=2e-5)
    assert found.pooled is None
    if clip_skip == 2:
        (last,) = encode_last([tokenizer], [encoder], [text], chunks, None)
        assert not torch.allclose(found.states, last.states, atol=1e-2)


@pytest.mark.parametrize(("tokens", "chunks"), [(9, 1), (80, 2), (9, 2), (180, 3)])
def test_sdxl_states_and_pooled(parts: Any, tokens: int, chunks: int) -> None:
    tokenizers = [parts["sdxl/tokenizer"], parts["sdxl/tokenizer_2"]]
    encoders = [parts["sdxl/text_encoder"], parts["sdxl/text_encoder_2"]]
    text = text_of(tokenizers[0], tokens)
    sides, pooled = [], torch.empty(0)
    with torch.no_grad():
        for tokenizer, encoder in zip(tokenizers, encoders, strict=True):
            rows = rows_by_hand(tokenizer, text, chunks)
            layers = [layers_by_hand(encoder, row) for row in rows]
            sides.append(joined_by_hand([states[-2] for states in layers]))
            model = getattr(encoder, "text_model", encoder)
            end = rows[0].index(49407)
            if encoder is encoders[1]:
                pooled = encoder.text_projection(model.final_layer_norm(layers[0][-1])[end])
    (found,) = encode_penultimate(tokenizers, encoders, [text], chunks)
    assert torch.allclose(found.states[0], torch.cat(sides, -1), atol=2e-5)
    assert found.pooled is not None
    assert torch.allclose(found.pooled[0], pooled, atol=2e-5)


def test_texts_side_by_side_are_as_alone(parts: Any) -> None:
    tokenizer, encoder = parts["sd15/tokenizer"], parts["sd15/text_encoder"]
    texts = [text_of(tokenizer, n) for n in (3, 76, 30)]
    together = encode_last([tokenizer], [encoder], texts, 2, None)
    for text, found in zip(texts, together, strict=True):
        (alone,) = encode_last([tokenizer], [encoder], [text], 2, None)
        assert torch.equal(alone.states, found.states)


@pytest.mark.parametrize(
    ("tokens", "chunks"), [(0, 1), (1, 1), (75, 1), (76, 2), (150, 2), (151, 3), (400, 3)]
)
def test_chunks_that_a_prompt_takes(parts: Any, tokens: int, chunks: int) -> None:
    tokenizer = parts["sd15/tokenizer"]
    text = text_of(tokenizer, tokens) if tokens else ""
    assert chunks_needed([tokenizer], ["", text], 3) == chunks
    assert chunks_needed([tokenizer], [text, ""], 3) == chunks
    assert chunks_needed([tokenizer], [text], 1) == 1


@pytest.mark.parametrize(("long", "chunks"), [("prompt", 2), ("negative", 3)])
def test_prompt_and_negative_get_the_same_length(
    parts: Any,
    recipe: Recipe,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    long: str,
    chunks: int,
) -> None:
    tokenizer = parts["sd15/tokenizer"]
    text = text_of(tokenizer, 100) if long == "prompt" else "a cat"
    negative = text_of(tokenizer, 160) if long == "negative" else "blurred"
    with Renderer(recipe, Store(tmp_path), devices="cpu", compile="never") as renderer:
        renderer._start(
            [renderer._job(renderer._describe([None])[0], Prompt("p", "a", Caption("a")), 1)]
        )
        given: list[tuple[Any, ...]] = []
        monkeypatch.setattr(sd, "conditions", lambda *a: given.append(a) or conditions(*a))
        prompt = Prompt("q", text, Caption(text), negative=negative)
        (made,) = renderer.render([None], [prompt], [1])
        assert made.image.is_file()
    (call,) = given
    for found, words in zip(call[2:], (text, negative), strict=True):
        (want,) = encode_last([tokenizer], [parts["sd15/text_encoder"]], [words], chunks, None)
        assert found[0].states.shape[1] == 75 * chunks + 2
        assert torch.allclose(found[0].states, want.states, atol=1e-6)


@pytest.mark.parametrize(
    ("written", "plain"),
    [
        ("a girl’s red hat", "a girl's red hat"),
        ("“a cat” &amp; a dog", '"a cat" & a dog'),
        ("ﬁsh and ﬂower", "fish and flower"),
        ("ｐｉｘｅｌ　ａｒｔ", "pixel art"),
        ("cafÃ© wall", "café wall"),
        ("line\r\nbreak", "line break"),
    ],
)
def test_typographic_text_has_the_tokens_of_the_trainers_tokenizer(
    parts: Any, written: str, plain: str
) -> None:
    tokenizer = parts["sd15/tokenizer"]
    assert token_ids(tokenizer, written) == token_ids(tokenizer, plain)


def test_a_curly_apostrophe_costs_no_tokens(parts: Any) -> None:
    assert len(token_ids(parts["sd15/tokenizer"], "a girl’s red hat")) == 5


@pytest.mark.parametrize(
    ("text", "pieces"),
    [
        ("a (red:1.5) cat", [("a ", 1.0), ("red", 1.5), (" cat", 1.0)]),
        ("((x)) [y]", [("x", 1.21), (" ", 1.0), ("y", 1 / 1.1)]),
        ("(a (b:1.3) c:0.5)", [("a ", 0.5), ("b", 0.65), (" c", 0.5)]),
        (r"\(x\) y", [("(x) y", 1.0)]),
        ("a BREAK b", [("a ", 1.0), (None, 1.0), (" b", 1.0)]),
        ("open (x", [("open ", 1.0), ("x", 1.1)]),
        ("ratio 3:4) x", [("ratio 3:4) x", 1.0)]),
    ],
)
def test_emphasis_as_uis_read_it(text: str, pieces: list[tuple[str | None, float]]) -> None:
    found = weighted(text)
    assert [piece for piece, _ in found] == [piece for piece, _ in pieces]
    assert [weight for _, weight in found] == pytest.approx([weight for _, weight in pieces])


def test_chunks_of_a_ui_end_at_a_near_comma_and_at_break(parts: Any) -> None:
    tokenizer = parts["sd15/tokenizer"]
    near = text_of(tokenizer, 70) + ", " + text_of(tokenizer, 20)
    first, second = rows_of(tokenizer, near, "ui")
    assert (len(first.ids), len(second.ids)) == (71, 20)
    far = text_of(tokenizer, 40) + ", " + text_of(tokenizer, 60)
    assert [len(row.ids) for row in rows_of(tokenizer, far, "ui")] == [75, 26]
    parted = rows_of(tokenizer, "a cat BREAK a (red:1.5) dog", "ui")
    assert [len(row.ids) for row in parted] == [2, 3]
    assert parted[1].weights == [1.0, 1.5, 1.0]
    assert len(rows_of(tokenizer, "a cat BREAK a dog", "training")) == 1
    assert len(rows_of(tokenizer, "", "ui")) == 1


def test_the_layout_of_uis_keeps_all_states_of_each_chunk(parts: Any) -> None:
    tokenizer, encoder = parts["sd15/tokenizer"], parts["sd15/text_encoder"]
    text = text_of(tokenizer, 100)
    (found,) = encode_last([tokenizer], [encoder], [text], 2, None, "ui")
    (trained,) = encode_last([tokenizer], [encoder], [text], 2, None)
    assert found.states.shape[1] == 154
    assert torch.equal(found.states[:, 1:76], trained.states[:, 1:76])
    assert torch.equal(found.states[:, 78:153], trained.states[:, 76:151])


def test_emphasis_weighs_states_and_keeps_their_mean() -> None:
    torch.manual_seed(0)
    states = torch.randn(2, 77, 8) + 0.5
    rows = [Row([7] * 3, [1.0, 2.0, 1.0]), Row([7], [1.0])]
    found = weigh(states, rows)
    assert torch.equal(found[1], states[1])
    assert float(found[0].mean()) == pytest.approx(float(states[0].mean()), rel=1e-5)
    ratio = found[0] / states[0]
    assert float(ratio[2, 0] / ratio[5, 0]) == pytest.approx(2.0, rel=1e-5)


def test_a_prompt_written_for_uis_is_said_to_be_read_as_words(
    recipe: Recipe, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    prompts = [Prompt(f"p{n}", t, Caption(t)) for n, t in enumerate(("a (red:1.3) hat", "x BREAK"))]
    with Renderer(recipe, Store(tmp_path), devices="cpu", compile="never") as renderer:
        ref = renderer._describe([None])[0]
        for prompt in prompts:
            renderer._job(ref, prompt, 1)
        assert len(renderer.notes) == 1
    assert 'set prompt_layout = "ui"' in capsys.readouterr().err
