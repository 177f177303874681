"""What calibrations found: values with covariance, when, how, from which data and for how long they hold.

A result knows what it was computed with (`requires`, by digest): when one of those is measured again, it is stale
like one whose time is over. Who uses a figure asks the set for it by name and key; what is missing is an `InputError`
that says which routine to run.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from labqdl.errors import InputError
from labqdl.facts.ledger import Owner

SCHEMA = 1
"""Version of the JSON form."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """A value and its standard deviation, in `unit`."""

    value: float
    deviation: float
    unit: str = ""

    def __str__(self) -> str:
        unit = f" {self.unit}" if self.unit else ""
        if not self.deviation > 0:
            return f"{self.value:.6g}{unit}"
        # Two figures of the deviation, and as many places of the value.
        places = 1 - math.floor(math.log10(self.deviation))
        if 0 <= places <= 9:
            return f"{self.value:.{places}f} ± {self.deviation:.{places}f}{unit}"
        return f"{self.value:.6g} ± {self.deviation:.2g}{unit}"


@dataclass(frozen=True, slots=True)
class CalibrationResult:
    """One calibration.

    Attributes
    ----------
    name:
        Such as "client.shot-noise"; names are unique in a station.
    owner:
        Whose it is: a party reads its own ones and those of the channel.
    values, units:
        By key; SI units, SNU, dB where the key ends in `_db`.
    covariance:
        Of the values in the order of `values`; (keys, keys). Diagonal zeros say that a value is exact.
    method, version:
        What was done, in a sentence, and the version of the routine that did it.
    taken, valid_for:
        Wall time of the end of the measurement in s since 1970, and how many seconds it holds.
    conditions:
        What it was taken under: powers, temperatures, settings that it depends on.
    raw_digest:
        BLAKE2b-256 of the raw data, hexadecimal.
    requires:
        Digests of the results that it was computed with, by name.
    remarks:
        What a person should know.
    failures:
        Checks that it did not pass; a result with failures is kept, to be looked at, and never used.
    """

    name: str
    owner: Owner
    values: Mapping[str, float]
    units: Mapping[str, str]
    covariance: NDArray[np.float64] = field(repr=False)
    method: str
    version: int
    taken: float
    valid_for: float
    conditions: Mapping[str, float | str] = field(default_factory=dict)
    raw_digest: str = ""
    requires: Mapping[str, str] = field(default_factory=dict)
    remarks: tuple[str, ...] = ()
    failures: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "owner", Owner(self.owner))
        object.__setattr__(self, "covariance", np.array(self.covariance, dtype=np.float64))
        object.__setattr__(self, "values", {key: float(value) for key, value in self.values.items()})
        size = len(self.values)
        if set(self.units) != set(self.values):
            raise ValueError(f"{self.name}: values and units have different keys")
        if self.covariance.shape != (size, size):
            raise ValueError(f"{self.name}: the covariance is {self.covariance.shape}, expected {(size, size)}")
        bad = [key for key, value in self.values.items() if not math.isfinite(value)]
        if bad or not np.all(np.isfinite(self.covariance)):
            raise ValueError(f"{self.name}: {', '.join(bad) or 'the covariance'} is not finite")
        if np.any(np.diag(self.covariance) < 0) or not np.allclose(self.covariance, self.covariance.T, rtol=1e-9):
            raise ValueError(f"{self.name}: the covariance is not symmetric with variances of at least 0")
        if not self.valid_for > 0:
            raise ValueError(f"{self.name}: valid_for must be positive, got {self.valid_for!r}")

    def estimate(self, key: str) -> Estimate:
        """Value and standard deviation of one key; InputError for one that the result does not have."""
        place = list(self._known(key)).index(key)
        return Estimate(self.values[key], math.sqrt(self.covariance[place, place]), self.units[key])

    def value(self, key: str) -> float:
        """Value of one key; InputError for one that the result does not have."""
        return self._known(key)[key]

    def covariance_of(self, *keys: str) -> NDArray[np.float64]:
        """Covariance of some values; (keys, keys)."""
        order = list(self.values)
        places = [order.index(key) for key in keys if self._known(key)]
        return self.covariance[np.ix_(places, places)]

    def _known(self, key: str) -> Mapping[str, float]:
        if key not in self.values:
            raise InputError(
                f"the calibration has no {key!r}",
                source=self.name,
                expected=", ".join(self.values),
                hint="measure it again: its routine is newer than the result",
            )
        return self.values

    @property
    def good(self) -> bool:
        """Whether it passed its own checks."""
        return not self.failures

    @property
    def digest(self) -> str:
        """BLAKE2b-256 of the canonical JSON, hexadecimal."""
        text = json.dumps(self.to_json(), sort_keys=True, separators=(",", ":"), allow_nan=False)
        return hashlib.blake2b(text.encode(), digest_size=32).hexdigest()

    def age(self, now: float) -> float:
        """Seconds since it was taken."""
        return now - self.taken

    def to_json(self) -> dict[str, Any]:
        """As JSON keeps it; exact."""
        return {
            "schema": SCHEMA,
            "name": self.name,
            "owner": self.owner.value,
            "values": dict(self.values),
            "units": dict(self.units),
            "covariance": self.covariance.tolist(),
            "method": self.method,
            "version": self.version,
            "taken": self.taken,
            "valid_for": self.valid_for,
            "conditions": dict(self.conditions),
            "raw_digest": self.raw_digest,
            "requires": dict(self.requires),
            "remarks": list(self.remarks),
            "failures": list(self.failures),
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> CalibrationResult:
        """The result that `to_json` wrote.

        Raises
        ------
        InputError
            For another schema, missing or unknown keys, and values that no result has.
        """
        if not isinstance(data, Mapping) or data.get("schema") != SCHEMA:
            raise InputError("not a calibration result of this version", key="schema", expected=str(SCHEMA))
        keys = [key for key in cls.__dataclass_fields__ if key not in data]
        extra = [key for key in data if key not in cls.__dataclass_fields__ and key != "schema"]
        if keys or extra:
            raise InputError(
                f"a calibration result has no {extra[0]!r}" if extra else f"{keys[0]!r} is missing",
                key=(extra or keys)[0],
            )
        known = {key: data[key] for key in cls.__dataclass_fields__}
        try:
            known |= {key: tuple(str(line) for line in known[key]) for key in ("remarks", "failures")}
            known["covariance"] = np.array(known["covariance"], np.float64).reshape(len(known["values"]), -1)
            return cls(**known)
        except (ValueError, TypeError, AttributeError) as error:
            raise InputError(f"not a calibration result: {error}") from error


class ProblemKind(StrEnum):
    """Why a calibration cannot be used."""

    MISSING = "missing"
    FAILED = "failed"
    EXPIRED = "expired"
    CHANGED = "changed"
    """Something that it was computed with has been measured again, or is gone."""


@dataclass(frozen=True, slots=True)
class CalibrationProblem:
    """What stands against the use of a calibration."""

    name: str
    kind: ProblemKind
    words: str

    def __str__(self) -> str:
        return f"{self.name}: {self.words}"


class CalibrationSet(Mapping[str, CalibrationResult]):
    """Calibrations of a station by name."""

    def __init__(self, results: Iterable[CalibrationResult] = (), *, station: str = "") -> None:
        self.station = station
        self._results: dict[str, CalibrationResult] = {}
        for result in results:
            if result.name in self._results:
                raise ValueError(f"two calibrations are called {result.name!r}")
            self._results[result.name] = result

    def __getitem__(self, name: str) -> CalibrationResult:
        return self._results[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._results)

    def __len__(self) -> int:
        return len(self._results)

    def with_result(self, *results: CalibrationResult) -> CalibrationSet:
        """A set in which these results replace those of their names."""
        merged = self._results | {result.name: result for result in results}
        return CalibrationSet(merged.values(), station=self.station)

    def of(self, owner: Owner | str) -> CalibrationSet:
        """What one party may read: its own calibrations, and those of the channel."""
        readable = (Owner(owner), Owner.CHANNEL)
        return CalibrationSet((one for one in self.values() if one.owner in readable), station=self.station)

    def result(self, name: str) -> CalibrationResult:
        """A calibration that is there and passed its checks; InputError otherwise."""
        found = self._results.get(name)
        hint = f"labqdl calibrate {self.station or 'STATION'} {name}"
        if found is None:
            raise InputError("there is no such calibration", source=name, hint=hint)
        if found.failures:
            raise InputError(f"the calibration failed: {found.failures[0]}", source=name, hint=hint)
        return found

    def value(self, name: str, key: str) -> float:
        """One calibrated value."""
        return self.result(name).value(key)

    def estimate(self, name: str, key: str) -> Estimate:
        """One calibrated value with its standard deviation."""
        return self.result(name).estimate(key)

    def problems(self, now: float, needed: Iterable[str] | None = None) -> tuple[CalibrationProblem, ...]:
        """What is missing, failed or stale at the wall time `now`, of what is needed (default: of all there is).

        What a needed calibration was computed with counts as well, down to the first.
        """
        found: dict[str, CalibrationProblem] = {}
        seen: set[str] = set()
        waiting = list(self if needed is None else needed)
        while waiting:
            name = waiting.pop(0)
            if name in seen:
                continue
            seen.add(name)
            problem = self._problem(name, now)
            if problem is not None:
                found[name] = problem
            if name in self:
                waiting.extend(self[name].requires)
        return tuple(found.values())

    def _problem(self, name: str, now: float) -> CalibrationProblem | None:
        result = self._results.get(name)
        if result is None:
            return CalibrationProblem(name, ProblemKind.MISSING, "was never measured")
        if result.failures:
            return CalibrationProblem(name, ProblemKind.FAILED, f"failed: {result.failures[0]}")
        if result.age(now) > result.valid_for:
            words = f"is {duration(result.age(now))} old and holds for {duration(result.valid_for)}"
            return CalibrationProblem(name, ProblemKind.EXPIRED, words)
        for other, digest in result.requires.items():
            if other not in self:
                return CalibrationProblem(name, ProblemKind.CHANGED, f"was computed with {other}, which is gone")
            if self[other].digest != digest:
                words = f"was computed with an older {other}"
                return CalibrationProblem(name, ProblemKind.CHANGED, words)
        return None

    @property
    def digest(self) -> str:
        """BLAKE2b-256 over the results' digests, hexadecimal."""
        joined = json.dumps({name: self[name].digest for name in sorted(self)}, separators=(",", ":"))
        return hashlib.blake2b(joined.encode(), digest_size=32).hexdigest()

    def to_json(self) -> dict[str, Any]:
        """As JSON keeps it; exact."""
        return {"schema": SCHEMA, "station": self.station, "results": [self[name].to_json() for name in sorted(self)]}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> CalibrationSet:
        """The set that `to_json` wrote; InputError for anything else."""
        if not isinstance(data, Mapping) or data.get("schema") != SCHEMA or not isinstance(data.get("results"), list):
            raise InputError("not a set of calibrations of this version", key="schema", expected=str(SCHEMA))
        return cls((CalibrationResult.from_json(one) for one in data["results"]), station=str(data.get("station", "")))


def duration(seconds: float) -> str:
    """Seconds in words with the unit that fits: "45 s", "12 min", "3.5 h", "2 d"."""
    for unit, size in (("d", 86400.0), ("h", 3600.0), ("min", 60.0)):
        if abs(seconds) >= 1.5 * size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds:.3g} s"
