"""Mutants that are known to change nothing that anyone could notice, each with the reason."""

from collections.abc import Mapping
from typing import Final

EQUIVALENT: Final[Mapping[str, str]] = {
    "documents/reading.py _decode_rows: b\"null\" => b'nullX' in flat = bytes(rows)"
    '.translate(None, b"[]").replace(b"null", _NO_NUMBER)': (
        "numpy reads None as NaN too, only slower"
    ),
    "documents/stored_text.py _TEXT_SLICE: 16 => 17 in _TEXT_SLICE: Final = 4 << 16": (
        "slices of another size, still of whole base64 groups"
    ),
    "data_collector/funding_rules.py complete_until: 0 => 1 in last_ms ="
    " settlement_instant(rows[-1][TIME]) if rows else 0": (
        "both are before every settlement there is"
    ),
    "job_queue/local_wakeup.py LocalWakeup._open_pipe: draft.unlink(missing_ok=True) =>"
    " draft.unlink() in draft.unlink(missing_ok=True)": (
        "the draft is there; were it not, the caller would see an OSError in either case"
    ),
    'documents/text.py DocumentText._first_row_from: 1 => 2 in following = text.find(b"[", row + 1,'
    " high)": "no row is one byte long",
    "documents/stored_text.py TextStream.piece: time.sleep(0) => pass in time.sleep(0)  # releases"
    " the GIL to the event loop": "the same text; other threads run a little later",
}
