from __future__ import annotations

import contextlib
import gzip
import struct
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from labqdl.errors import InputError
from labqdl.network import load_dataset
from labqdl.network.datasets import breast_cancer, digits, load_idx, load_npz, load_sklearn, mnist_test, read_idx


def idx(array: np.ndarray, code: int = 8) -> bytes:
    header = bytes([0, 0, code, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape)
    return header + array.tobytes()


IMAGES = np.arange(24, dtype=np.uint8).reshape(4, 2, 3)
LABELS = np.array([0, 1, 2, 1], dtype=np.uint8)


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_idx_pair_with_labels_found_by_name(tmp_path: Path, pack: type[bytes]) -> None:
    (tmp_path / "a-images-idx3-ubyte").write_bytes(pack(idx(IMAGES)))
    alone = load_dataset(tmp_path / "a-images-idx3-ubyte")
    assert alone.labels is None
    (tmp_path / "a-labels-idx1-ubyte").write_bytes(pack(idx(LABELS)))
    found = load_dataset(str(tmp_path / "a-images-idx3-ubyte"))
    np.testing.assert_array_equal(found.data, IMAGES)
    np.testing.assert_array_equal(found.labels, LABELS)
    assert len(found) == 4
    (tmp_path / "other").write_bytes(idx(LABELS[::-1].copy()))
    given_labels = load_dataset(tmp_path / "a-images-idx3-ubyte", labels=tmp_path / "other")
    np.testing.assert_array_equal(given_labels.labels, LABELS[::-1])


@pytest.mark.parametrize(("code", "dtype"), [(0x09, "i1"), (0x0B, ">i2"), (0x0C, ">i4"), (0x0D, ">f4"), (0x0E, ">f8")])
def test_all_idx_types_come_in_native_order(tmp_path: Path, code: int, dtype: str) -> None:
    array = np.array([[1, -2], [3, 100]]).astype(dtype)
    (tmp_path / "f").write_bytes(idx(array, code))
    found = read_idx(tmp_path / "f")
    assert found.dtype == np.dtype(dtype).newbyteorder("=")
    np.testing.assert_array_equal(found, array)


GOOD = idx(IMAGES)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", r"magic number \(none\)"),
        (b"PK\x03\x04", "magic number 50 4b 03 04"),
        (b"\x00\x00\x07\x01" + GOOD[4:], "magic number 00 00 07 01"),
        (b"\x00\x00\x08\x00", "magic number"),
        (GOOD[:10], "the header ends after 10 bytes; expected 16"),
        (GOOD[:-1], r"23 bytes of data; expected 24 bytes for the shape \(4, 2, 3\)"),
        (GOOD + b"\x00", "25 bytes of data"),
        (gzip.compress(GOOD, mtime=0)[:-12], "damaged or truncated gzip"),
        (gzip.compress(GOOD, mtime=0)[:20] + b"\x99" * 30, "damaged or truncated gzip"),
        (b"\x1f\x8b\x00", "damaged or truncated gzip"),
        (idx(np.zeros((0, 2, 2), dtype=np.uint8)), "data set is empty"),
        (idx(LABELS), r"data of shape \(4,\)"),
    ],
)
def test_damaged_idx_names_the_file(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "file").write_bytes(content)
    with pytest.raises(InputError, match=message) as caught:
        load_idx(tmp_path / "file")
    assert caught.value.source == str(tmp_path / "file")


