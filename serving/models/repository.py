"""The model repository: which bundles are there, which are served, and hot reload.

Of every model the highest version that verifies is served. A new version is verified, loaded and
warmed beside the old one and takes its place in one step; a bad one is refused, named in the log, and
the old one goes on serving.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from pathlib import Path

from serving import bundle
from serving.bundle import Bundle, BundleError
from serving.errors import NotFound, StartupError
from serving.host import event_loop
from serving.metrics.registry import Metrics
from serving.models.model import Model

log = logging.getLogger(__name__)

Load = Callable[[Bundle], Awaitable[Model]]
Announce = Callable[[Model | None, Model | None], Awaitable[None]]
"""Called with the old and the new model when one is put into service, replaced or withdrawn."""


class Repository:
    """The models in service. Belongs to one event loop."""

    def __init__(self, root: Path, load: Load, announce: Announce, metrics: Metrics) -> None:
        self._root = root
        self._load = load
        self._announce = announce
        self._metrics = metrics
        self._models: dict[str, Model] = {}
        self._refreshing = asyncio.Lock()
        self._refused: dict[Path, float] = {}
        """Bad versions with the time of their manifest, so that they are tried and told of once."""

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
        wanted = f"no model {name!r}" if name else "want a model name"
        raise NotFound("model", name, f"model.name: {wanted}; in service: {served}")

    def label(self, name: str) -> str | None:
        """The name of a model in service for a metric label, or None."""
        if not name and len(self._models) == 1:
            return next(iter(self._models))
        return name if name in self._models else None

    async def start(self) -> None:
        """Load every model. Raises StartupError when one has no version that can be served."""
        if not self._root.is_dir():
            raise StartupError(f"--repository {self._root}: want a folder of <model>/<version>/ bundles")
        found = _scan(self._root)
        if not found:
            raise StartupError(f"--repository {self._root}: no <model>/<version>/{bundle.MANIFEST} in it")
        for name, versions in found.items():
            if problem := await self._serve_best(name, versions):
                raise StartupError(problem)

    async def watch(self, interval_s: float) -> None:
        """Look for changes for ever."""
        while True:
            await asyncio.sleep(interval_s)
            try:
                await self.refresh()
            except Exception:
                log.exception("looking at %s failed; trying again in %g s", self._root, interval_s)

    async def refresh(self) -> None:
        """Put newer versions into service; withdraw models whose folder is gone."""
        async with self._refreshing:
            before = dict(self._models)
            found = await asyncio.to_thread(_scan, self._root)
            for name, versions in found.items():
                await self._serve_best(name, versions)
            for name in set(self._models) - set(found):
                old = self._models.pop(name)
                log.warning("model %s withdrawn: its folder is gone", name)
                await self._announce(old, None)
                await old.aclose()
            if self._models != before:
                event_loop.spare_collector()

    async def aclose(self) -> None:
        await asyncio.gather(*(model.aclose() for model in self._models.values()))

    async def _serve_best(self, name: str, versions: list[Path]) -> str | None:
        """Serve the highest version that verifies; returns the first problem if none does."""
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
            stamp = (path / bundle.MANIFEST).stat().st_mtime
            if self._refused.get(path) == stamp:
                continue
            try:
                new = await self._load(await asyncio.to_thread(_read, path, name))
            except BundleError as exc:
                self._refused[path] = stamp
                self._metrics.reloads.labels(name, "refused").inc()
                problem = problem or f"{name} version {path.name}: {exc}"
                log.error("%s version %s refused: %s", name, path.name, exc)
                continue
            self._models[name] = new
            await self._announce(old, new)
            self._metrics.reloads.labels(name, "ok").inc()
            if old:
                log.info("model %s: version %d took the place of %d", name, new.version, old.version)
                await old.aclose()
            return None
        return problem


def _scan(root: Path) -> dict[str, list[Path]]:
    """Model name → its version folders, highest first. Folders without a manifest are not finished."""
    found: dict[str, list[Path]] = {}
    for manifest in root.glob(f"*/*/{bundle.MANIFEST}"):
        version = manifest.parent
        if version.name.isdigit() and not version.parent.name.startswith("."):
            found.setdefault(version.parent.name, []).append(version)
    return {name: sorted(found[name], key=lambda path: -int(path.name)) for name in sorted(found)}


def _read(path: Path, name: str) -> Bundle:
    read = bundle.read(path)
    if (read.manifest.name, read.manifest.version) != (name, int(path.name)):
        raise BundleError(
            f"{path}: want the manifest of {name} version {path.name}, came {read.manifest.name} "
            f"version {read.manifest.version}"
        )
    return read
