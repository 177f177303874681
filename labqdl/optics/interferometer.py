"""The client's interferometer: passive optics that steer b = sum_j u_j* a_j into one named mode.

Two builds with n-1 couplers each. `GivensChain` couples a running carry with one mode after the other (depth n-1; also
the form of a loop with one variable coupler, with loss per round trip, and of a chain of integrated Mach-Zehnder
interferometers, `integrated_settings`). `TimeBinTree` merges blocks of 2, 4, 8, ... time bins (depth ceil(log2 n)).

Storage decides which build can be used with a delay line. The chain's inverse needs the *last* residual first
(LIFO): a fibre delay, which returns the first one first, gives a wrong matrix with the same angles. The tree keeps
every bin in its place in time in both directions and so works with a plain fibre delay (FIFO).
See docs/physics.md, section "Client unitary" (Sulimany et al., PRX 15, 041056; Givens rotations as in Clements et al.,
Optica 3, 1460).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Complex = NDArray[np.complex128]
Real = NDArray[np.float64]

# A direction that was normalised in float32 misses unit length by far less than this.
_UNIT_TOLERANCE = 1e-4


def _moduli_and_phases(u: NDArray[np.complexfloating] | NDArray[np.floating]) -> tuple[Real, Real]:
    """|u_j| and arg u_j of directions of shape (..., n), normalised to the last digit; arg 0 = 0."""
    direction = np.asarray(u, dtype=np.complex128)
    if direction.ndim == 0 or direction.shape[-1] == 0:
        raise ValueError(f"a direction needs at least one mode, got shape {direction.shape}")
    norm = np.linalg.norm(direction, axis=-1, keepdims=True)
    if not np.all(np.abs(norm - 1.0) < _UNIT_TOLERANCE):
        raise ValueError("directions must be unit vectors")
    return np.abs(direction) / norm, np.angle(direction)


def _modes_first(a: NDArray[np.complexfloating], n_modes: int, batch: tuple[int, ...]) -> Complex:
    """A fresh copy of (..., n) as (n, ...), its batch axes broadcast with those of the settings."""
    amplitudes = np.asarray(a)
    if amplitudes.ndim == 0 or amplitudes.shape[-1] != n_modes:
        raise ValueError(f"this interferometer takes (..., {n_modes}) mode amplitudes, got {amplitudes.shape}")
    shape = np.broadcast_shapes(amplitudes.shape[:-1], batch)
    fields = np.empty((n_modes, *shape), dtype=np.complex128)
    fields[:] = np.moveaxis(np.broadcast_to(amplitudes, (*shape, n_modes)), -1, 0)
    return fields


def _identity(n_modes: int, batch: tuple[int, ...]) -> Complex:
    """Every basis vector for every setting, shape (n, ..., n): first axis counts the basis vectors."""
    basis = np.eye(n_modes, dtype=np.complex128).reshape((n_modes, *(1,) * len(batch), n_modes))
    return np.broadcast_to(basis, (n_modes, *batch, n_modes))


@dataclass(frozen=True, slots=True, eq=False)
class GivensChain:
    """Chain of n-1 real couplers behind n phase shifters; the last output mode is b.

    With a'_j = exp(-i phase_j) a_j and the carry c_1 = a'_1, coupler k = 2..n makes

        c_k = cos(angle_k) c_{k-1} + sin(angle_k) a'_k,   d_k = -sin(angle_k) c_{k-1} + cos(angle_k) a'_k.

    Outputs in order: d_2, d_3, ..., d_n, c_n. As a loop of one slot: slot k lets d_k out, and after n slots the loop
    holds c_n. Per round trip the loop keeps the power fraction `loop_transmissivity`; its angles are then chosen such
    that the captured *direction* is still exactly u, and only the captured power drops to `captured_fraction`.

    Attributes
    ----------
    phases:
        Shape (..., n), rad: arg u_j, removed at the input.
    angles:
        Shape (..., n-1), rad in [0, pi/2]: coupler k's angle at index k-2.
    loop_transmissivity:
        Power kept per round trip between two couplers, in (0, 1]; 1 for a lossless chain.
    captured_fraction:
        Shape (...): power of mode u that reaches the last output, 1 without loss.
    """

    phases: Real
    angles: Real
    loop_transmissivity: float
    captured_fraction: Real

    @classmethod
    def from_direction(
        cls, u: NDArray[np.complexfloating] | NDArray[np.floating], loop_transmissivity: float = 1.0
    ) -> GivensChain:
        """Settings for unit directions.

        tan(angle_k) = r_k / sqrt(h_{k-1} / kappa), h_k = r_k^2 + h_{k-1} / kappa, h_1 = r_1^2, with r_j = |u_j| and
        kappa the loop's transmissivity; without loss h_k is the power of the first k entries.

        Parameters
        ----------
        u:
            Shape (..., n), unit vectors, complex or real; entries may be zero.
        loop_transmissivity:
            Power kept per round trip, in (0, 1].

        Raises
        ------
        ValueError
            For vectors that are not of unit length, and for a loop so lossy that nothing would be captured.
        """
        if not 0 < loop_transmissivity <= 1:
            raise ValueError(f"loop_transmissivity must lie in (0, 1], got {loop_transmissivity!r}")
        moduli, phases = _moduli_and_phases(u)
        angles = np.empty((*moduli.shape[:-1], moduli.shape[-1] - 1))
        trip = math.sqrt(loop_transmissivity)
        carry = moduli[..., 0]  # sqrt(h_k)
        with np.errstate(over="ignore"):
            for k in range(1, moduli.shape[-1]):
                arriving = carry / trip
                angles[..., k - 1] = np.arctan2(moduli[..., k], arriving)
                carry = np.hypot(moduli[..., k], arriving)
            captured = np.asarray(1.0 / carry**2)
        if not np.all(captured > 0):
            raise ValueError("the loop is too lossy for this many modes: nothing of the first ones would be left")
        return cls(phases, angles, float(loop_transmissivity), captured)

    @property
    def n_modes(self) -> int:
        """Number of modes n."""
        return int(self.phases.shape[-1])

    @property
    def depth(self) -> int:
        """Couplers that the first mode passes: n-1."""
        return self.n_modes - 1

    @property
    def addressed(self) -> int:
        """Index of the output mode that carries b: n-1, the last."""
        return self.n_modes - 1

    def forward(self, a: NDArray[np.complexfloating]) -> Complex:
        """Outputs (d_2, ..., d_n, c_n) of mode amplitudes.

        Parameters
        ----------
        a:
            Shape (..., n); its leading axes broadcast with those of the settings.

        Returns
        -------
        Shape (..., n), complex128. With loss these are mean amplitudes; the vacuum that the loss lets in is not drawn.
        """
        fields = _modes_first(a, self.n_modes, self.angles.shape[:-1])
        fields *= np.exp(-1j * np.moveaxis(self.phases, -1, 0)).reshape(self._column(fields.ndim))
        cosines, sines = self._couplers(fields.ndim)
        trip = math.sqrt(self.loop_transmissivity)
        for k in range(self.depth):
            carry = trip * fields[k]
            arriving = fields[k + 1].copy()
            fields[k] = cosines[k] * arriving - sines[k] * carry
            fields[k + 1] = cosines[k] * carry + sines[k] * arriving
        return np.moveaxis(fields, 0, -1)

    def inverse(self, outputs: NDArray[np.complexfloating]) -> Complex:
        """The way back through the same couplers in reverse order, then the phases.

        A rotation back has the negative angle; with its outputs in the order (d, c) a coupler is its own inverse.
        Without loss this undoes `forward`. With loss it is the loop run backwards, which loses the same power again:
        the adjoint of `matrix`, so that forward and inverse together are not a multiple of the identity.

        Parameters
        ----------
        outputs:
            Shape (..., n) in the order of `forward`'s result.

        Returns
        -------
        Shape (..., n), complex128.
        """
        fields = _modes_first(outputs, self.n_modes, self.angles.shape[:-1])
        cosines, sines = self._couplers(fields.ndim)
        trip = math.sqrt(self.loop_transmissivity)
        for k in reversed(range(self.depth)):
            residual = fields[k].copy()
            carry = fields[k + 1]
            fields[k] = trip * (cosines[k] * carry - sines[k] * residual)
            fields[k + 1] = sines[k] * carry + cosines[k] * residual
        fields *= np.exp(1j * np.moveaxis(self.phases, -1, 0)).reshape(self._column(fields.ndim))
        return np.moveaxis(fields, 0, -1)

    def matrix(self) -> Complex:
        """U with outputs = U a, shape (..., n, n); its last row is u^dagger (times sqrt(captured_fraction))."""
        batch = self.angles.shape[:-1]
        return np.moveaxis(self.forward(_identity(self.n_modes, batch)), 0, -1)

    def _column(self, ndim: int) -> tuple[int, ...]:
        """Shape of the settings with the mode axis first and room for the fields' further batch axes."""
        batch = self.angles.shape[:-1]
        return (-1, *(1,) * (ndim - 1 - len(batch)), *batch)

    def _couplers(self, ndim: int) -> tuple[Real, Real]:
        angles = np.moveaxis(self.angles, -1, 0)
        if not self.depth:
            return angles, angles
        angles = angles.reshape(self._column(ndim))
        return np.cos(angles), np.sin(angles)


