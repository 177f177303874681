"""Twins that speak SCPI over IEEE 488.2: declare parameters and commands, the rest is here.

    class Voa(ScpiTwin):
        attenuation = Param("INPut<ch>:ATTenuation", Number("DB", (0.0, 45.0)), 0.0, operation=0.2)
        suffixes = {"ch": (1, 3)}

        @query("READ<ch>:POWer?")
        def read_power(self, ch: int) -> float: ...

        @command("OUTPut<ch>:CORRection:COLLect:ZERO[:ALL]")
        def zero(self, ch: int) -> None:
            self.operate(3.0)

A handler gets the numeric suffixes of its pattern, then its arguments by their kinds. A query returns what goes
into the reply: str or bytes as they are, float, int and bool in the twin's format, a list or tuple joined by commas,
None for no reply at all. `raise ScpiError(-221)` puts an error into the queue. `self.now` is the instrument time at
which the command is executed, `self.operate(s)` starts an overlapped operation, `self.hold(s)` keeps the parser busy.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, TypeVar, cast, overload

from labqdl_sim.kinds import (
    Block,
    Boolean,
    Choice,
    Integer,
    Kind,
    Many,
    Number,
    Raw,
    ScpiError,
    Text,
    Word,
)  # fmt: skip
from labqdl_sim.tokens import block, divide, find_stop, trim
from labqdl_sim.tree import Found, Tree, suffix_names
from labqdl_sim.twin import Session, Twin

__all__ = [
    "Block", "Boolean", "Choice", "Integer", "Kind", "Many", "Number", "Param", "Raw", "ScpiError", "ScpiTwin", "Text",
    "Word", "block", "command", "query",
]  # fmt: skip

T = TypeVar("T")
F = TypeVar("F", bound=Callable[..., Any])

ERROR_TEXTS: dict[int, str] = {
    0: "No error",
    -100: "Command error", -101: "Invalid character", -102: "Syntax error", -103: "Invalid separator",
    -104: "Data type error", -105: "GET not allowed", -108: "Parameter not allowed", -109: "Missing parameter",
    -110: "Command header error", -112: "Program mnemonic too long", -113: "Undefined header",
    -114: "Header suffix out of range", -120: "Numeric data error", -121: "Invalid character in number",
    -123: "Exponent too large", -124: "Too many digits", -128: "Numeric data not allowed", -131: "Invalid suffix",
    -138: "Suffix not allowed", -141: "Invalid character data", -144: "Character data too long",
    -148: "Character data not allowed", -151: "Invalid string data", -158: "String data not allowed",
    -161: "Invalid block data", -168: "Block data not allowed", -178: "Expression data not allowed",
    -200: "Execution error", -203: "Command protected", -210: "Trigger error", -211: "Trigger ignored",
    -213: "Init ignored", -220: "Parameter error", -221: "Settings conflict", -222: "Data out of range",
    -223: "Too much data", -224: "Illegal parameter value", -225: "Out of memory", -230: "Data corrupt or stale",
    -231: "Data questionable", -240: "Hardware error", -241: "Hardware missing", -256: "File name not found",
    -257: "File name error", -300: "Device-specific error", -310: "System error", -315: "Configuration memory lost",
    -330: "Self-test failed", -350: "Queue overflow", -363: "Input buffer overrun", -400: "Query error",
    -410: "Query INTERRUPTED", -420: "Query UNTERMINATED", -430: "Query DEADLOCKED",
    -440: "Query UNTERMINATED after indefinite response",
}  # fmt: skip
"""Texts of the SCPI standard; a twin's `error_texts` go first."""

OPC, RQC, QYE, DDE, EXE, CME, URQ, PON = (1 << bit for bit in range(8))
"""Bits of the standard event status register."""

_PLANS = 2000  # messages of one query without arguments that a twin remembers


@dataclass(frozen=True, slots=True)
class _Command:
    """What a header leads to: a function of (twin, suffixes, tokens)."""

    run: Callable[[Any, tuple[int, ...], list[bytes]], Any]


_Declared = tuple[tuple[str, ...], tuple[Kind[Any], ...], int | None, tuple[Any, ...]]


