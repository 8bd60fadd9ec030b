"""How long a training still takes, by what its own steps and looks at the validation images took so far."""

import math
import time

WARM_UP = 1
"""Steps that say nothing of those to come: libraries make themselves ready in them."""
ENOUGH_SECONDS, ENOUGH_STEPS, FEWEST_STEPS = 5.0, 20, 2
"""The first estimate comes after so many seconds of steps, or so many steps, but never of one alone."""
MEMORY = 50
"""Steps that the pace is a mean of, in effect: other programs come and go."""
LOOK = 1 / 3
"""Of the time of a step with as many images: a look needs no gradient. It counts until one was timed."""
ENCODER, DECODER = 0.5, 0.5
"""Shares of a step with one sample; each further one costs the latter again. Five took 2.6 times as long."""
LONG = 30 * 60
"""Seconds from which on the user is told what makes it shorter."""


class TimeLeft:
    """Told of each step and of each look as it ends."""

    def __init__(
        self,
        *,
        step: int,
        total: int,
        look_every: int,
        look_in_steps: float,
        samples: int = 1,
        single_steps: int = 0,
    ) -> None:
        """
        Args:
            look_in_steps: the images of a look, in batches.
            samples: of each posterior in a look, and in a step that is not one of the first ``single_steps``.
        """
        self._step, self._total = step, total
        self._due = total // look_every - step // look_every + (total % look_every > 0)
        self._dearer = ENCODER + samples * DECODER
        self._single_steps = single_steps
        self._look_in_steps = look_in_steps * self._dearer
        self._timed, self._seconds = -WARM_UP, 0.0
        self._pace = 0.0
        self._looks: list[float] = []
        self._mark = time.perf_counter()

    def stepped(self) -> None:
        now = time.perf_counter()
        took, self._mark = now - self._mark, now
        self._step += 1
        self._timed += 1
        if self._timed > 0:
            self._seconds += took
            work = 1.0 if self._step <= self._single_steps else self._dearer
            self._pace += (took / work - self._pace) / min(self._timed, MEMORY)

    def looked(self) -> None:
        """What passed since the last step was a look."""
        now = time.perf_counter()
        self._looks.append(now - self._mark)
        self._mark = now

    @property
    def is_known(self) -> bool:
        """Whether enough was timed."""
        enough = self._timed >= ENOUGH_STEPS or self._seconds >= ENOUGH_SECONDS
        return self._timed >= FEWEST_STEPS and enough

    @property
    def seconds(self) -> float:
        """To the last step, the looks included."""
        guess = LOOK * self._look_in_steps * self._pace
        looks = sum(self._looks) / len(self._looks) if self._looks else guess
        return self._work_left * self._pace + (self._due - len(self._looks)) * looks

    @property
    def _work_left(self) -> float:
        """In steps with one sample."""
        single = max(0, self._single_steps - self._step)
        return single + (self._total - self._step - single) * self._dearer

    def estimate(self) -> str:
        """For the user, once; where it is long, with what makes it shorter."""
        steps = self._total - self._step
        step = _step(self._pace * self._work_left / max(1, steps))
        first = f"time      about {in_words(self.seconds)} for {steps:,} steps of {step} each"
        if self.seconds <= LONG:
            return first
        fitting = math.floor(steps * LONG / self.seconds)
        unit = 10 ** max(0, len(str(fitting)) - 2)
        return (
            f"{first}\n          --steps {fitting // unit * unit} would take {in_words(LONG)} at most; "
            "a smaller --image-size or --width makes every step shorter"
        )


def in_words(seconds: float) -> str:
    """To the precision that an estimate has."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60:02} min"


def _step(seconds: float) -> str:
    return f"{seconds:.1f} s" if seconds >= 1 else f"{1000 * seconds:.0f} ms"
