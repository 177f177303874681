"""Settings of all tests."""

from __future__ import annotations

import os
import signal
import tempfile
import threading
from pathlib import Path

from hypothesis import HealthCheck, settings

from labqdl.safety import set_process_guard

# Repeatable, and no judgement on speed: the machine may be busy with another worker. New examples are looked for with
# `pytest --hypothesis-profile=default`.
settings.register_profile(
    "repeatable", derandomize=True, deadline=None, suppress_health_check=[HealthCheck.too_slow], print_blob=True
)
settings.load_profile("repeatable")

# A runner that starts the tests in the background hands down an ignored Ctrl-C and SIGQUIT; the tests of stopping, and
# the processes that they begin, need real ones.
if threading.current_thread() is threading.main_thread():
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if hasattr(signal, "SIGQUIT") and signal.getsignal(signal.SIGQUIT) is signal.SIG_IGN:
        signal.signal(signal.SIGQUIT, signal.SIG_DFL)

# Drivers under test stand in no script: what they switch on is the test's own business, and no watchdog's.
set_process_guard(None)
# And what could not be made safe in a test is no reason to stop a person's experiment, nor the other way round.
os.environ["LABQDL_STATE"] = str(Path(tempfile.gettempdir()) / f"labqdl-tests-{os.getpid()}")