def _mark(declared: _Declared) -> Callable[[F], F]:
    def decorate(function: F) -> F:
        function._scpi = [*getattr(function, "_scpi", []), declared]  # type: ignore[attr-defined]
        return function

    return decorate


def command(
    *patterns: str, takes: Sequence[Kind[Any]] = (), least: int | None = None, passes: Sequence[Any] = ()
) -> Callable[[F], F]:
    """Declare a method as a command under one or several headers.

    `takes` are the kinds of its arguments, of which at least `least` (default: all) must come; the method gives
    defaults to the others. `passes` are constants that it gets before its arguments, so that several decorators can
    share one method.
    """
    if any(pattern.endswith("?") for pattern in patterns):
        raise ValueError("a header with ? is a query")
    return _mark((patterns, tuple(takes), least, tuple(passes)))


def query(
    *patterns: str, takes: Sequence[Kind[Any]] = (), least: int | None = None, passes: Sequence[Any] = ()
) -> Callable[[F], F]:
    """Declare a method as a query; the headers end in ?. Arguments as for `command`."""
    if not all(pattern.endswith("?") for pattern in patterns):
        raise ValueError("the header of a query ends in ?")
    return _mark((patterns, tuple(takes), least, tuple(passes)))


def read_arguments(
    twin: ScpiTwin, kinds: Sequence[Kind[Any]], least: int, tokens: list[bytes], suffixes: tuple[int, ...]
) -> list[Any]:
    """Values of the arguments of a command: -108 for too many, -109 for too few."""
    many = kinds[-1] if kinds and isinstance(kinds[-1], Many) else None
    if many is None and len(tokens) > len(kinds):
        raise ScpiError(-108)
    if len(tokens) < least:
        raise ScpiError(-109)
    values = []
    for index, token in enumerate(tokens):
        kind = many.kind if many is not None and index >= len(kinds) - 1 else kinds[index]
        if not token:
            raise ScpiError(-109)
        values.append(kind.parse(twin, token, *suffixes))
    return values


