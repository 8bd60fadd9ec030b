"""The model repository: which bundles are there, which are served, and hot reload.

Of every model those versions are served that the policy chooses among the ones that verify, the highest
first. A new version is verified, loaded and warmed beside the others and takes its place, and that of those
which go for it, in one step; one that cannot be served, for whatever reason, is refused, named in the log,
and displaces none. Models are loaded apart: one that takes long holds up no other.
"""

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from pathlib import Path

from serving.errors import NotFound, StartupError, quoted
from serving.host import event_loop
from serving.host.abandonable import abandonable
from serving.metrics.registry import Metrics
from serving.models.in_service import InService
from serving.models.memory_budget import Room
from serving.models.model import Model
from serving.models.refusals import Refusals, reason
from serving.models.version_folders import Found, Root, state_of
from serving.models.version_states import STATES, VersionState, states_of, to_be_told
from serving.version_policy import VersionPolicy

log = logging.getLogger(__name__)

Admit = Callable[[int], None]
"""Called with the bytes that a version takes, before it goes into service. Raises NoRoom."""
Load = Callable[[Path, Admit, bool], Awaitable[Model]]
"""Of a version's folder, by leave; whether nothing is served yet, and nothing else could be instead."""
Announce = Callable[[str, Sequence[Model]], Awaitable[None]]
"""Called with a model's name and its versions in service, the highest first, when these have changed."""

_LOADED_AT_ONCE = 2
"""Versions. One that never ends holds up one of these, until its time is over."""


