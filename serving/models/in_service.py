"""The versions in service, and those that left it and finish their calls."""

import asyncio
from collections.abc import Callable, Iterable

from serving.models.model import Model

_LEFT_S = 600.0
"""Seconds that calls which began on a version get once it left service. Streams have no end of their own."""


class InService:
    """By model. What is in service changes in one step: no request sees half of it."""

    def __init__(self) -> None:
        self._versions: dict[str, dict[int, Model]] = {}
        """Highest first."""
        self._defaults: dict[str, Model] = {}
        """The highest of each model."""
        self._closing: dict[asyncio.Task[None], Model] = {}

    def __bool__(self) -> bool:
        return bool(self._defaults)

    @property
    def names(self) -> set[str]:
        return set(self._defaults)

    @property
    def closing(self) -> list[Model]:
        """Those that left and finish their calls."""
        return list(self._closing.values())

    def all(self) -> list[Model]:
        """By name, the highest version of each first."""
        return [model for name in sorted(self._versions) for model in self._versions[name].values()]

    def of(self, name: str) -> list[Model]:
        """The highest first."""
        return list(self._versions.get(name, {}).values())

    def default(self, name: str) -> Model | None:
        """The highest version of a model; of the only one, if the name is empty."""
        found = self._defaults.get(name)
        if found is None and not name and len(self._defaults) == 1:
            (found,) = self._defaults.values()
        return found

    def version(self, name: str, version: int) -> Model | None:
        return self._versions.get(name, {}).get(version)

    def change(self, name: str, new: Model | None, leaving: Iterable[Model]) -> None:
        """Put a version into service and take others out of it; they finish their calls by ``close``."""
        gone = {id(model) for model in leaving}
        staying = [model for model in self.of(name) if id(model) not in gone]
        if new:
            staying.append(new)
        staying.sort(key=lambda model: -model.version)
        if staying:
            self._versions[name] = {model.version: model for model in staying}
            self._defaults[name] = staying[0]
        else:
            self._versions.pop(name, None)
            self._defaults.pop(name, None)

    def close(self, model: Model, closed: Callable[[], None]) -> None:
        """In the background: one stream that goes on for hours holds up no reload."""
        task = asyncio.create_task(_finish(model))
        self._closing[task] = model

        def done(task: asyncio.Task[None]) -> None:
            del self._closing[task]
            closed()

        task.add_done_callback(done)

    async def aclose(self) -> None:
        """Let go of every model, once the calls on it are answered."""
        closing = list(self._closing)
        for task in closing:
            task.cancel()
        await asyncio.gather(*closing, return_exceptions=True)
        await asyncio.gather(*(model.aclose() for model in self.all()))


async def _finish(model: Model) -> None:
    """Close a model that left service, after its calls or the time they get, whichever is first."""
    closing = asyncio.create_task(model.aclose())
    try:
        await asyncio.wait([closing], timeout=_LEFT_S)
    finally:  # the time is over, or the server stops
        model.is_ending = True
        await asyncio.shield(closing)
