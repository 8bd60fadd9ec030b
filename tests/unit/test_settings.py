from pathlib import Path

import onnxruntime
import pytest

from serving.errors import StartupError
from serving.host.cpus import available_cpus
from serving.runtime import providers
from serving.settings import Settings, from_command_line, read_token


def test_a_flag_beats_a_variable_beats_the_default(monkeypatch):
    """Every setting has a flag and a variable, and one order of precedence."""
    assert from_command_line([]).max_rows == 4096
    monkeypatch.setenv("VAE_MAX_ROWS", "10")
    assert from_command_line([]).max_rows == 10
    assert from_command_line(["--max-rows", "20"]).max_rows == 20


def test_every_setting_is_described():
    """A setting without a description would be missing from --help and from the documentation."""
    assert all(field.description for field in Settings.model_fields.values())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--threads", "0"], r"--threads \(VAE_THREADS\): .* came '0'"),
        (["--provider", "tpu"], r"--provider \(VAE_PROVIDER\): .*'cuda'.* came 'tpu'"),
        (["--address", "nowhere"], r"--address \(VAE_ADDRESS\): want host:port.* came 'nowhere'"),
        (["--address", "127.0.0.1:99999"], r"--address \(VAE_ADDRESS\): want a port from 0 to 65535"),
        (["--address", f"127.0.0.1:{'9' * 5000}"], r"--address \(VAE_ADDRESS\): want a port from 0 to 65535"),
        (["--address", "::1:0"], r"--address .*brackets around an IPv6 address"),
        (["--address", "a b:1"], r"--address .*want host:port"),
        (["--metrics-address", "127.0.0.1:65536"], r"--metrics-address .*want a port from 0 to 65535"),
        (["--metrics-address", "[::1]"], r"--metrics-address .*want host:port"),
        (["--explorer", "maybe"], r"--explorer \(VAE_EXPLORER\): .*'off'.* came 'maybe'"),
        (
            ["--http-hosts", "http://a.org"],
            r"--http-hosts \(VAE_HTTP_HOSTS\): want names without scheme and port",
        ),
        (
            ["--http-hosts", "a.org:8080"],
            r"--http-hosts \(VAE_HTTP_HOSTS\): want names without scheme and port",
        ),
        (["--http-hosts", "A.org"], r"--http-hosts \(VAE_HTTP_HOSTS\): want .* in small letters"),
        (["--tls-key", "key.pem"], "tls_certificate and tls_key: want both"),
    ],
)
def test_a_bad_value_names_flag_and_variable(arguments, message):
    """One line that says which setting, what was wanted and what came."""
    with pytest.raises(StartupError, match=message) as refusal:
        from_command_line(arguments)
    assert "\n" not in str(refusal.value)


def test_a_blank_variable_is_not_set(monkeypatch):
    """`VAE_X=` is how a line of an env file is left empty; what is required to be a number is not asked for one."""
    for name in Settings.model_fields:
        monkeypatch.setenv(f"VAE_{name.upper()}", "")
    assert from_command_line([]) == Settings()


@pytest.mark.parametrize("content", ["ü".encode(), b"\xff\xfe", b"one\ntwo", b"a\x00b"])
def test_a_token_that_no_client_could_send_is_refused(tmp_path, content):
    """One line that names the file and not what is in it."""
    file = tmp_path / "token"
    file.write_bytes(content)
    with pytest.raises(StartupError, match=f"--auth-token-file {file}: want one line of printable ASCII"):
        read_token(Settings(auth_token_file=file))


def test_off_closes_the_http_door(monkeypatch):
    """By flag and by variable; an empty one is not set, so that the address is the default's."""
    assert from_command_line(["--http-address", "off"]).http_address == ""
    monkeypatch.setenv("VAE_HTTP_ADDRESS", "off")
    assert from_command_line([]).http_address == ""
    monkeypatch.setenv("VAE_HTTP_ADDRESS", "")
    assert from_command_line([]).http_address == Settings().http_address


def test_names_are_listed_with_commas(monkeypatch):
    """By flag and by variable, as origins are."""
    assert from_command_line(["--http-hosts", "a.org, b"]).http_hosts == ("a.org", "b")
    monkeypatch.setenv("VAE_HTTP_HOSTS", "*")
    assert from_command_line([]).http_hosts == ("*",)


def test_a_setting_that_is_gone_is_refused_with_what_became_of_it(monkeypatch):
    """A flag or variable of an earlier version is not passed over in silence."""
    for arguments in (["--linger-s", "0.1"], ["--linger-s=0"]):
        with pytest.raises(StartupError, match=r"--linger-s \(VAE_LINGER_S\): is no setting any more"):
            from_command_line(arguments)
    monkeypatch.setenv("VAE_LINGER_S", "0.1")
    with pytest.raises(StartupError, match=r"VAE_LINGER_S"):
        from_command_line([])


@pytest.mark.parametrize(
    ("files", "most"),
    [
        ({"cpu.max": "150000 100000"}, 2),
        ({"cpu.max": "50000 100000"}, 1),
        ({"cpu/cpu.cfs_quota_us": "100000", "cpu/cpu.cfs_period_us": "100000"}, 1),
    ],
    ids=["v2, 1.5 CPUs", "v2, half a CPU", "v1, one CPU"],
)
def test_the_cgroup_quota_limits_the_cpus(tmp_path, files, most):
    """A container with a quota must not start a thread for each core of the host."""
    for name, content in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(content)
    assert available_cpus(tmp_path) <= most


def test_no_quota_means_the_affinity(tmp_path):
    """Without a limit the CPUs this process may run on count."""
    (tmp_path / "cpu.max").write_text("max 100000")
    assert available_cpus(tmp_path) == available_cpus(tmp_path / "nothing there") >= 1


def test_cuda_is_never_replaced_in_silence():
    """Asked for by name it is there or an error with the reason; `auto` says why it took the CPU."""
    obstacle = providers.cuda_obstacle()
    if obstacle is None:
        assert providers.choose("cuda").name == providers.choose("auto").name == "cuda"
        return
    with pytest.raises(StartupError, match=r"--provider cuda: .*want a usable GPU"):
        providers.choose("cuda")
    assert providers.choose("auto") == providers.Provider("cpu", obstacle)
    if "CUDAExecutionProvider" not in onnxruntime.get_available_providers():
        assert "onnxruntime-gpu" in obstacle


def test_every_setting_is_in_the_documentation():
    """The table of docs/settings.md names each flag, its variable, its default and what it does."""
    page = (Path(__file__).parents[2] / "docs" / "settings.md").read_text()
    for name, field in Settings.model_fields.items():
        default = "" if field.default in (None, ()) else f"`{field.default}`"
        flag, variable = f"--{name.replace('_', '-')}", f"VAE_{name.upper()}"
        assert f"| `{flag}` | `{variable}` | {default} | {field.description} |" in page
