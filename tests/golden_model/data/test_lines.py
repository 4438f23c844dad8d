"""Lines of text files: what ends one, and what is refused by line and byte."""

from __future__ import annotations

import gzip
import io
import lzma
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from golden_model.data.lines import MAX_LINE, read_lines


def test_only_line_ends_end_a_line(tmp_path: Path):
    path = tmp_path / "a.txt"
    odd = "a\u2028b\u2029c\x85d\x0ce\x0bf\x1cg\x1dh\x1ei"
    path.write_bytes(f"{odd}\n\r\nmac\rlast".encode())
    assert read_lines(path) == [odd, "", "mac", "last"]
    assert len(odd.splitlines()) == 9  # what str makes of it


@pytest.mark.parametrize("pack", [bytes, gzip.compress, lzma.compress])
def test_byte_order_marks_and_compression(tmp_path: Path, pack):
    path = tmp_path / {bytes: "a.txt", gzip.compress: "a.txt.gz", lzma.compress: "a.TXT.XZ"}[pack]
    for encoding, written in (
        ("utf-8", "utf-8"),
        ("utf8", "utf-8-sig"),
        ("utf-16", "utf-16"),
        ("utf-32", "utf-32"),
        ("latin-1", "latin-1"),
    ):
        path.write_bytes(pack("caf\xe9\nb".encode(written)))
        assert read_lines(path, encoding) == ["caf\xe9", "b"]


def test_another_encoding_than_said_is_named(tmp_path: Path):
    path = tmp_path / "a.txt"
    for written, told in (("utf-16", "utf-16"), ("utf-32", "utf-32")):
        path.write_bytes("text\n".encode(written))
        for encoding in ("utf-8", "latin-1"):
            with pytest.raises(
                ValueError, match=rf"a\.txt is {told}, its byte order mark says, not {encoding}"
            ):
                read_lines(path, encoding)
    path.write_bytes("text\n".encode("utf-8-sig"))
    with pytest.raises(ValueError, match=r"a\.txt is utf-8, its byte order mark says, not cp1252"):
        read_lines(path, "cp1252")
    path.write_bytes("one\ntwo\n".encode("utf-16-le"))
    with pytest.raises(
        ValueError, match=r"line 1 holds a NUL character: binary data, or another encoding than utf-8"
    ):
        read_lines(path)
    assert read_lines(path, "utf-16-le") == ["one", "two"]
    for wrong in ("utf-7000", "hex", "punycode", "", "a\0b", "x" * 5000):
        with pytest.raises(ValueError, match=r"encoding '.*' is not known$") as caught:
            read_lines(path, wrong)
        assert len(str(caught.value)) < 200


@pytest.mark.parametrize("pack", [bytes, gzip.compress, lzma.compress])
@pytest.mark.parametrize("before", [0, 1, 50000, 65534, 200000])
def test_an_undecodable_byte_is_named_by_line_and_byte(tmp_path: Path, pack, before: int):
    path = tmp_path / {bytes: "a.txt", gzip.compress: "a.txt.gz", lzma.compress: "a.txt.xz"}[pack]
    good = ("\u20acb\r\n" * before)[: before * 2]
    data = good.encode() + b"x\xe2\x82" + b"\nmore\n"
    path.write_bytes(pack(data))
    line = 1 + good.count("\r\n") + (good[-1:] == "\r")
    with pytest.raises(
        ValueError, match=f": line {line} is not utf-8: .*, 0xe2 at byte {len(good.encode()) + 1}$"
    ):
        read_lines(path)


def test_a_character_cut_at_the_end_is_named(tmp_path: Path):
    path = tmp_path / "a.txt"
    path.write_bytes("one\ntw\u20ac".encode()[:-1])
    with pytest.raises(
        ValueError, match=r"a\.txt: line 2 is not utf-8: unexpected end of data, 0xe2 at byte 6$"
    ):
        read_lines(path)


def test_an_undecodable_byte_of_an_encoding_with_a_memory_is_named(tmp_path: Path):
    path = tmp_path / "a.txt"
    good = b"one\n\x1b$BF|"  # has switched to Japanese, and what comes first is not to be read as such
    path.write_bytes(good + b"\xff\n")
    with pytest.raises(ValueError, match=rf"line 2 is not iso2022_jp: .*, 0xff at byte {len(good)}$"):
        read_lines(path, "iso2022_jp")
    path.write_bytes(b"no mark")
    with pytest.raises(ValueError, match=r"a\.txt is not utf-16: UTF-16 stream does not start with BOM$"):
        read_lines(path, "utf-16")


def test_damage_is_named(tmp_path: Path):
    text = "".join(f"line number {i * i}\n" for i in range(20000)).encode()
    for pack, suffix in ((gzip.compress, ".gz"), (lzma.compress, ".xz")):
        path = tmp_path / f"a.txt{suffix}"
        whole = pack(text)
        path.write_bytes(whole[: len(whole) // 2])
        with pytest.raises(
            ValueError, match=rf"a\.txt\{suffix} is damaged behind line \d+: Compressed file ended"
        ):
            read_lines(path)
        path.write_bytes(text)
        with pytest.raises(ValueError, match=rf"a\.txt\{suffix} is damaged: "):
            read_lines(path)
        path.write_bytes(whole[:5000] + bytes([whole[5000] ^ 255]) + whole[5001:])
        with pytest.raises(ValueError, match=rf"a\.txt\{suffix} is damaged"):
            read_lines(path)


def test_bounds_and_what_is_no_file(tmp_path: Path):
    path = tmp_path / "a.txt"
    path.write_bytes(b"short\n" + b"x" * (MAX_LINE + 1))
    with pytest.raises(ValueError, match=r"a\.txt: line 2 is longer than 16,777,216 characters$"):
        read_lines(path)
    path.write_bytes(b"one\ntw\0o\n")
    with pytest.raises(ValueError, match=r"a\.txt: line 2 holds a NUL character"):
        read_lines(path)
    path.write_bytes(b"")
    assert read_lines(path) == []
    with pytest.raises(FileNotFoundError, match="is a folder, not a file"):
        read_lines(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"nowhere is no file"):
        read_lines(tmp_path / "nowhere")


@settings(deadline=None)
@given(st.text(st.sampled_from("ab \n\r\x85\u2028\x0c\u20ac"), max_size=40))
@example("a\r")
def test_lines_are_pythons_universal_newlines(tmp_path_factory: pytest.TempPathFactory, text: str):
    path = tmp_path_factory.getbasetemp() / "lines.txt"
    path.write_bytes(text.encode())
    told = io.TextIOWrapper(io.BytesIO(text.encode()), "utf-8", newline=None).read()
    assert read_lines(path) == told.removesuffix("\n").split("\n") if told else read_lines(path) == []
