"""Data sets: IDX files (gzip or not), npz archives, scikit-learn's bundled sets and what ships with labqdl.

`load_dataset` takes one word that says what to read:

* ``mnist-test``: the 10,000 MNIST test digits; ``digits`` and ``digits-train``: the two parts of 1,797 handwritten
  digits of 8 x 8 pixels; ``breast-cancer`` and ``breast-cancer-train``: those of the Wisconsin diagnostic set; all
  ship with labqdl (`labqdl/data/LICENSES.md`);
* ``sklearn:digits`` (also iris, wine, breast_cancer): bundled with scikit-learn (extra ``train``);
* a path that ends in ``.npz``: arrays ``data`` and ``labels`` (or ``x`` and ``y``), no pickled objects;
* any other path: IDX images; the labels lie in a second file, given or found by its usual name.
"""

from __future__ import annotations

import gzip
import importlib
import importlib.resources
import io
import math
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from labqdl.config.files import read_bytes
from labqdl.errors import InputError

_IDX_TYPES: dict[int, str] = {0x08: "u1", 0x09: "i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
_SKLEARN = ("digits", "iris", "wine", "breast_cancer")
_DIGITS = tuple(str(digit) for digit in range(10))


@dataclass(frozen=True, slots=True, eq=False)
class Dataset:
    """Data vectors or images with their labels.

    Attributes
    ----------
    name, source:
        What it is called, and the file or package that it came from (for messages).
    data:
        Real numbers, shape (data, *shape of one datum).
    labels:
        int64, shape (data,), or None where there are none.
    classes:
        Names of the labels 0, 1, ...; empty where they have none.
    """

    name: str
    source: str
    data: NDArray[Any]
    labels: NDArray[np.int64] | None
    classes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.data)

    def first(self, count: int) -> Dataset:
        """The first `count` data.

        Raises
        ------
        InputError
            If there are fewer, or `count` is below one.
        """
        if not 1 <= count <= len(self):
            raise InputError(f"{count} data asked for", source=self.source, expected=f"1 to {len(self)}")
        labels = None if self.labels is None else self.labels[:count]
        return Dataset(self.name, self.source, self.data[:count], labels, self.classes)


def shipped_file(name: str) -> Traversable:
    """A file of `labqdl/data`, wherever labqdl is installed (also inside a zip)."""
    return importlib.resources.files("labqdl").joinpath("data", name)


def read_idx(path: Path | Traversable) -> NDArray[Any]:
    """An array from an IDX file, gzip-compressed or not (told by its content, not by its name).

    Raises
    ------
    InputError
        For a missing or truncated file, a damaged gzip stream and a wrong magic number.
    """
    where = str(path)
    content = read_bytes(path)
    if content[:2] == b"\x1f\x8b":
        try:
            content = gzip.decompress(content)
        except (OSError, EOFError, zlib.error) as error:
            raise InputError(f"damaged or truncated gzip file: {error}", source=where) from None
    if len(content) < 4 or content[:2] != b"\x00\x00" or content[2] not in _IDX_TYPES or content[3] == 0:
        raise InputError(
            f"magic number {content[:4].hex(' ') or '(none)'}",
            source=where,
            expected="an IDX file: 00 00, a type (08 for bytes), the number of dimensions",
        )
    dimensions = content[3]
    start = 4 + 4 * dimensions
    if len(content) < start:
        raise InputError(f"the header ends after {len(content)} bytes", source=where, expected=f"{start} bytes")
    shape = tuple(int(n) for n in np.frombuffer(content, dtype=">u4", count=dimensions, offset=4))
    dtype = np.dtype(_IDX_TYPES[content[2]])
    wanted = math.prod(shape) * dtype.itemsize
    if len(content) - start != wanted:
        raise InputError(
            f"{len(content) - start} bytes of data", source=where, expected=f"{wanted} bytes for the shape {shape}"
        )
    return np.frombuffer(content, dtype=dtype, offset=start).reshape(shape).astype(dtype.newbyteorder("="))


def load_idx(images: Path | Traversable, labels: Path | Traversable | None = None, *, name: str = "idx") -> Dataset:
    """Images and labels from two IDX files, or images alone."""
    data = read_idx(images)
    numbers = None if labels is None else read_idx(labels)
    return _checked(name, str(images), data, numbers, str(labels))


def load_npz(path: Path) -> Dataset:
    """Arrays `data` (or `x`) and `labels` (or `y`, or none) from an npz archive; never unpickles."""
    content = read_bytes(path)
    # np.load would take a lone .npy or a pickle here; a damaged archive must not leave a file handle behind.
    if content[:2] != b"PK":
        raise InputError("no readable npz archive: it does not start like a zip file", source=path)
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as archive:
            members = {key: archive[key] for key in archive.files}
    except (OSError, EOFError, ValueError, zipfile.BadZipFile, zlib.error) as error:
        raise InputError(f"no readable npz archive: {error}", source=path) from None
    data_key = next((key for key in ("data", "x") if key in members), None)
    if data_key is None:
        found = ", ".join(sorted(members)) or "nothing"
        raise InputError(f"holds {found}", source=path, expected="an array 'data' (or 'x')")
    label_key = next((key for key in ("labels", "y") if key in members), None)
    labels = None if label_key is None else members[label_key]
    return _checked(path.stem, str(path), members[data_key], labels, f"{path}: key '{label_key}'")