@given(st.binary(max_size=64))
def test_any_bytes_are_an_array_or_a_clear_error(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    path = tmp_path_factory.mktemp("idx") / "f"
    for head in (b"", b"\x1f\x8b", b"\x00\x00\x08"):
        path.write_bytes(head + content)
        with contextlib.suppress(InputError):
            read_idx(path)


@pytest.mark.parametrize(
    "labels",
    [np.array([0, 1], dtype=np.uint8), np.array([[0, 1, 2, 3]], dtype=np.uint8)],
)
def test_labels_of_other_data(tmp_path: Path, labels: np.ndarray) -> None:
    (tmp_path / "i").write_bytes(idx(IMAGES))
    (tmp_path / "l").write_bytes(idx(labels))
    with pytest.raises(InputError, match="4 whole numbers") as caught:
        load_idx(tmp_path / "i", tmp_path / "l")
    assert caught.value.source == str(tmp_path / "l")


@pytest.mark.parametrize("names", [("data", "labels"), ("x", "y")])
def test_npz(tmp_path: Path, names: tuple[str, str]) -> None:
    arrays: dict[str, Any] = {names[0]: IMAGES, names[1]: LABELS}
    np.savez(tmp_path / "set.npz", **arrays)
    found = load_dataset(tmp_path / "set.npz")
    np.testing.assert_array_equal(found.data, IMAGES)
    np.testing.assert_array_equal(found.labels, LABELS)
    assert found.name == "set"


def test_bad_npz(tmp_path: Path) -> None:
    path = tmp_path / "set.npz"
    with pytest.raises(InputError, match="there is no such file"):
        load_npz(path)
    for content in (b"", b"hello", b"PK\x03\x04hello"):
        path.write_bytes(content)
        with pytest.raises(InputError, match="no readable npz"):
            load_npz(path)
    np.savez(path, numbers=IMAGES)
    with pytest.raises(InputError, match="holds numbers; expected an array 'data'"):
        load_npz(path)
    np.savez(path, data=np.array([{"a": 1}], dtype=object))
    with pytest.raises(InputError, match="no readable npz archive: Object arrays"):
        load_npz(path)
    np.savez(path, data=np.array([[1.0, np.nan]]))
    with pytest.raises(InputError, match=r"entry \[0, 1\] is NaN"):
        load_npz(path)
    np.savez(path, data=np.array([["a"]]))
    with pytest.raises(InputError, match="expected real numbers"):
        load_npz(path)
    np.savez(path, data=IMAGES, labels=LABELS - 1.0)
    with pytest.raises(InputError, match="key 'labels'"):
        load_npz(path)
    np.savez(path, data=IMAGES, labels=LABELS.astype(int) - 1)
    with pytest.raises(InputError, match="whole numbers from 0"):
        load_npz(path)
    with path.open("wb") as file:
        np.save(file, IMAGES)
    with pytest.raises(InputError, match="does not start like a zip"):
        load_npz(path)


def test_shipped_sets() -> None:
    mnist = mnist_test()
    assert mnist.data.shape == (10_000, 28, 28)
    assert mnist.data.dtype == np.uint8
    assert mnist.labels is not None
    np.testing.assert_array_equal(mnist.labels[:5], [7, 2, 1, 0, 4])
    assert mnist.classes == tuple("0123456789")
    train, test = breast_cancer(train=True), load_dataset("breast-cancer")
    assert (len(train), len(test)) == (455, 114)
    assert train.labels is not None
    assert test.labels is not None
    # Stratified: the share of benign cases is that of all 569, 0.627, in both parts.
    assert train.labels.mean() == pytest.approx(357 / 569, abs=0.005)
    assert test.labels.mean() == pytest.approx(357 / 569, abs=0.005)
    rows = {tuple(row) for row in train.data} | {tuple(row) for row in test.data}
    assert len(rows) == 569


def test_digits_have_two_parts_in_which_every_digit_is_as_frequent() -> None:
    train, test = digits(train=True), load_dataset("digits")
    assert (train.name, train.data.shape, test.data.shape) == ("digits-train", (1437, 8, 8), (360, 8, 8))
    assert test.data.dtype == np.uint8
    assert (test.data.min(), test.data.max()) == (0, 16)
    for part in (train, test):
        assert part.labels is not None
        shares = np.bincount(part.labels, minlength=10) / len(part)
        assert np.ptp(shares) < 0.012
    assert test.labels is not None
    assert set(test.labels[:40].tolist()) == set(range(10))  # a short run meets all digits
    assert test.classes == tuple("0123456789")


def test_first() -> None:
    part = breast_cancer().first(3)
    assert part.data.shape == (3, 30)
    assert part.labels is not None
    assert part.labels.shape == (3,)
    for count in (0, 115):
        with pytest.raises(InputError, match="expected 1 to 114"):
            breast_cancer().first(count)


def test_unknown_names(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no file and no data set 'mnist-tset'; expected a path, one of mnist-test"):
        load_dataset("mnist-tset")
    with pytest.raises(InputError, match="cannot be read"):
        load_dataset(tmp_path)
    with pytest.raises(InputError, match="there is no such file"):
        read_idx(tmp_path / "nothing")
    with pytest.raises(InputError, match="bundles no set 'faces'"):
        load_dataset("sklearn:faces")


def test_sklearn_sets() -> None:
    pytest.importorskip("sklearn")
    digits = load_dataset("sklearn:digits")
    assert digits.data.shape == (1797, 8, 8)
    assert digits.classes == tuple("0123456789")
    assert load_sklearn("iris").data.shape == (150, 4)


def test_without_sklearn_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    with pytest.raises(InputError, match=r"pip install 'labqdl\[train\]'"):
        load_sklearn("digits")


def test_labels_join_an_archive_without_any(tmp_path: Path) -> None:
    np.savez(tmp_path / "bare.npz", data=IMAGES)
    path = tmp_path / "labels"
    path.write_bytes(struct.pack(">II", 0x801, len(IMAGES)) + bytes(range(len(IMAGES))))
    np.testing.assert_array_equal(load_dataset(tmp_path / "bare.npz", labels=path).labels, np.arange(len(IMAGES)))


def test_labels_are_not_silently_ignored(tmp_path: Path) -> None:
    np.savez(tmp_path / "set.npz", data=IMAGES, labels=LABELS)
    for source in ("breast-cancer", tmp_path / "set.npz"):
        with pytest.raises(InputError, match=r"other: labels are given, but .* has its own"):
            load_dataset(source, labels=tmp_path / "other")
