"""Which tap, gain, light and number of symbols reach a target on a ledger, or what stands in the way.

Pure numerics: no files, no clock. It joins the bounds of `security` with a network's sizes, spectra and measured
accuracy; `labqdl.api.planning` loads those.
"""

from __future__ import annotations