def load_sklearn(name: str) -> Dataset:
    """One of scikit-learn's bundled sets: digits (8x8 images), iris, wine, breast_cancer.

    Raises
    ------
    InputError
        For another name, and where scikit-learn is not installed.
    """
    if name not in _SKLEARN:
        raise InputError(f"scikit-learn bundles no set '{name}' for classification", expected=", ".join(_SKLEARN))
    try:
        bunch = getattr(importlib.import_module("sklearn.datasets"), f"load_{name}")()
    except ImportError:
        raise InputError(
            f"'sklearn:{name}' needs scikit-learn, which is not installed", hint="pip install 'labqdl[train]'"
        ) from None
    data = bunch.images if name == "digits" else bunch.data
    classes = tuple(str(word) for word in bunch.target_names)
    return Dataset(f"sklearn:{name}", f"sklearn:{name}", data, np.asarray(bunch.target, dtype=np.int64), classes)


def mnist_test() -> Dataset:
    """The 10,000 MNIST test digits: uint8, shape (10000, 28, 28)."""
    found = load_idx(
        shipped_file("t10k-images-idx3-ubyte.gz"), shipped_file("t10k-labels-idx1-ubyte.gz"), name="mnist-test"
    )
    return Dataset("mnist-test", found.source, found.data, found.labels, _DIGITS)


def breast_cancer(*, train: bool = False) -> Dataset:
    """Breast cancer Wisconsin (diagnostic): 30 features of cell nuclei, 0 malignant, 1 benign.

    The part for testing (114 patients) or the one for training (455); the split is stratified and ships with the
    data.
    """
    return _shipped_part("breast-cancer", ("malignant", "benign"), train)


def digits(*, train: bool = False) -> Dataset:
    """Handwritten digits of 8 x 8 pixels, 0 to 16 each: uint8, shape (data, 8, 8).

    The part for testing (360 digits) or the one for training (1,437); the split is stratified, mixes all writers and
    ships with the data.
    """
    return _shipped_part("digits", _DIGITS, train)


def _shipped_part(name: str, classes: tuple[str, ...], train: bool) -> Dataset:
    file = shipped_file(f"{name}.npz")
    with np.load(io.BytesIO(file.read_bytes()), allow_pickle=False) as archive:
        part = archive["test"] != train
        data, labels = archive["data"][part], archive["labels"][part].astype(np.int64)
    return Dataset(f"{name}-train" if train else name, str(file), data, labels, classes)


SHIPPED: dict[str, Callable[[], Dataset]] = {
    "mnist-test": mnist_test,
    "digits": digits,
    "digits-train": lambda: digits(train=True),
    "breast-cancer": breast_cancer,
    "breast-cancer-train": lambda: breast_cancer(train=True),
}


def load_dataset(what: str | Path, *, labels: Path | None = None) -> Dataset:
    """A data set by shipped name, `sklearn:NAME` or path; see the module's first lines.

    Parameters
    ----------
    labels:
        IDX file of labels, for data that have none of their own. Without it, the one whose name has "labels-idx1"
        in place of "images-idx3" is taken if it exists.

    Raises
    ------
    InputError
        For anything that cannot be read; names the file and says what was expected.
    """
    word = str(what)
    path = Path(what)
    named = word in SHIPPED or word.startswith("sklearn:")
    if named or path.suffix == ".npz":
        if word in SHIPPED:
            found = SHIPPED[word]()
        else:
            found = load_sklearn(word.removeprefix("sklearn:")) if named else load_npz(path)
        if labels is None:
            return found
        if found.labels is not None:
            raise InputError(
                f"labels are given, but the data set '{word}' has its own", source=labels, hint="Leave them out"
            )
        return _checked(found.name, found.source, found.data, read_idx(labels), str(labels))
    if not path.exists():
        raise InputError(
            f"there is no file and no data set '{word}'",
            expected=f"a path, one of {', '.join(SHIPPED)}, or one of {', '.join('sklearn:' + n for n in _SKLEARN)}",
        )
    if labels is None and "images-idx3" in path.name:
        beside = path.with_name(path.name.replace("images-idx3", "labels-idx1"))
        labels = beside if beside.exists() else None
    return load_idx(path, labels, name=path.stem)


def _checked(name: str, source: str, data: NDArray[Any], labels: NDArray[Any] | None, labels_source: str) -> Dataset:
    """A data set of real, finite numbers with one whole label for each datum."""
    if data.dtype.kind not in "biuf":
        raise InputError(f"data of type {data.dtype}", source=source, expected="real numbers")
    if data.ndim < 2:
        raise InputError(f"data of shape {data.shape}", source=source, expected="(data, features) or (data, ...)")
    if data.size == 0:
        raise InputError("the data set is empty", source=source, expected="at least one datum")
    if data.dtype.kind == "f" and not np.isfinite(data).all():
        place = np.argwhere(~np.isfinite(data))[0].tolist()
        raise InputError(f"entry {place} is NaN or infinite", source=source, expected="finite numbers")
    if labels is None:
        return Dataset(name, source, data, None)
    if labels.dtype.kind not in "iu" or labels.shape != (len(data),) or (labels.size and labels.min() < 0):
        raise InputError(
            f"labels of type {labels.dtype} and shape {labels.shape}",
            source=labels_source,
            expected=f"{len(data)} whole numbers from 0 on, one for each datum",
        )
    return Dataset(name, source, data, labels.astype(np.int64))
