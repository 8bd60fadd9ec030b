"""The model repository: which bundles are there, which are served, and hot reload.

Of every model the highest version that verifies is served. A new version is verified, loaded and
warmed beside the old one and takes its place in one step; one that cannot be served, for whatever reason,
is refused, named in the log, and the old one goes on serving. Models are loaded apart: one that takes long
holds up no other.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path

from serving.bundle import MANIFEST
from serving.errors import NotFound, StartupError, plain, quoted
from serving.host import event_loop
from serving.host.abandonable import abandonable
from serving.metrics.registry import Metrics
from serving.models.model import Model
from serving.models.refusals import Refusals, reason
from serving.models.version_folders import Found, identity, scan, state_of

log = logging.getLogger(__name__)

Load = Callable[[Path, bool], Awaitable[Model]]
"""Of a version's folder; whether nothing is served yet, and nothing else could be instead."""
Announce = Callable[[Model | None, Model | None], Awaitable[None]]
"""Called with the old and the new model when one is put into service, replaced or withdrawn."""

_REPLACED_S = 600.0
"""Seconds that calls which began on a version get once it is replaced. Streams have no end of their own."""
_LOADED_AT_ONCE = 2
"""Versions. One that never ends holds up one of these, until its time is over."""


class Repository:
    """The models in service. Belongs to one event loop."""

    def __init__(self, root: Path, load: Load, announce: Announce, metrics: Metrics) -> None:
        self._root = root
        self._load = load
        self._announce = announce
        self._metrics = metrics
        self._models: dict[str, Model] = {}
        self._looking = asyncio.Lock()
        self._loading = asyncio.Semaphore(_LOADED_AT_ONCE)
        self._trying: dict[str, asyncio.Task[None]] = {}
        """Models whose newer versions are being loaded."""
        self._has_started = False
        self._refused = Refusals()
        self._unreadable: dict[str, str] = {}
        """Folders of which it was said that they cannot be looked into."""
        self._identity: tuple[int, int] | None = None
        """Of the root, when models were found in it."""
        self._missing = False
        """Whether it was said that the root cannot be seen."""
        self._closing: set[asyncio.Task[None]] = set()
        """Replaced models that finish their calls."""

    @property
    def models(self) -> list[Model]:
        """The models in service, by name."""
        return [self._models[name] for name in sorted(self._models)]

    def resolve(self, name: str, version: int) -> Model:
        """The model asked for; an empty name means the only one, version 0 the one in service.

        Raises:
            NotFound: naming what is in service instead.
        """
        model = self._models.get(name)
        if model is None and not name and len(self._models) == 1:
            (model,) = self._models.values()
        if model is not None and version in (0, model.version):
            return model
        served = ", ".join(f"{m.name} version {m.version}" for m in self.models) or "none"
        if model is not None:
            missing = f"model.version: no version {version}; in service: {served}"
            raise NotFound("model", f"{model.name}/{version}", missing)
        wanted = f"no model {quoted(name)}" if name else "want a model name"
        raise NotFound("model", name, f"model.name: {wanted}; in service: {served}")

    def label(self, name: str) -> str | None:
        """The name of a model in service for a metric label, or None."""
        if not name and len(self._models) == 1:
            return next(iter(self._models))
        return name if name in self._models else None

    async def start(self) -> None:
        """Load every model. Raises StartupError when one has no version that can be served."""
        if not await abandonable(self._root.is_dir):
            raise StartupError(f"--repository {self._root}: want a folder of <model>/<version>/ bundles")
        try:
            found = await abandonable(partial(scan, self._root))
        except OSError as exc:
            raise StartupError(f"--repository {self._root}: cannot be read: {exc.strerror}") from None
        self._tell_unreadable(found)
        if not found.versions:
            raise StartupError(f"--repository {self._root}: no <model>/<version>/{MANIFEST} in it")
        self._identity = await abandonable(partial(identity, self._root))
        for name, versions in found.versions.items():
            if problem := await self._serve_best(name, versions):
                raise StartupError(problem)
        self._has_started = True

    async def watch(self, interval_s: float) -> None:
        """Look for changes for ever."""
        while True:
            await asyncio.sleep(interval_s)
            try:
                await self._look()
            except Exception:
                log.exception("looking at %s failed; trying again in %g s", self._root, interval_s)

    async def refresh(self) -> None:
        """Look for changes, and wait until what is new is in service or refused."""
        await self._look()
        await asyncio.gather(*self._trying.values())

    async def _look(self) -> None:
        """Begin to put newer versions into service; withdraw models whose folder is gone."""
        async with self._looking:
            found = await self._found()
            if found is None:
                return
            self._tell_unreadable(found)
            for name, versions in found.versions.items():
                if name not in self._trying:
                    self._trying[name] = asyncio.create_task(self._serve_newer(name, versions))
            gone = set(self._models) | set(self._trying)
            for name in gone - set(found.versions) - set(found.unreadable):
                await self._withdraw(name)
            there = [path for versions in found.versions.values() for path in versions]
            for name in self._refused.gone(there) - set(found.versions):
                self._metrics.refused_versions.labels(name).set(0)

    async def _serve_newer(self, name: str, versions: list[Path]) -> None:
        """Serve the highest version that can be served; tasks of one model never overlap."""
        before = self._models.get(name)
        try:
            await self._serve_best(name, versions)
        except Exception as exc:  # of announcing it, say: the next look tries again
            log.error("model %s: what is new of it was not put into service: %s", name, reason(exc))
        finally:
            del self._trying[name]
        if self._models.get(name) is not before:
            event_loop.spare_collector()

    async def aclose(self) -> None:
        """Let go of every model, once the calls on it are answered."""
        for task in (*self._trying.values(), *self._closing):
            task.cancel()
        await asyncio.gather(*self._trying.values(), *self._closing, return_exceptions=True)
        await asyncio.gather(*(model.aclose() for model in self._models.values()))

    async def _withdraw(self, name: str) -> None:
        if trying := self._trying.get(name):
            trying.cancel()
            await asyncio.gather(trying, return_exceptions=True)
        old = self._models.pop(name, None)
        if not old:
            return
        log.warning("model %s withdrawn: its folder is gone", name)
        try:
            await self._announce(old, None)
        finally:
            self._close(old)
        event_loop.spare_collector()

    async def _found(self) -> Found | None:
        """What is in the folder; None if that cannot be told, and everything goes on as it is."""
        problem: str | None = None
        found, before, after = Found({}, {}), None, None
        try:
            before = await abandonable(partial(identity, self._root))
            found = await abandonable(partial(scan, self._root))
            after = await abandonable(partial(identity, self._root))
        except FileNotFoundError:
            problem = "is not there"
        except OSError as exc:
            problem = f"cannot be read: {exc.strerror}"
        if not problem and (before != after or not after):
            problem = "is being replaced"
        if not problem and not found.versions and after != self._identity:
            problem = "is another folder now, and empty"
        if problem and self._models:
            if not self._missing:
                log.warning("repository %s %s; what was loaded goes on serving", self._root, problem)
            self._missing = True
            return None
        if self._missing:
            log.info("repository %s is back", self._root)
        self._missing, self._identity = False, after
        return found

    def _tell_unreadable(self, found: Found) -> None:
        for name in set(found.unreadable) - set(self._unreadable):
            log.warning("%s cannot be looked into: %s", plain(str(self._root / name)), found.unreadable[name])
        self._unreadable = found.unreadable

    async def _serve_best(self, name: str, versions: list[Path]) -> str | None:
        """Serve the highest version that can be served; returns the first problem if none can."""
        problem = await self._try(name, versions)
        served = self._models[name].version if name in self._models else 0
        newer = [path for path in versions if int(path.name) > served and path in self._refused]
        self._metrics.refused_versions.labels(name).set(len(newer))
        return problem

    async def _try(self, name: str, versions: list[Path]) -> str | None:
        old = self._models.get(name)
        problem: str | None = None
        for path in versions:
            if old and path == old.bundle.root:
                return None
            state = await abandonable(partial(state_of, path))
            if self._refused.holds(path, state):
                continue
            began = time.monotonic()
            try:
                async with self._loading:
                    began = time.monotonic()  # waiting for others is no part of it
                    new = await self._load(path, not self._has_started and path == versions[-1])
            except Exception as exc:  # whatever a version does, it is that version's fault alone
                problem = problem or f"{name} version {path.name}: {reason(exc)}"
                if why := self._refused.add(path, state, exc, time.monotonic() - began):
                    self._metrics.reloads.labels(name, "refused").inc()
                    log.error("%s version %s refused: %s", name, path.name, why, extra={"told_once": True})
                continue
            self._refused.forget(path)
            self._models[name] = new
            try:
                await self._announce(old, new)
            finally:
                if old:
                    self._close(old)
            self._metrics.reloads.labels(name, "ok").inc()
            if old:
                log.info("model %s: version %d took the place of %d", name, new.version, old.version)
            return None
        return problem

    def _close(self, model: Model) -> None:
        """In the background: one stream that goes on for hours holds up no reload."""
        task = asyncio.create_task(_finish(model))
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)


async def _finish(model: Model) -> None:
    """Close a model that was replaced, after its calls or the time they get, whichever is first."""
    closing = asyncio.create_task(model.aclose())
    try:
        await asyncio.wait([closing], timeout=_REPLACED_S)
    finally:  # the time is over, or the server stops
        model.is_ending = True
        await asyncio.shield(closing)
