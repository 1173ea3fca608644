"""Files from strangers: each hostile or odd kind is named, and memory stays bounded."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from loraeval.errors import ImageError
from loraeval.images.picture import open_picture, picture_from_array
from loraeval.images.reading import UnreadableImageError, read_image


def _art(size: int = 24) -> Image.Image:
    rng = np.random.default_rng(0)
    return Image.fromarray(rng.integers(0, 256, (size, size, 3), dtype=np.uint8))


def _defect(path: Path) -> str:
    with pytest.raises(UnreadableImageError) as caught:
        read_image(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)
    return caught.value.defect


def test_a_plain_png_keeps_its_pixels(tmp_path: Path) -> None:
    image = _art()
    image.save(tmp_path / "a.png")
    picture = open_picture(tmp_path / "a.png", "a.png")
    assert np.array_equal(picture.rgb, np.asarray(image))
    assert (picture.name, picture.width, picture.height) == ("a.png", 24, 24)
    assert (picture.facts.format, picture.facts.bits, picture.facts.has_alpha) == ("PNG", 8, False)
    with pytest.raises(ValueError, match="read-only"):
        picture.rgb[0, 0] = 0


def test_missing_empty_and_text_files(tmp_path: Path) -> None:
    assert _defect(tmp_path / "none.png") == "unreadable"
    (tmp_path / "empty.png").touch()
    assert _defect(tmp_path / "empty.png") == "empty file"
    (tmp_path / "text.png").write_text("hello, I am an image, honest")
    assert _defect(tmp_path / "text.png") == "not an image"
    (tmp_path / "folder.png").mkdir()
    assert _defect(tmp_path / "folder.png") == "unreadable"


@pytest.mark.parametrize(("kind", "suffix"), [("PNG", "png"), ("JPEG", "jpg"), ("WEBP", "webp")])
def test_a_truncated_file(tmp_path: Path, kind: str, suffix: str) -> None:
    buffer = io.BytesIO()
    _art(256).save(buffer, kind)
    path = tmp_path / f"cut.{suffix}"
    path.write_bytes(buffer.getvalue()[: len(buffer.getvalue()) // 2])
    assert _defect(path) in {"truncated", "broken data", "not an image"}


def test_a_wrong_extension(tmp_path: Path) -> None:
    _art().save(tmp_path / "a.jpg", "PNG")
    assert _defect(tmp_path / "a.jpg") == "wrong extension"


@pytest.mark.parametrize(("kind", "suffix"), [("GIF", "gif"), ("PNG", "png"), ("WEBP", "webp")])
def test_an_animation(tmp_path: Path, kind: str, suffix: str) -> None:
    frames = [Image.new("RGB", (24, 24), colour) for colour in ("red", "green", "blue")]
    frames[0].save(tmp_path / f"a.{suffix}", kind, save_all=True, append_images=frames[1:])
    assert _defect(tmp_path / f"a.{suffix}") == "animated"


def _bomb(width: int, height: int) -> bytes:
    """Return a PNG whose header promises far more pixels than its few bytes hold."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    data = zlib.compress(b"\0" * 10_000, 9)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize("size", [(60_000, 60_000), (20_000, 64), (4_097, 4_096)])
def test_a_decompression_bomb_is_refused_from_its_header(
    tmp_path: Path, size: tuple[int, int]
) -> None:
    path = tmp_path / "bomb.png"
    path.write_bytes(_bomb(*size))
    assert _defect(path) == "huge dimensions"


def test_too_small(tmp_path: Path) -> None:
    _art(4).save(tmp_path / "a.png")
    assert _defect(tmp_path / "a.png") == "tiny dimensions"


def test_alpha_is_laid_on_white_and_named(tmp_path: Path) -> None:
    pixels = np.zeros((24, 24, 4), np.uint8)
    pixels[:12, :, 3] = 255
    Image.fromarray(pixels).save(tmp_path / "a.png")
    picture = open_picture(tmp_path / "a.png")
    assert picture.facts.has_alpha
    assert picture.facts.see_through == pytest.approx(0.5)
    assert picture.rgb[0, 0].tolist() == [0, 0, 0]
    assert picture.rgb[-1, 0].tolist() == [255, 255, 255]


def test_cmyk_and_16_bits_are_converted_and_named(tmp_path: Path) -> None:
    _art().convert("CMYK").save(tmp_path / "c.jpg")
    assert open_picture(tmp_path / "c.jpg").facts.mode == "CMYK"
    deep = Image.fromarray(np.full((24, 24), 0x8000, np.uint16))
    deep.save(tmp_path / "d.png")
    picture = open_picture(tmp_path / "d.png")
    assert picture.facts.bits == 16
    assert picture.rgb[0, 0].tolist() == [128, 128, 128]


def test_grey_and_palette_images_become_srgb(tmp_path: Path) -> None:
    for mode in ("L", "P", "1", "LA"):
        _art().convert(mode).save(tmp_path / f"{mode}.png")
        assert open_picture(tmp_path / f"{mode}.png").rgb.shape == (24, 24, 3)


def test_an_array_of_another_shape_or_type() -> None:
    for wrong in (np.zeros((4, 4), np.uint8), np.zeros((4, 4, 3)), np.zeros((0, 4, 3), np.uint8)):
        with pytest.raises(ImageError, match="expected sRGB pixels"):
            picture_from_array(wrong, "x")


@settings(max_examples=150, deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture])  # fmt: skip
@given(st.data())
def test_no_bytes_do_more_than_raise_image_error(tmp_path: Path, data: st.DataObject) -> None:
    buffer = io.BytesIO()
    kind = data.draw(st.sampled_from(["PNG", "JPEG", "GIF", "WEBP", "BMP", "TIFF"]))
    _art().save(buffer, kind)
    raw = bytearray(buffer.getvalue())
    for _ in range(data.draw(st.integers(1, 8))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path / "fuzz"
    path.write_bytes(bytes(raw[: data.draw(st.integers(1, len(raw)))]))
    try:
        rgb, _ = read_image(path)
    except ImageError:
        return
    assert rgb.dtype == np.uint8
    assert rgb.shape[2] == 3


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".tif"])
def test_the_exif_orientation_is_followed(tmp_path: Path, suffix: str) -> None:
    upright = np.zeros((24, 40, 3), np.uint8)
    upright[:, :20] = (200, 30, 30)
    exif = Image.Exif()
    exif[274] = 6  # to be turned a quarter clockwise
    held = Image.fromarray(np.rot90(upright).copy())
    held.save(tmp_path / f"turned{suffix}", exif=exif, quality=95)
    rgb, facts = read_image(tmp_path / f"turned{suffix}")
    assert rgb.shape == upright.shape
    assert facts.turned or suffix == ".tif"  # Pillow turns TIFF itself
    assert np.abs(rgb[:, :14].astype(int) - (200, 30, 30)).max() < 12


def test_memory_that_runs_out_while_decoding_is_one_defect(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Image.fromarray(np.zeros((16, 16, 3), np.uint8)).save(tmp_path / "a.png")

    def short(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr("loraeval.images.reading._to_srgb", short)
    with pytest.raises(UnreadableImageError, match="not enough memory") as caught:
        read_image(tmp_path / "a.png")
    assert caught.value.defect == "out of memory"