class Param(Generic[T]):
    """A setting with its header: set, query, `MIN|MAX|DEF`, range and type errors, reset value, settling.

    Parameters
    ----------
    pattern:
        Header without ?, in manual notation.
    kind:
        Kind of its value.
    default:
        Value after *RST: a value, or a function of (twin, *suffixes).
    settle:
        Time constant in s with which `actual` follows the setting (numbers only).
    operation:
        Seconds that a set keeps an overlapped operation running, or a function of (twin, old, new, *suffixes).
    settable, readable:
        False for headers that exist only as query, or only as set.
    kept:
        *RST leaves it alone.

    As an attribute of the instance it is the value under suffixes 1; `Class.param.of(twin, 3)` and
    `.put(twin, value, 3)` reach the others. `put` and attribute assignment check nothing and call no hook.
    """

    def __init__(
        self,
        pattern: str,
        kind: Kind[T],
        default: T | Callable[..., T],
        *,
        settle: float = 0.0,
        operation: float | Callable[..., float] = 0.0,
        settable: bool = True,
        readable: bool = True,
        kept: bool = False,
    ) -> None:
        self.pattern = pattern
        self.kind = kind
        self._default = default
        self._settle = settle
        self._operation = operation
        self._settable = settable
        self._readable = readable
        self.kept = kept
        self._ones = (1,) * len(suffix_names(pattern))
        self._check: Callable[..., T | None] | None = None
        self._changed: Callable[..., None] | None = None
        self.name = pattern

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    def check(self, function: F) -> F:
        """Decorator: `function(self, value, *suffixes)` before a set; raises ScpiError, may return another value."""
        self._check = function
        return function

    def changed(self, function: F) -> F:
        """Decorator: `function(self, value, *suffixes)` after a set."""
        self._changed = function
        return function

    @overload
    def __get__(self, twin: None, owner: type) -> Param[T]: ...
    @overload
    def __get__(self, twin: ScpiTwin, owner: type) -> T: ...
    def __get__(self, twin: ScpiTwin | None, owner: type) -> Param[T] | T:
        return self if twin is None else self.of(twin, *self._ones)

    def __set__(self, twin: ScpiTwin, value: T) -> None:
        self.put(twin, value, *self._ones)

    def default(self, twin: ScpiTwin, *suffixes: int) -> T:
        """The value after *RST."""
        return self._default(twin, *suffixes) if callable(self._default) else self._default

    def of(self, twin: ScpiTwin, *suffixes: int) -> T:
        """The setting."""
        values = twin.values
        key = (self.name, suffixes)
        return cast("T", values[key]) if key in values else self.default(twin, *suffixes)

    def put(self, twin: ScpiTwin, value: T, *suffixes: int) -> None:
        """Change the setting, as the instrument itself does; settling starts from the present value."""
        key = (self.name, suffixes)
        if self._settle:
            twin.histories[key] = (self.actual(twin, twin.now, *suffixes), twin.now)
        twin.values[key] = value

    def actual(self, twin: ScpiTwin, t: float, *suffixes: int) -> float:
        """Where the quantity is at instrument time t on its way to the setting (first order)."""
        target = cast("float", self.of(twin, *suffixes))
        start = twin.histories.get((self.name, suffixes))
        if start is None or not self._settle:
            return target
        return target + (start[0] - target) * math.exp(-max(t - start[1], 0.0) / self._settle)

    def _bound(self, twin: ScpiTwin, token: bytes, suffixes: tuple[int, ...]) -> T | None:
        word = token.upper()
        if word in (b"MIN", b"MINIMUM"):
            return self.kind.extreme(twin, "MIN", *suffixes)
        if word in (b"MAX", b"MAXIMUM"):
            return self.kind.extreme(twin, "MAX", *suffixes)
        if word in (b"DEF", b"DEFAULT"):
            return self.default(twin, *suffixes)
        return None

    def _set(self, twin: ScpiTwin, suffixes: tuple[int, ...], tokens: list[bytes]) -> None:
        if len(tokens) != 1 or not tokens[0]:
            raise ScpiError(-108 if len(tokens) > 1 else -109)
        value = self._bound(twin, tokens[0], suffixes) if isinstance(self.kind, (Number, Integer)) else None
        if value is None:
            value = self.kind.parse(twin, tokens[0], *suffixes)
        if self._check is not None:
            replaced = self._check(twin, value, *suffixes)
            value = value if replaced is None else replaced
        old = self.of(twin, *suffixes)
        self.put(twin, value, *suffixes)
        duration = self._operation(twin, old, value, *suffixes) if callable(self._operation) else self._operation
        if duration > 0:
            twin.operate(duration)
        if self._changed is not None:
            self._changed(twin, value, *suffixes)

    def _query(self, twin: ScpiTwin, suffixes: tuple[int, ...], tokens: list[bytes]) -> str | bytes:
        if not tokens:
            return self.kind.show(twin, self.of(twin, *suffixes))
        if len(tokens) > 1:
            raise ScpiError(-108)
        value = self._bound(twin, tokens[0], suffixes)
        if value is None:
            raise ScpiError(-104 if isinstance(self.kind, Number) else -108)
        return self.kind.show(twin, value)

    def register(self, tree: Tree) -> None:
        """Add its headers to the tree of a class."""
        if self._settable:
            tree.add(self.pattern, _Command(self._set))
        if self._readable:
            tree.add(self.pattern + "?", _Command(self._query))


class Register:
    """An event register of SCPI: condition, transition filters, event, enable. Condition is pulled, not pushed.

    Events latch whenever somebody looks; a condition that comes and goes between two looks is not seen. `set_event`
    latches bits at once.
    """

    def __init__(self) -> None:
        self._seen = 0
        self.event = 0
        self.enable = 0
        self.positive = 0x7FFF
        self.negative = 0

    def look(self, condition: int) -> None:
        """Latch the transitions since the last look."""
        rising, falling = condition & ~self._seen, self._seen & ~condition
        self.event |= (rising & self.positive) | (falling & self.negative)
        self._seen = condition

    def set_event(self, bits: int) -> None:
        """Latch event bits."""
        self.event |= bits

    def preset(self) -> None:
        """STATus:PRESet."""
        self.enable, self.positive, self.negative = 0, 0x7FFF, 0


