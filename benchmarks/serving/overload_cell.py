"""One cell of the overload benchmark: what is offered, what came of it, and what it falls short of."""

from dataclasses import dataclass

DEADLINE_S = 1.0
OK, RESOURCE_EXHAUSTED, BROKEN = "0", "8", "127"
"""gRPC's codes; 100 and more are RST_STREAM with an HTTP/2 code, of which 7 is REFUSED_STREAM, and 127 is an
answer without a code."""
_GOODPUT, _REFUSED_MS, _MEMORY_MIB, _RECOVERY_S = 0.9, 5.0, 150.0, 2.0


@dataclass(frozen=True)
class Cell:
    rows: int
    factor: float
    deadline: bool
    connections: int

    def __str__(self) -> str:
        deadline = f"{DEADLINE_S:g} s" if self.deadline else "none"
        return (
            f"{self.rows:4} rows, {self.factor:4g}×, deadline {deadline:4}, {self.connections:3} connections"
        )


@dataclass(frozen=True)
class Outcome:
    cell: Cell
    capacity: tuple[float, float]
    """Requests/s in a closed loop, before and after."""
    answered_per_s: float
    """While the load lasted, and within the deadline."""
    sent: int
    held_back: int
    """Due, and not sent, for the connection took no more."""
    offered: float
    """Of the rate that was wanted, the share that was due while the load lasted; less than 1 if the generator
    did not keep up."""
    codes: dict[str, dict[str, float]]
    """What the caller saw; see ``open_loop.c``."""
    counted: dict[str, int]
    """What the server's metrics say, by code."""
    rejected: dict[str, int]
    refused_p99_ms: float | None
    """In the server, of calls refused before their message was read; the bucket's upper end. What the caller
    waited is in ``codes``."""
    idle_mib: float
    peak_mib: float
    recovery_s: float
    """From the end of the load to the next answer within a second, while what was sent is still answered."""

    @property
    def kept(self) -> float:
        return 2 * self.answered_per_s / sum(self.capacity)

    @property
    def unaccounted(self) -> int:
        """Calls sent that neither the metrics count nor gRPC's core reset."""
        reset = sum(
            seen["count"] for code, seen in self.codes.items() if code.startswith("1") and len(code) == 3
        )
        reset -= self.codes.get(BROKEN, {}).get("count", 0)
        return int(self.sent - sum(self.counted.values()) - reset)

    @property
    def without_details(self) -> int:
        """Refusals; which of the details there are is for the tests to say."""
        seen = self.codes.get(RESOURCE_EXHAUSTED)
        return int(seen["count"] - seen["with_details"]) if seen else 0

    def shortfalls(self) -> list[str]:
        found = []
        if self.kept < _GOODPUT:
            found.append(f"keeps {self.kept:.2f}")
        if self.refused_p99_ms is not None and self.refused_p99_ms > _REFUSED_MS:
            found.append(f"refuses in {self.refused_p99_ms:g} ms")
        if self.without_details:
            found.append(f"{self.without_details} refusals without details")
        if self.peak_mib - self.idle_mib > _MEMORY_MIB:
            found.append(f"+{self.peak_mib - self.idle_mib:.0f} MiB")
        if self.recovery_s > _RECOVERY_S:
            found.append(f"recovers in {self.recovery_s:.1f} s")
        return found

    def __str__(self) -> str:
        short = self.shortfalls()
        before, after = self.capacity
        codes = ", ".join(
            f"{code}: {seen['count']:,.0f} in {seen['p99_ms']:,.0f} ms"
            for code, seen in sorted(self.codes.items())
        )
        return (
            f"{'FALL SHORT' if short else 'pass      '}  {self.cell}: {self.answered_per_s:,.0f}/s of "
            f"{before:,.0f} and {after:,.0f} ({self.kept:.2f}); offered {self.offered:.2f}, "
            f"sent {self.sent:,}, held back {self.held_back:,}; by code (p99) {codes}; "
            f"unaccounted {self.unaccounted:,}; "
            f"{self.idle_mib:.0f} → {self.peak_mib:.0f} MiB; again after {self.recovery_s:.2f} s"
            + (f"  [{', '.join(short)}]" if short else "")
        )