@dataclass(frozen=True, slots=True, eq=False)
class IntegratedSettings:
    """Settings of a chain of integrated Mach-Zehnder interferometers (MZI) that stands in for a `GivensChain`.

    Attributes
    ----------
    internal, external:
        Shape (..., n-1), rad: Theta_k between the 50:50 couplers and phi_k on the upper input (the carry's).
    carry_phase:
        Shape (...), rad: Lambda; the last carry is exp(i Lambda) b, so that the client sets the phase of its local
        oscillator to Lambda.
    """

    internal: Real
    external: Real
    carry_phase: Real


def mzi_matrix(internal: float, external: float) -> Complex:
    """Matrix of an MZI with two 50:50 couplers: i e^{iT/2} [[e^{if} sin T/2, cos T/2], [e^{if} cos T/2, -sin T/2]].

    Parameters
    ----------
    internal:
        T, rad: phase on the upper arm between the couplers.
    external:
        f, rad: phase on the upper input.

    Returns
    -------
    Shape (2, 2), unitary; index 0 is the upper port.
    """
    sine, cosine = math.sin(internal / 2), math.cos(internal / 2)
    phase = np.exp(1j * external)
    common = 1j * np.exp(0.5j * internal)
    matrix: Complex = common * np.array([[phase * sine, cosine], [phase * cosine, -sine]])
    return matrix