class ScpiTwin(Twin):
    """Base of SCPI instruments; see the module's text for how commands are declared.

    Class attributes
    ----------------
    terminators, reply_terminator, reply_separator:
        Bytes of which each ends a message on a stream (CR before LF is ignored anyway); end of a reply; between the
        replies of a compound message.
    prefixes:
        Keywords may be cut anywhere between short and long form (Tektronix, ID Quantique).
    suffixes:
        Valid values of numeric suffixes by name, e.g. {"ch": (1, 2)}; others give -114. Override `suffix_allowed`
        when they depend on options.
    without:
        Built-in headers that this instrument lacks, e.g. ("SYSTem:ERRor",): with all below them.
    error_texts, error_codes, queue_depth, error_format, no_error:
        Texts of the sheet by code; codes of the sheet instead of standard ones ({-113: 113}); length of the queue;
        how SYST:ERR? shows code and text; the entry of an empty queue if it differs.
    registers:
        STATus registers by keyword and the bit of the status byte that sums them up (None: none).
    version:
        Reply to SYSTem:VERSion?.
    output_limit:
        On a message road, a compound reply longer than that deadlocks (-430); None: never.
    headers:
        Replies carry their header (see `headed`); an instrument sets it on itself (Tektronix `HEADer 1`).
    input_limit:
        Bytes of a message without blocks that fit into the input buffer; a longer one is dropped with -363.
    """

    terminators: bytes = b"\n"
    reply_terminator: bytes = b"\n"
    reply_separator: bytes = b";"
    prefixes: bool = False
    suffixes: ClassVar[Mapping[str, Sequence[int]]] = {}
    without: ClassVar[tuple[str, ...]] = ()
    error_texts: ClassVar[Mapping[int, str]] = {}
    error_codes: ClassVar[Mapping[int, int]] = {}
    queue_depth: int = 20
    error_format: str = '{code:+d},"{text}"'
    registers: ClassVar[Mapping[str, int | None]] = {"OPERation": 7, "QUEStionable": 3}
    version: str = "1999.0"
    output_limit: int | None = None
    headers: bool = False
    input_limit: int = 1 << 20

    _tree: ClassVar[Tree]

    def __init_subclass__(cls, **keywords: Any) -> None:
        super().__init_subclass__(**keywords)
        cls._tree = _grow(cls)

    def __init__(self, *arguments: Any, **keywords: Any) -> None:
        self.values: dict[tuple[str, tuple[int, ...]], Any] = {}
        self.histories: dict[tuple[str, tuple[int, ...]], tuple[float, float]] = {}
        self.errors: deque[tuple[int, str]] = deque()
        self.esr = PON
        self.ese = 0
        self.sre = 0
        self.status = {name: Register() for name in self.registers}
        self._opc_at: float | None = None
        self._known: dict[bytes, bytes] = {}
        self._plans: dict[bytes, Found] = {}
        super().__init__(*arguments, **keywords)

    def _of(self, name: str, *suffixes: int) -> Any:
        """The setting of that name under its suffixes."""
        return getattr(type(self), name).of(self, *suffixes)

    # What an instrument overrides

    def identity(self) -> str:
        """Reply to *IDN?."""
        return f"{self.maker},{self.model},{self.serial},{self.firmware}"

    def number(self, value: float) -> str:
        """How numbers are shown, by default `1.55000000E+03`."""
        return f"{value:.8E}"

    def integer(self, value: int) -> str:
        """How whole numbers are shown."""
        return str(value)

    def suffix_allowed(self, name: str, value: int) -> bool:
        """Whether a numeric suffix is valid."""
        allowed = self.suffixes.get(name)
        return allowed is None or value in allowed

    def condition(self, register: str) -> int:
        """Condition bits of a STATus register ("OPERation", ...) now."""
        return 0

    def extra_status(self) -> int:
        """Bits 0 and 1 of the status byte, which belong to the instrument."""
        return 0

    def triggered(self, session: Session | None) -> None:
        """*TRG or a group execute trigger; default: -211."""
        self.push_error(-211)

    def self_test(self) -> int:
        """Reply to *TST?; 0 is passed."""
        return 0

    # Errors and status

    def push_error(self, code: int, detail: str = "") -> None:
        """Queue an error (standard code) and set its bit in the event status register."""
        if code < 0:
            self.esr |= {1: CME, 2: EXE, 3: DDE, 4: QYE}.get(-code // 100, DDE)
        else:
            self.esr |= DDE
        code = self.error_codes.get(code, code)
        text = self.error_texts.get(code) or ERROR_TEXTS.get(code, "Device-specific error")
        entry = (code, f"{text}; {detail}" if detail else text)
        if len(self.errors) >= self.queue_depth:
            overflow = self.error_codes.get(-350, -350)
            self.esr |= DDE
            self.errors[-1] = (overflow, self.error_texts.get(overflow, ERROR_TEXTS[-350]))
        else:
            self.errors.append(entry)

    def spurious_error(self, code: int, text: str) -> None:
        """An error enters the queue."""
        self.push_error(code, text)

    def refuse(self, error: ScpiError) -> bytes | None:
        """What happens to an error of a command: into the queue; some instruments reply with a text as well."""
        self.push_error(error.code, error.detail)
        return None

    def show_error(self, code: int, text: str) -> str:
        """One entry of the error queue in a reply."""
        return self.error_format.format(code=code, text=text)

    def standard_events(self) -> int:
        """The event status register, without clearing it."""
        if self._opc_at is not None and self.now >= self._opc_at:
            self._opc_at = None
            self.esr |= OPC
        return self.faults.status("ESR", self.esr)

    def _summary(self, name: str) -> Register:
        register = self.status[name]
        register.look(self.faults.status(name[:4].upper(), self.condition(name)))
        return register

    def status_byte(self, session: Session | None) -> int:
        """The status byte: error queue 2, QUES 3, MAV 4, ESB 5, MSS 6, OPER 7."""
        byte = self.extra_status()
        if self.errors:
            byte |= 4
        for name, bit in self.registers.items():
            register = self._summary(name)
            if bit is not None and register.event & register.enable:
                byte |= 1 << bit
        if session is not None and session.replies and session.replies[0].ready_at <= self.clock.monotonic():
            byte |= 16
        if self.standard_events() & self.ese:
            byte |= 32
        if byte & self.sre & ~64:
            byte |= 64
        return byte

    def interrupted(self, session: Session) -> None:
        """The reply is lost, -410 enters the queue."""
        session.discard()
        self.push_error(-410)

    def unterminated(self, session: Session) -> None:
        """-420 enters the queue."""
        self.push_error(-420)

    # Messages

    def known(self, data: bytes) -> bytes | None:
        """A message of one query that was asked before."""
        return self._known.get(data)

    def split(self, session: Session, end: bool) -> bytes | None:
        """The next complete message."""
        buffer = session.buffer
        if session.needed > len(buffer) and not end:
            return None
        at, session.scanned, session.needed = find_stop(buffer, session.scanned, self.terminators)
        if at < 0:
            if not end or not buffer:
                if len(buffer) > self.input_limit and b"#" not in buffer:
                    buffer.clear()
                    session.scanned = session.needed = 0
                    self.push_error(-363)
                return None
            at = len(buffer)
        message = bytes(memoryview(buffer)[:at])
        if len(buffer) == at + 1 and message in self._plans:
            self._known[bytes(buffer)] = message
        del buffer[: at + 1]
        session.scanned = session.needed = 0
        return message

    def execute(self, message: bytes) -> bytes | None:
        """Carry out one message."""
        plan = self._plans.get(message)
        if plan is not None:
            try:
                if plan.names:
                    self._check_suffixes(plan.names, plan.suffixes)
                answer = plan.target.run(self, plan.suffixes, [])
            except ScpiError as error:
                answer = self.refuse(error)
            return None if answer is None else self._shown(plan.header, answer) + self.reply_terminator
        replies: list[bytes] = []
        path = ""
        for unit in divide(message, b";"):
            unit = unit.strip() if b"#" not in unit else unit.lstrip()  # a block may end in white space
            if not unit:
                continue
            try:
                answer, path = self._unit(unit, path)
            except ScpiError as error:
                refusal = self.refuse(error)
                if refusal is not None:
                    replies.append(refusal)
                if -200 < error.code <= -100:
                    break  # the rest of a message that was not understood is dropped
                continue
            if answer is not None:
                replies.append(answer)
        if not replies:
            return None
        reply = replies[0] if len(replies) == 1 else self.reply_separator.join(replies)
        if self.output_limit is not None and len(replies) > 1 and len(reply) > self.output_limit and self._exchange():
            self.push_error(-430)
            return None
        return reply + self.reply_terminator

    def _exchange(self) -> bool:
        return self.session is not None and self.session.exchange

    def _unit(self, unit: bytes, path: str) -> tuple[bytes | None, str]:
        parts = unit.split(None, 1)
        header = parts[0].decode("latin-1")
        if header[0] == "*":
            full = header
        elif header[0] == ":":
            full = header[1:]
        else:
            full = path + header
        absolute = len(full) == len(header) or header[0] == ":"
        found = self._tree.find(full)
        if found is None:
            raise ScpiError(-113 if header.rstrip("?").replace(":", "").replace("*", "").isalnum() else -102)
        if header[0] != "*":
            path = full[: full.rfind(":") + 1]
        target, suffixes, names, long = found
        self._check_suffixes(names, suffixes)
        if absolute and len(parts) == 1 and header[-1] == "?" and len(self._plans) < _PLANS:
            self._plans[unit] = found  # whoever asks once asks again
        if self.faults.armed and self.locked_out and (full.upper() == "*RST" or (full[-1] != "?" and full[0] != "*")):
            raise ScpiError(-203)
        tokens = [trim(token) for token in divide(parts[1], b",")] if len(parts) > 1 else []
        try:
            answer = target.run(self, suffixes, tokens)
        except ScpiError as error:
            if -200 < error.code <= -100:
                raise
            answer = self.refuse(error)
        return (None if answer is None else self._shown(long, answer)), path

    def _check_suffixes(self, names: tuple[str, ...], suffixes: tuple[int, ...]) -> None:
        for name, value in zip(names, suffixes, strict=True):
            if not self.suffix_allowed(name, value):
                raise ScpiError(-114)

    def _shown(self, header: str, answer: Any) -> bytes:
        return self.headed(header, self.render(answer)) if self.headers else self.render(answer)

    def headed(self, header: str, answer: bytes) -> bytes:
        """A reply with its header in front, for instruments whose `headers` are on: ":CH1:SCALE 1.0E-1"."""
        return f":{header} ".encode() + answer

    def render(self, answer: Any) -> bytes:
        """What a query returned, as bytes."""
        if isinstance(answer, str):
            return answer.encode("latin-1")
        if isinstance(answer, bytes):
            return answer
        if isinstance(answer, bool):
            return b"1" if answer else b"0"
        if isinstance(answer, int):
            return self.integer(answer).encode()
        if isinstance(answer, float):
            return self.number(answer).encode()
        if isinstance(answer, (list, tuple)):
            return b",".join(self.render(item) for item in answer)
        raise TypeError(f"a query of {type(self).__name__} returned {type(answer).__name__}")

    # The common commands

    @query("*IDN?")
    def _idn(self) -> str:
        return self.identity()

    @command("*RST")
    def _rst(self) -> None:
        self.restore()

    def restore(self) -> None:
        """What *RST does: parameters to their defaults, operations aborted, then `reset`. Status stays."""
        kept = {name for name in dir(type(self)) if isinstance(p := getattr(type(self), name), Param) and p.kept}
        self.values = {key: value for key, value in self.values.items() if key[0] in kept}
        self.histories.clear()
        self.abort_operations()
        self._opc_at = None
        self.reset()

    @command("*CLS")
    def clear_status(self) -> None:
        """*CLS: empty queue, clear events."""
        self.errors.clear()
        self.esr = 0
        self._opc_at = None
        for register in self.status.values():
            register.event = 0

    @command("*ESE", takes=[Integer((0, 255))])
    def _set_ese(self, mask: int) -> None:
        self.ese = mask

    @query("*ESE?")
    def _get_ese(self) -> int:
        return self.ese

    @query("*ESR?")
    def _esr(self) -> int:
        events, self.esr = self.standard_events(), 0
        return events

    @command("*SRE", takes=[Integer((0, 255))])
    def _set_sre(self, mask: int) -> None:
        self.sre = mask & ~64

    @query("*SRE?")
    def _get_sre(self) -> int:
        return self.sre

    @query("*STB?")
    def _stb(self) -> int:
        return self.faults.status("STB", self.status_byte(self.session))

    @command("*OPC")
    def _opc(self) -> None:
        self._opc_at = self.done_at()

    @query("*OPC?")
    def _ask_opc(self) -> str:
        self.hold(max(self.done_at() - self.now, 0.0))
        return "1"

    @command("*WAI")
    def _wai(self) -> None:
        self.hold(max(self.done_at() - self.now, 0.0))

    @query("*TST?")
    def _tst(self) -> int:
        return self.self_test()

    @command("*TRG")
    def _trg(self) -> None:
        self.triggered(self.session)

    @query("SYSTem:ERRor[:NEXT]?")
    def next_error(self) -> str:
        """The oldest error, taken out of the queue."""
        code, text = self.errors.popleft() if self.errors else (0, self.error_texts.get(0, ERROR_TEXTS[0]))
        return self.show_error(code, text)

    @query("SYSTem:ERRor:COUNt?")
    def _error_count(self) -> int:
        return len(self.errors)

    @query("SYSTem:VERSion?")
    def _version(self) -> str:
        return self.version

    @command("STATus:PRESet")
    def _preset(self) -> None:
        for register in self.status.values():
            register.preset()


def _grow(cls: type[ScpiTwin]) -> Tree:
    """The tree of a class: base classes first, so that a subclass's headers replace theirs."""
    tree = Tree(cls.prefixes)
    for base in reversed(cls.__mro__):
        for name, member in vars(base).items():
            if isinstance(member, Param):
                if getattr(cls, name) is member:
                    member.register(tree)
            elif hasattr(member, "_scpi") and callable(member):
                for patterns, kinds, least, passes in member._scpi:
                    for pattern in patterns:
                        tree.add(pattern, _Command(_caller(name, kinds, least, passes)))
        if base is ScpiTwin:
            for register in cls.registers:
                _add_register(tree, register)
            for pattern in cls.without:
                tree.remove(pattern)
    return tree


def _caller(name: str, kinds: tuple[Kind[Any], ...], least: int | None, passes: tuple[Any, ...]) -> Callable[..., Any]:
    fixed = len(kinds) - bool(kinds and isinstance(kinds[-1], Many))
    needed = fixed if least is None else least
    if not kinds:

        def run(twin: Any, suffixes: tuple[int, ...], tokens: list[bytes]) -> Any:
            if tokens:
                raise ScpiError(-108)
            return getattr(twin, name)(*suffixes, *passes)
    else:

        def run(twin: Any, suffixes: tuple[int, ...], tokens: list[bytes]) -> Any:
            values = read_arguments(twin, kinds, needed, tokens, suffixes)
            return getattr(twin, name)(*suffixes, *passes, *values)

    return run


_MASK = Integer((0, 65535))


def _add_register(tree: Tree, name: str) -> None:
    def read(twin: Any, suffixes: tuple[int, ...], tokens: list[bytes]) -> int:
        register = twin._summary(name)
        event: int = register.event
        register.event = 0
        return event

    def condition(twin: Any, suffixes: tuple[int, ...], tokens: list[bytes]) -> int:
        return int(twin.faults.status(name[:4].upper(), twin.condition(name)))

    tree.add(f"STATus:{name}[:EVENt]?", _Command(read))
    tree.add(f"STATus:{name}:CONDition?", _Command(condition))
    for keyword, attribute in (("ENABle", "enable"), ("PTRansition", "positive"), ("NTRansition", "negative")):

        def change(twin: Any, suffixes: tuple[int, ...], tokens: list[bytes], attribute: str = attribute) -> None:
            (mask,) = read_arguments(twin, (_MASK,), 1, tokens, suffixes)
            setattr(twin.status[name], attribute, mask & 0x7FFF)

        def show(twin: Any, suffixes: tuple[int, ...], tokens: list[bytes], attribute: str = attribute) -> int:
            value: int = getattr(twin.status[name], attribute)
            return value

        tree.add(f"STATus:{name}:{keyword}", _Command(change))
        tree.add(f"STATus:{name}:{keyword}?", _Command(show))


ScpiTwin._tree = _grow(ScpiTwin)
