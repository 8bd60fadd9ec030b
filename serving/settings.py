"""Every setting of the server: a flag ``--name-with-dashes`` and a variable ``VAE_NAME``.

A flag beats a variable, a variable beats the default. Units are in the names.
"""

import os
import re
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import (
    AfterValidator,
    Field,
    NonNegativeFloat,
    PositiveFloat,
    PositiveInt,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_settings import BaseSettings, CliSettingsSource, NoDecode, SettingsConfigDict, SettingsError

from serving.errors import StartupError
from serving.host.sockets import parse
from serving.version_policy import DEFAULT, VersionPolicy

PREFIX = "VAE_"

_REMOVED = {
    "linger_s": "a batch is cut the moment something can run it, and no server waits on a timer any more"
}
"""Settings of earlier versions, and what became of them."""
_ORIGIN = re.compile(r"https?://[a-z0-9.\-\[\]:]+")
_HOST = re.compile(r"[a-z0-9_]([a-z0-9._-]*[a-z0-9_])?")
_LARGEST_FILE = 1 << 20
"""Bytes of a certificate, a key or a token; a device has no end."""


def _checked_address(address: str) -> str:
    parse(address)
    return address


def _checked_versions(text: str) -> str:
    VersionPolicy.parse(text)
    return text


Address = Annotated[str, AfterValidator(_checked_address)]
Versions = Annotated[str, AfterValidator(_checked_versions)]


class Settings(BaseSettings):
    """Serve the VAE bundles of a repository over gRPC and HTTP."""  # shown by --help

    model_config = SettingsConfigDict(env_prefix=PREFIX, env_ignore_empty=True, frozen=True, extra="forbid")

    repository: Path = Field(Path("models"), description="folder of <model>/<version>/ bundles")
    versions: Versions = Field(
        DEFAULT,
        description="versions of a model in service: latest, latest:N, all, or numbers as in 1+3; "
        "for one model: digits=1+3,latest:2",
    )
    memory_mib: PositiveInt | None = Field(
        None,
        description="memory that all versions in service may take together, MiB, each worker; one that would "
        "exceed it is refused; default: no bound",
    )
    address: Address = Field("127.0.0.1:50051", description="where gRPC listens; port 0 takes a free one")
    http_address: Address | Literal[""] = Field(
        "127.0.0.1:8080", description="where HTTP listens, beside gRPC; off: nowhere"
    )
    cors_origins: Annotated[tuple[str, ...], NoDecode] = Field(
        (),
        description="origins whose pages may call over HTTP, with commas between, such as "
        "https://example.org; * allows all",
    )
    http_hosts: Annotated[tuple[str, ...], NoDecode] = Field(
        (),
        description="names that HTTP requests may call this server by, besides localhost and IP addresses, "
        "with commas between; * any; default: any, but none on loopback without TLS and token",
    )
    explorer: Literal["auto", "on", "off"] = Field(
        "auto",
        description="the page to explore models with, at / of the HTTP door; auto: where that is on loopback",
    )
    metrics_address: Address = Field(
        "127.0.0.1:9464", description="where Prometheus metrics are served (HTTP)"
    )
    provider: Literal["auto", "cpu", "cuda", "tensorrt"] = Field(
        "auto", description="ONNX Runtime execution provider; one asked for by name is never replaced"
    )
    gpu_memory_mib: PositiveInt | None = Field(
        None,
        description="memory of the GPU that one model may take, MiB; one that takes more is refused; "
        "default: all that is free",
    )
    tensorrt_cache: Path | None = Field(
        None,
        description="folder where TensorRT keeps the engines it has built; default: one in the system's "
        "temporary folder",
    )
    threads: PositiveInt | None = Field(
        None, description="CPU threads that run graphs; default: CPUs by affinity and cgroup quota"
    )
    workers: PositiveInt = Field(
        1,
        description="server processes that share the port; more than 1 where one Python process is the limit",
    )
    max_batch_rows: PositiveInt = Field(64, description="rows given to a graph at once")
    max_queue_rows: PositiveInt = Field(
        16_384, description="rows that may wait for a graph; more are refused"
    )
    max_rows: PositiveInt = Field(4096, description="rows that one request may carry or ask for")
    max_calls: PositiveInt = Field(1024, description="calls in progress; more are refused")
    max_streams: PositiveInt | None = Field(
        None, description="calls in progress of one connection (4 a CPU, 8 to 100); clients hold back more"
    )
    max_connections: PositiveInt = Field(1000, description="connections to each door; more are closed")
    request_s: PositiveFloat = Field(60.0, description="seconds in which a request's message must be here")
    max_message_mib: PositiveInt = Field(64, description="size limit of a message, MiB")
    reload_s: NonNegativeFloat = Field(
        5.0, description="seconds between looks at the repository for new versions; 0 never looks again"
    )
    load_timeout_s: PositiveFloat = Field(
        60.0, description="seconds that a version may take to load; one that takes longer is refused"
    )
    load_memory_mib: PositiveInt | None = Field(
        None,
        description="memory that a version may take to load, MiB; one that takes more is refused; "
        "default: half of the container's limit, at most 2048",
    )
    grace_s: PositiveFloat = Field(30.0, description="seconds that running requests get at shutdown")
    drain_s: NonNegativeFloat = Field(
        0.0, description="seconds between NOT_SERVING and refusing new requests at shutdown"
    )
    max_connection_age_s: NonNegativeFloat = Field(
        0.0, description="seconds after which clients are asked to reconnect (rebalancing); 0 never"
    )
    tls_certificate: Path | None = Field(None, description="PEM certificate chain; turns TLS on")
    tls_key: Path | None = Field(None, description="PEM private key of the certificate")
    tls_client_ca: Path | None = Field(
        None, description="PEM authorities that client certificates must be from"
    )
    auth_token_file: Path | None = Field(
        None, description="file with the bearer token that calls must carry; health needs none"
    )
    reflection: Literal["on", "off", "token"] = Field(
        "token",
        description="who is told of the API by reflection: on everybody, off nobody, token who has the token "
        "(if none is set, everybody)",
    )
    tracing: Literal["off", "on"] = Field(
        "off",
        description="traces of calls, sent to the collector that OTEL_EXPORTER_OTLP_ENDPOINT names; "
        "OpenTelemetry's other variables hold as well; needs vaeserve[tracing]",
    )
    log_format: Literal["text", "json"] = Field("text", description="form of the log lines on stderr")
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="least level logged")

    @field_validator("http_address", mode="before")
    @classmethod
    def _off(cls, given: object) -> object:
        """A word, because an empty flag or variable is one that is not set."""
        return "" if given == "off" else given

    @field_validator("cors_origins", "http_hosts", mode="before")
    @classmethod
    def _listed(cls, given: object) -> object:
        return (
            tuple(part.strip() for part in given.split(",") if part.strip())
            if isinstance(given, str)
            else given
        )

    @field_validator("cors_origins")
    @classmethod
    def _are_origins(cls, origins: tuple[str, ...]) -> tuple[str, ...]:
        for origin in origins:
            if origin != "*" and not _ORIGIN.fullmatch(origin):
                raise ValueError("want origins as browsers send them, scheme://host[:port], or *")
        return origins

    @field_validator("http_hosts")
    @classmethod
    def _are_names(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        for name in names:
            if name != "*" and not _HOST.fullmatch(name):
                raise ValueError("want names without scheme and port, in small letters, or *")
        return names

    @model_validator(mode="after")
    def _tls_complete(self) -> Self:
        if (self.tls_certificate is None) != (self.tls_key is None):
            raise ValueError("tls_certificate and tls_key: want both or neither")
        if self.tls_client_ca and not self.tls_certificate:
            raise ValueError("tls_client_ca: want tls_certificate and tls_key beside it")
        return self

    def describe(self) -> str:
        """The settings in force, one line."""
        return " ".join(f"{name}={value}" for name, value in self.model_dump(mode="json").items())


def from_command_line(arguments: list[str]) -> Settings:
    """Read flags and environment.

    Raises:
        StartupError: naming the flag and the variable, what was wanted and what came.
        SystemExit: for ``--help`` and unknown flags, as argparse does it.
    """
    _refuse_removed(arguments)
    source = CliSettingsSource[BaseSettings](
        Settings,
        cli_prog_name="vae-serve",
        cli_kebab_case=True,
        cli_hide_none_type=True,
        cli_avoid_json=True,
        cli_parse_args=arguments,
    )
    try:
        return Settings(_cli_settings_source=source)  # type: ignore[call-arg]  # pydantic-settings' own
    except ValidationError as exc:
        raise StartupError(_explain(exc)) from None
    except SettingsError as exc:
        raise StartupError(str(exc)) from None


def read_file(settings: Settings, name: str) -> bytes | None:
    """What is in the file that a setting names; None where it names none. Raises StartupError."""
    path: Path | None = getattr(settings, name)
    if path is None:
        return None
    try:
        with path.open("rb") as file:
            content = file.read(_LARGEST_FILE + 1)
    except OSError as exc:
        raise StartupError(f"{_flag(name)} {path}: cannot be read: {exc.strerror}") from None
    if len(content) > _LARGEST_FILE:
        raise StartupError(f"{_flag(name)} {path}: want at most {_LARGEST_FILE >> 20} MiB, there is more")
    if not content.strip():
        raise StartupError(f"{_flag(name)} {path}: want content, the file is empty")
    return content


def read_token(settings: Settings) -> str | None:
    """The bearer token that calls must carry, if there is one. Raises StartupError."""
    content = read_file(settings, "auth_token_file")
    if content is None:
        return None
    try:
        token = content.decode("ascii").strip()
    except UnicodeDecodeError:
        token = ""
    if not token.isprintable() or not token:  # no client could send it
        raise StartupError(f"--auth-token-file {settings.auth_token_file}: want one line of printable ASCII")
    return token


def _flag(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def _refuse_removed(arguments: list[str]) -> None:
    for name, reason in _REMOVED.items():
        flag, variable = _flag(name), f"{PREFIX}{name.upper()}"
        if os.environ.get(variable) or any(argument.partition("=")[0] == flag for argument in arguments):
            raise StartupError(f"{flag} ({variable}): is no setting any more, want it left out: {reason}")


def _explain(exc: ValidationError) -> str:
    first = exc.errors(include_url=False)[0]
    if not first["loc"]:
        return first["msg"].removeprefix("Value error, ")
    name = str(first["loc"][0])
    wanted = first["msg"].removeprefix("Value error, ")
    return f"{_flag(name)} ({PREFIX}{name.upper()}): {wanted}, came {first['input']!r}"
