"""The same calls by ``Client`` and by ``AsyncClient``, for tests of what they have in common."""

import asyncio

import pytest

from serving.client import AsyncClient, Client, VaeError
from serving.client.transports import retries


class Blocking:
    """Calls by ``Client``."""

    @staticmethod
    def do(url, method, *arguments, **options):
        with Client(url, **options) as client:
            return getattr(client, method)(*arguments)

    @staticmethod
    def twice(url, between=lambda: None):
        with Client(url) as client:
            client.models()
            between()
            return client.models()

    @staticmethod
    def rows(url, **options):
        """First rows of a stream's parts as they come, and what it ended with."""
        came = []
        try:
            with Client(url, **options) as client:
                came += (part.first_row for part in client.sample_stream("m", 9, format="uint8"))
        except VaeError as exc:
            return came, exc
        return came, None


class Asyncio:
    """The same by ``AsyncClient``."""

    @staticmethod
    def do(url, method, *arguments, **options):
        async def run():
            async with AsyncClient(url, **options) as client:
                return await getattr(client, method)(*arguments)

        return asyncio.run(run())

    @staticmethod
    def twice(url, between=lambda: None):
        async def run():
            async with AsyncClient(url) as client:
                await client.models()
                between()
                return await client.models()

        return asyncio.run(run())

    @staticmethod
    def rows(url, **options):
        async def run():
            came = []
            try:
                async with AsyncClient(url, **options) as client:
                    async for part in client.sample_stream("m", 9, format="uint8"):
                        came.append(part.first_row)
            except VaeError as exc:
                return came, exc
            return came, None

        return asyncio.run(run())


@pytest.fixture(params=[Blocking, Asyncio])
def calls(request):
    """Both clients behave the same."""
    return request.param


@pytest.fixture
def no_pauses(monkeypatch):
    """Between attempts."""
    monkeypatch.setattr(retries, "FIRST_PAUSE_S", 0.001)
