"""Frozen value types that every room speaks. No behaviour beyond arithmetic on their own fields."""

from __future__ import annotations

from labqdl.facts.build import Floor, TapBuild
from labqdl.facts.calibration import CalibrationResult, CalibrationSet, Estimate
from labqdl.facts.frame import (
    Activation,
    ActivationKind,
    Budgets,
    FrameDescription,
    LayerFrame,
    ShotNoise,
    VerificationPlan,
)
from labqdl.facts.leakage import Bound, LeakageReport, Quantity, Refusal
from labqdl.facts.ledger import Component, Ledger, Owner, Place
from labqdl.facts.monitor import MonitorReading
from labqdl.facts.operating_point import OperatingPoint, TapKind, TapSetting
from labqdl.facts.returned import ResidualSample, ReturnedLight, UseSums
from labqdl.facts.statistics import RowStatistics
from labqdl.facts.verdict import Certificate, Consistency, Reason, TestResult, Verdict, VerdictKind

__all__ = [
    "Activation",
    "ActivationKind",
    "Bound",
    "Budgets",
    "CalibrationResult",
    "CalibrationSet",
    "Certificate",
    "Component",
    "Consistency",
    "Estimate",
    "Floor",
    "FrameDescription",
    "LayerFrame",
    "LeakageReport",
    "Ledger",
    "MonitorReading",
    "OperatingPoint",
    "Owner",
    "Place",
    "Quantity",
    "Reason",
    "Refusal",
    "ResidualSample",
    "ReturnedLight",
    "RowStatistics",
    "ShotNoise",
    "TapBuild",
    "TapKind",
    "TapSetting",
    "TestResult",
    "UseSums",
    "Verdict",
    "VerdictKind",
    "VerificationPlan",
]
