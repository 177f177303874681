"""Settings of all tests."""

from __future__ import annotations

from hypothesis import HealthCheck, settings

# Repeatable, and no judgement on speed: the machine may be busy with another worker. New examples are looked for with
# `pytest --hypothesis-profile=default`.
settings.register_profile(
    "repeatable", derandomize=True, deadline=None, suppress_health_check=[HealthCheck.too_slow], print_blob=True
)
settings.load_profile("repeatable")
