"""Writes a described set of variables as HDF5 or NetCDF: whole or not at all, the same numbers to the same bytes."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from labqdl.errors import InputError
from labqdl.records import storage

Piece = tuple[str, slice, NDArray[Any]]
"""Numbers of a variable: its name, their place on its first axis, and themselves."""


@dataclass(frozen=True)
class Variable:
    """One variable: its axes, its type and what it means; its numbers, unless they come block by block."""

    name: str
    axes: tuple[str, ...]
    dtype: np.dtype[Any]
    units: str
    long_name: str
    values: NDArray[Any] | None = None


@dataclass(frozen=True)
class Description:
    """All that a file will hold; every axis has a variable of its own name with its values.

    `pieces` gives the numbers of variables that have none yet, in any order, so that memory does not grow with them.
    """

    sizes: Mapping[str, int]
    variables: tuple[Variable, ...]
    pieces: Callable[[], Iterator[Piece]]
    attributes: Mapping[str, str] = field(default_factory=dict)


def write(target: Path, described: Description) -> Path:
    """Write a file in the format that its ending says; InputError where the extra is missing."""
    temporary = storage.partial_name(target)
    try:
        try:
            _WRITERS[target.suffix.lower()](temporary, described)
        except ImportError as error:
            raise InputError(
                f"writing this format needs the package {error.name}",
                source=target,
                hint='pip install "labqdl[export]"',
            ) from None
        os.replace(temporary, target)
    finally:
        temporary.unlink(missing_ok=True)
    return target


def _write_hdf5(path: Path, described: Description) -> None:
    """HDF5 with a dimension scale for every axis."""
    import h5py

    with h5py.File(path, "w", libver=("earliest", "v110")) as file:
        for name, value in described.attributes.items():
            file.attrs[name] = value
        axes = [variable for variable in described.variables if variable.axes == (variable.name,)]
        others = [variable for variable in described.variables if variable.axes != (variable.name,)]
        for variable in (*axes, *others):
            shape = tuple(described.sizes[axis] for axis in variable.axes)
            data = file.create_dataset(variable.name, shape, **_storage(variable, shape, h5py.string_dtype()))
            for name, text in _notes(variable).items():
                data.attrs[name] = text
            if variable.axes == (variable.name,):
                data.make_scale(variable.name)
            else:
                for index, axis in enumerate(variable.axes):
                    data.dims[index].attach_scale(file[axis])
                    data.dims[index].label = axis
            if variable.values is not None:
                data[...] = _stored(variable.values)
        for name, place, values in described.pieces():
            file[name][place] = _stored(values)


def _write_netcdf(path: Path, described: Description) -> None:
    """NetCDF 4."""
    import h5netcdf
    import h5py

    with h5netcdf.File(path, "w") as file:
        file.dimensions = dict(described.sizes)
        for name, value in described.attributes.items():
            file.attrs[name] = value
        for variable in described.variables:
            shape = tuple(described.sizes[axis] for axis in variable.axes)
            options = _storage(variable, shape, h5py.string_dtype())
            kind = options.pop("dtype")
            data = file.create_variable(variable.name, variable.axes, kind, **options)
            for name, text in _notes(variable).items():
                data.attrs[name] = text
            if variable.values is not None:
                data[...] = _stored(variable.values)
        for name, place, values in described.pieces():
            file[name][place] = _stored(values)


_WRITERS: Mapping[str, Callable[[Path, Description], None]] = {
    ".h5": _write_hdf5,
    ".hdf5": _write_hdf5,
    ".nc": _write_netcdf,
    ".nc4": _write_netcdf,
}


ENDINGS = tuple(_WRITERS)
"""Endings of files, each of which says a format."""


def _storage(variable: Variable, shape: tuple[int, ...], words: Any) -> dict[str, Any]:
    """Type, fill value and compression of a variable; booleans are small numbers, as NetCDF has none."""
    kind = variable.dtype
    options: dict[str, Any] = {"dtype": words if kind.kind == "O" else np.dtype("i1") if kind.kind == "b" else kind}
    if kind == np.dtype("<f4"):
        options["fillvalue"] = np.float32(np.nan)
    if len(shape) > 1 and min(shape) > 0:
        options |= {"chunks": (1 if len(shape) > 2 else min(shape[0], 256), *shape[1:])}
        options |= {"compression": "gzip", "compression_opts": 1, "shuffle": True}
    return options


def _notes(variable: Variable) -> dict[str, str]:
    notes = {"long_name": variable.long_name}
    if variable.units:
        notes["units"] = variable.units
    if variable.dtype.kind == "b":
        notes["dtype"] = "bool"  # so that xarray gives booleans back
    return notes


def _stored(values: NDArray[Any]) -> NDArray[Any]:
    return values.astype("i1") if values.dtype.kind == "b" else values