def integrated_settings(chain: GivensChain) -> IntegratedSettings:
    """MZI phases that make the chain's carry, without separate input phase shifters.

    Theta_k = pi - 2 angle_k, phi_k = arg u_k - arg u_1 - chi_{k-1}, chi_1 = 0, chi_k = pi/2 + Theta_k/2 + arg u_k -
    arg u_1, Lambda = chi_n + arg u_1. The carry runs on the upper port and meets mode k on the lower one.

    Raises
    ------
    ValueError
        For a chain with loss per round trip: that is a loop, not an integrated mesh.
    """
    if chain.loop_transmissivity != 1:
        raise ValueError("integrated settings are those of a lossless chain")
    internal = np.pi - 2.0 * chain.angles
    first = chain.phases[..., :1]
    relative = chain.phases[..., 1:] - first
    chi = np.concatenate([np.zeros_like(first), np.pi / 2 + internal / 2 + relative], axis=-1)
    return IntegratedSettings(internal, relative - chi[..., :-1], chi[..., -1] + first[..., 0])


@dataclass(frozen=True, slots=True, eq=False)
class ReversedSettings:
    """Phases of a chain of MZIs that is passed backwards and undoes an integrated chain with the same internal phases.

    Attributes
    ----------
    external:
        Shape (..., n-1), rad: of MZI k = 2..n, on the port of the carry, which light meets last.
    returning:
        Shape (..., n), rad: a phase for each mode where it leaves.
    """

    external: Real
    returning: Real


def reversed_settings(settings: IntegratedSettings) -> ReversedSettings:
    """What undoes an integrated chain by passing a second one, with equal internal phases, from its output.

    Backwards an MZI is the transpose M^T, not the inverse. With M^T(T, f') = -e^{iT} diag(e^{i(f + f')}, 1) M(T, f)^-1
    the carry comes out right for f' = -f - pi - T, and the mode at the lower port, which gets the phase pi + T, needs
    the phase -(pi + T) on its way out; the first mode leaves at the upper port and needs none.
    """
    turned = np.pi + settings.internal
    none = np.zeros((*turned.shape[:-1], 1))
    return ReversedSettings(-settings.external - turned, np.concatenate([none, -turned], axis=-1))


