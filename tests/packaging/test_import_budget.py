"""`import labqdl` is quick: it loads numpy and the standard library at most."""

from __future__ import annotations

import json
import subprocess
import sys

SCRIPT = """
import json, sys, time
before = set(sys.modules)
start = time.perf_counter()
import labqdl
own = time.perf_counter() - start
loaded = sorted(set(sys.modules) - before)
start = time.perf_counter()
import numpy
print(json.dumps({"loaded": loaded, "own": own, "numpy": time.perf_counter() - start}))
"""
ABSENT = (
    "click",
    "h5py",
    "jax",
    "jinja2",
    "matplotlib",
    "pyqtgraph",
    "pyvisa",
    "PySide6",
    "rich",
    "safetensors",
    "scipy",
    "pyvisa_py",
    "serial",
    "sklearn",
    "threadpoolctl",
    "zmq",
)
ALLOWED = {"labqdl", "numpy", "cython_runtime"}


def test_import_loads_numpy_and_the_standard_library_only() -> None:
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True)
    report = json.loads(done.stdout)
    roots = {name.partition(".")[0] for name in report["loaded"]}
    assert "labqdl" in roots
    assert not roots & set(ABSENT)
    foreign = {name for name in roots if name not in ALLOWED | sys.stdlib_module_names}
    assert not {name for name in foreign if not name.startswith("_cython")}
    # For whoever reads the log; a time is no assertion.
    print(f"import labqdl took {report['own'] / report['numpy']:.3f} of the time of import numpy")


def test_the_public_names_load_on_first_use() -> None:
    script = "import labqdl; assert 'run' in dir(labqdl); labqdl.run; import sys; assert 'scipy' in sys.modules"
    subprocess.run([sys.executable, "-c", script], check=True)