class Repository:
    """The models in service. Belongs to one event loop."""

    def __init__(
        self, root: Path, policy: VersionPolicy, room: Room, load: Load, announce: Announce, metrics: Metrics
    ) -> None:
        self._root = Root(root)
        self._policy = policy
        self._room = room
        self._load = load
        self._announce = announce
        self._metrics = metrics
        self._served = InService()
        self._found = Found({}, {})
        """At the last look."""
        self._looking = asyncio.Lock()
        self._loading = asyncio.Semaphore(_LOADED_AT_ONCE)
        self._trying: dict[str, asyncio.Task[None]] = {}
        """Models whose newer versions are being loaded."""
        self._has_started = False
        self._refused = Refusals()
        self._missing: dict[str, set[int]] = {}
        """Versions of which it was said that the policy names them and they are not there."""

    @property
    def models(self) -> list[Model]:
        """Every version in service: by name, the highest first."""
        return self._served.all()

    def versions(self, name: str | None = None) -> list[VersionState]:
        """Every version that is known of, in service or not, of one model or of all."""
        known = self._served.names | set(self._found.versions) | {one.name for one in self._served.closing}
        known |= {model for model, rule in self._policy.by_model.items() if rule.named}
        asked = sorted(known) if name is None else [name]
        return [state for one in asked for state in to_be_told(self._states(one))]

    def resolve(self, name: str, version: int) -> Model:
        """The model asked for; an empty name means the only one, version 0 the highest in service.

        Raises:
            NotFound: naming what is in service instead.
        """
        default = self._served.default(name)
        if default is not None and version in (0, default.version):
            return default
        found = default and self._served.version(default.name, version)
        if found is not None:
            return found
        if default is not None:
            name = default.name
            served = ", ".join(f"{name} version {model.version}" for model in self._served.of(name))
            there = [path for path in self._found.versions.get(name, []) if int(path.name) == version]
            refused = [self._refused.for_callers(path) for path in there if path in self._refused]
            missing = f"version {version} is refused: {refused[0]}" if refused else f"no version {version}"
            raise NotFound("model", f"{name}/{version}", f"model.version: {missing}; in service: {served}")
        served = ", ".join(f"{model.name} version {model.version}" for model in self.models) or "none"
        wanted = f"no model {quoted(name)}" if name else "want a model name"
        raise NotFound("model", name, f"model.name: {wanted}; in service: {served}")

    def label(self, name: str) -> str | None:
        """The name of a model in service for a metric label, or None."""
        default = self._served.default(name)
        return default.name if default else None

    async def start(self) -> None:
        """Load every model. Raises StartupError when one has no version that can be served."""
        self._found = await self._root.at_start()
        for name in sorted(set(self._policy.by_model) - set(self._found.versions)):
            log.warning("--versions names model %s, which is not in the repository", name)
            self._show(name)
        for most in (1, None):  # one version of each, before any has several
            for name, versions in self._found.versions.items():
                if problem := await self._serve(name, versions, most):
                    raise StartupError(problem)
        self._has_started = True

    async def watch(self, interval_s: float) -> None:
        """Look for changes for ever."""
        while True:
            await asyncio.sleep(interval_s)
            try:
                await self._look()
            except Exception:
                log.exception("looking at %s failed; trying again in %g s", self._root.path, interval_s)

    async def refresh(self) -> None:
        """Look for changes, and wait until what is new is in service or refused."""
        await self._look()
        await asyncio.gather(*self._trying.values())

    async def aclose(self) -> None:
        """Let go of every model, once the calls on it are answered."""
        for task in self._trying.values():
            task.cancel()
        await asyncio.gather(*self._trying.values(), return_exceptions=True)
        await self._served.aclose()

    async def _look(self) -> None:
        """Begin to put newer versions into service; withdraw models whose folder is gone."""
        async with self._looking:
            found = await self._root.look(something_to_lose=bool(self._served))
            if found is None:
                return
            before, self._found = self._found, found
            for name in found.versions:
                if name not in self._trying:
                    self._trying[name] = asyncio.create_task(self._serve_newer(name))
            gone = self._served.names | set(self._trying)
            for name in gone - set(found.versions) - set(found.unreadable):
                await self._withdraw(name)
            self._refused.gone([path for versions in found.versions.values() for path in versions])
            for name in set(before.versions) - set(found.versions):
                self._metrics.refused_versions.labels(name).set(0)
            for name in {*before.versions, *found.versions}:
                self._show(name)

    async def _serve_newer(self, name: str) -> None:
        """Serve what the policy wants of what is there at the end; tasks of one model never overlap."""
        before, seen = self._served.of(name), None
        try:
            while (versions := self._found.versions.get(name)) and versions != seen:
                await self._serve(name, versions)
                seen = versions
        except Exception as exc:  # of announcing it, say: the next look tries again
            log.error("model %s: what is new of it was not put into service: %s", name, reason(exc))
        finally:
            del self._trying[name]
        if self._served.of(name) != before:
            event_loop.spare_collector()

    async def _withdraw(self, name: str) -> None:
        if trying := self._trying.get(name):
            trying.cancel()
            await asyncio.gather(trying, return_exceptions=True)
        if leaving := self._served.of(name):
            log.warning("model %s withdrawn: its folder is gone", name)
            await self._change(name, None, leaving)
            event_loop.spare_collector()

    async def _serve(self, name: str, versions: list[Path], most: int | None = None) -> str | None:
        """Serve what the policy wants, or ``most`` of it; returns the first problem if none can be served."""
        rule = self._policy.of(name)
        by_number = {int(path.name): path for path in versions}
        wanted, most = rule.wanted(by_number), most or rule.most
        self._tell_missing(name, set(rule.named) - set(by_number))
        self._show(name)
        problems: list[str] = []
        kept: list[int] = []
        for number in wanted:
            if len(kept) == most:
                break
            if versions != self._found.versions.get(name):  # which begins anew
                return None
            path, model, new = by_number[number], self._served.version(name, number), None
            staying = partial(self._staying, name, wanted, [*kept, number], most)
            try:
                if model is None or model.bundle.root != path:
                    alone = not self._has_started and not kept and number == wanted[-1]
                    model = new = await self._try(path, staying, problems, nothing_to_lose=alone)
                if model:
                    kept.append(number)
                    await self._put(name, new, staying())
            finally:
                self._room.give_back(path)
        lowest = kept[-1] if len(kept) == rule.most else 0
        refused = [number for number in wanted if number > lowest and by_number[number] in self._refused]
        self._metrics.refused_versions.labels(name).set(len(refused))
        self._show(name)
        if not kept and not problems:
            problems.append(f"{name}: --versions wants {rule} of it, there is {_joined([*by_number])}")
        return None if kept else problems[0]

    def _staying(self, name: str, wanted: list[int], kept: list[int], most: int | None) -> list[Model]:
        """Of the versions in service, of all models, those that stay when these of the model are kept."""
        lower = [number for number in wanted if number not in kept and self._served.version(name, number)]
        numbers = {*kept, *lower[: None if most is None else most - len(kept)]}
        return [model for model in self.models if model.name != name or model.version in numbers]

    async def _try(
        self, path: Path, staying: Callable[[], list[Model]], problems: list[str], *, nothing_to_lose: bool
    ) -> Model | None:
        """Load a version; None if it is refused, which is told once."""

        def taken() -> int:
            return sum(model.memory_bytes for model in staying())

        state = await abandonable(partial(state_of, path))
        if self._refused.holds(path, state, lambda wanted: wanted <= self._room.left(path, taken())):
            return None
        began = time.monotonic()
        try:
            async with self._loading:
                began = time.monotonic()  # waiting for others is no part of it
                new = await self._load(
                    path, lambda wanted: self._room.take(path, wanted, taken()), nothing_to_lose
                )
        except Exception as exc:  # whatever a version does, it is that version's fault alone
            name, version = path.parent.name, path.name
            problems.append(f"{name} version {version}: {reason(exc)}")
            if why := self._refused.add(path, state, exc, time.monotonic() - began):
                self._metrics.reloads.labels(name, "refused").inc()
                log.error("%s version %s refused: %s", name, version, why, extra={"told_once": True})
            return None
        self._refused.forget(path)
        return new

    async def _put(self, name: str, new: Model | None, staying: list[Model]) -> None:
        """A new version into service, if there is one, and those that do not stay out of it."""
        leaving = [model for model in self._served.of(name) if model not in staying]
        if new and (namesake := self._served.version(name, new.version)):
            leaving.append(namesake)
        if not new and not leaving:
            return
        before = [model.version for model in self._served.of(name)]
        await self._change(name, new, leaving)
        if new:
            self._metrics.reloads.labels(name, "ok").inc()
        if before:
            now = [model.version for model in self._served.of(name)]
            log.info("model %s: in service now %s, before %s", name, _joined(now), _joined(before))

    async def _change(self, name: str, new: Model | None, leaving: list[Model]) -> None:
        self._served.change(name, new, leaving)
        for model in leaving:
            model.answers.hide()
        if new:
            new.show()
        try:
            await self._announce(name, self._served.of(name))
        finally:
            for model in leaving:
                self._served.close(model, partial(self._show, name))
            self._show(name)

    def _states(self, name: str) -> list[VersionState]:
        closing = [model for model in self._served.closing if model.name == name]
        return states_of(
            name,
            self._policy.of(name),
            self._found.versions.get(name, []),
            self._refused,
            self._served.of(name),
            closing,
        )

    def _show(self, name: str) -> None:
        """How many versions of a model are in which state."""
        counts = Counter(state.state for state in self._states(name))
        for state in STATES:
            self._metrics.model_versions.labels(name, state).set(counts[state])

    def _tell_missing(self, name: str, numbers: set[int]) -> None:
        for number in sorted(numbers - self._missing.get(name, set())):
            log.warning("%s version %d is not in the repository, though --versions names it", name, number)
        self._missing[name] = numbers


def _joined(versions: list[int]) -> str:
    return ", ".join(map(str, versions)) or "none"