@dataclass(frozen=True, slots=True, eq=False)
class TimeBinTree:
    """Binary tree over time bins with delays of 1, 2, 4, ... bins; the last bin carries b.

    Stage s = 0, 1, ... merges blocks of 2^s bins in pairs. Blocks are counted from the *last* bin, so that for any n
    the carry of a block sits in its last bin and the two carries that meet are exactly 2^s bins apart; only the first
    block may be short, and where it has no partner it passes. With the earlier carry e and the later one l,

        carry = cos(angle) e + sin(angle) l  in the later bin,   d = -sin(angle) e + cos(angle) l  in the earlier bin.

    One stage is one variable coupler with a delay loop of D = 2^s bins. In idle slots the coupler is open (crossed):
    every pulse enters the loop and leaves it D bins later. When the later carry arrives, the earlier one just comes
    out of the loop; d leaves at once, which is D bins after its own bin came in, and the carry takes the loop. So each
    bin passes each loop exactly once: the latency is D bins for *all* bins, the order in time is kept, and loss of the
    loops is the same for all modes. The way back uses the same stages in reverse order (..., 4, 2, 1) with the bins in
    the same order in time: a plain fibre delay (FIFO) can store them. Written as above, with d in the earlier and the
    carry in the later bin, a coupler is its own inverse, so that the angles stay as they are.

    Attributes
    ----------
    phases:
        Shape (..., n), rad: arg u_j, removed at the input.
    angles:
        One array a stage, shape (..., couplers), rad in [0, pi/2]; couplers are counted from the last bin backwards.
    """

    phases: Real
    angles: tuple[Real, ...]

    @classmethod
    def from_direction(cls, u: NDArray[np.complexfloating] | NDArray[np.floating]) -> TimeBinTree:
        """Settings for unit directions of shape (..., n), complex or real; entries may be zero.

        Raises
        ------
        ValueError
            For vectors that are not of unit length.
        """
        moduli, phases = _moduli_and_phases(u)
        carries = moduli[..., ::-1]  # root of the power of each block, last block first
        angles = []
        while carries.shape[-1] > 1:
            late, early = carries[..., 0::2], carries[..., 1::2]
            merged = late.copy()
            pairs = early.shape[-1]
            angles.append(np.arctan2(late[..., :pairs], early))
            merged[..., :pairs] = np.hypot(late[..., :pairs], early)
            carries = merged
        return cls(phases, tuple(angles))

    @property
    def n_modes(self) -> int:
        """Number of modes n."""
        return int(self.phases.shape[-1])

    @property
    def depth(self) -> int:
        """Number of stages: ceil(log2 n)."""
        return len(self.angles)

    @property
    def addressed(self) -> int:
        """Index of the output bin that carries b: n-1, the last."""
        return self.n_modes - 1

    @property
    def delays(self) -> tuple[int, ...]:
        """Delay and latency of each stage in bins: 1, 2, 4, ..."""
        return tuple(1 << stage for stage in range(self.depth))

    @property
    def latency(self) -> int:
        """Latency of one pass through all stages in bins: 2^depth - 1."""
        return (1 << self.depth) - 1

    def couplers(self, stage: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """Earlier and later bins that meet at the couplers of a stage, in the order of `angles[stage]`."""
        delay = 1 << stage
        early = np.arange(self.n_modes - 1 - delay, -1, -2 * delay, dtype=np.intp)
        return early, early + delay

    def forward(self, a: NDArray[np.complexfloating]) -> Complex:
        """Time bins behind the tree, b in the last one.

        Parameters
        ----------
        a:
            Shape (..., n); its leading axes broadcast with those of the settings.

        Returns
        -------
        Shape (..., n), complex128.
        """
        fields = _modes_first(a, self.n_modes, self.phases.shape[:-1])
        fields *= np.exp(-1j * self._first(self.phases, fields.ndim))
        for stage in range(self.depth):
            self._couple(fields, stage)
        return np.moveaxis(fields, 0, -1)

    def inverse(self, outputs: NDArray[np.complexfloating]) -> Complex:
        """Undo `forward`: stages in reverse order, the phases last.

        Parameters
        ----------
        outputs:
            Shape (..., n).

        Returns
        -------
        Shape (..., n), complex128.
        """
        fields = _modes_first(outputs, self.n_modes, self.phases.shape[:-1])
        for stage in reversed(range(self.depth)):
            self._couple(fields, stage)
        fields *= np.exp(1j * self._first(self.phases, fields.ndim))
        return np.moveaxis(fields, 0, -1)

    def matrix(self) -> Complex:
        """U with outputs = U a, shape (..., n, n); its last row is u^dagger."""
        batch = self.phases.shape[:-1]
        return np.moveaxis(self.forward(_identity(self.n_modes, batch)), 0, -1)

    def _first(self, settings: Real, ndim: int) -> Real:
        """Settings of shape (..., k) as (k, 1, ..., 1, ...) to meet fields of shape (n, extra..., ...)."""
        batch = self.phases.shape[:-1]
        return np.moveaxis(settings, -1, 0).reshape((settings.shape[-1], *(1,) * (ndim - 1 - len(batch)), *batch))

    def _couple(self, fields: Complex, stage: int) -> None:
        """Apply one stage in place: the earlier bin keeps d, the later one the carry. It is its own inverse."""
        angles = self._first(self.angles[stage], fields.ndim)
        cosines, sines = np.cos(angles), np.sin(angles)
        early_bins, late_bins = self.couplers(stage)
        early, late = fields[early_bins], fields[late_bins]
        fields[early_bins] = cosines * late - sines * early
        fields[late_bins] = cosines * early + sines * late
