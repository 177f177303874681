"""An instrument that QCoDeS drives, served as one of ours; as `pymeasure_instrument`, with parameters for properties.

[instruments.meter]
driver = "qcodes"
resource = "USB0::0x1313::0x8078::P0001234::INSTR"
options = { instrument = "qcodes.instrument_drivers.Keithley:Keithley2450", role = "VoltageSource" }
safe = ["output_enabled = false"]
"""

from __future__ import annotations

import itertools
import re
from typing import Any, ClassVar

from labqdl.instruments import Identity
from labqdl_drivers.adapters.foreign import ForeignInstrument

_NUMBERS = itertools.count(1)
"""QCoDeS knows all instruments of a process by name, and no two may have the same one."""


class QCoDeSInstrument(ForeignInstrument):
    """Base of the classes that are made for each mapping; `QCoDeSInstrument(...)` gives one of the role's class.

    A property is a parameter, of the instrument or (dotted) of one of its submodules.
    """

    package: ClassVar[str] = "QCoDeS"
    install: ClassVar[str] = "qcodes"
    driver_name: ClassVar[str] = "qcodes"
    models: ClassVar[tuple[str, ...]] = ("whatever QCoDeS drives",)

    def identity(self) -> Identity:
        """What QCoDeS reports as the identity."""
        found = self._ask("reading the identity", lambda: self._theirs.get_idn())
        return Identity(*(str(found.get(key) or "") for key in ("vendor", "model", "serial", "firmware")))

    def _make(self, kind: Any) -> Any:
        library = self.library
        if library is not None and not isinstance(library, str):
            library = f"{library.library_path}@labqdl"  # QCoDeS takes names only
        name = f"{re.sub(r'[^A-Za-z0-9]', '_', self.name)}_{next(_NUMBERS)}"
        ending = self._wanted["read_termination"] or self._wanted["write_termination"]
        more = ({} if library is None else {"visalib": library}) | ({"terminator": ending} if ending else {})
        return kind(name, self.resource, **more)

    def _parameter(self, name: str) -> Any:
        parent, last = self._parent(name)
        return getattr(parent, "parameters", {}).get(last)

    def _get(self, name: str) -> Any:
        return self._parameter(name)()

    def _set(self, name: str, value: Any) -> None:
        self._parameter(name)(value)

    def _has(self, name: str) -> bool:
        return self._parameter(name) is not None

    def _release(self, theirs: Any) -> None:
        theirs.close()
