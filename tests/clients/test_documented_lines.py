"""README.md and docs/calling.md: what they tell a caller to type works as it is printed."""

import re
from dataclasses import dataclass

import pytest

from tests.clients import installed
from tests.clients.asking import output_of

pytestmark = pytest.mark.slow

BLOCK = re.compile(r"^```(sh|js|python)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
CONNECT_PYTHON = "vae.v1.vae_service_connect"


@dataclass(frozen=True)
class Block:
    page: str
    language: str
    text: str

    def __str__(self) -> str:
        first = re.search(r"buf|curl|connect-node|connect-web|grpc-js|connectrpc|vae_service", self.text)
        return f"{self.page} {self.language} {first[0] if first else ''}"


def blocks():
    """All but those of our own client, which are Python."""
    for page in ("README.md", "docs/calling.md"):
        for language, text in BLOCK.findall((installed.ROOT / page).read_text()):
            if language != "python" or CONNECT_PYTHON in text:
                yield Block(page, language, text)


@pytest.mark.parametrize("block", [*blocks()], ids=str)
async def test_it_works_as_it_is_printed(server, tmp_path, block):
    """With the addresses of this server; whatever it prints, it ends well and has something to say."""
    commands = {
        "sh": lambda: ["bash", "-euc", text],
        "js": lambda: [installed.find_node(), "block.mjs"],
        "python": lambda: [installed.find_python(), "-c", text],
    }
    text = block.text.replace("localhost:8080", server.http_address).replace(
        "localhost:50051", server.grpc_address
    )
    if block.language == "sh":
        for program in set(re.findall(r"^(curl|buf)\b", text, re.MULTILINE)):
            installed.find(program)
        text = re.sub(r"^curl ", "curl -sSf ", text, flags=re.MULTILINE)
    command = commands[block.language]()
    if block.language == "js":
        installed.lay_out(tmp_path)
    (tmp_path / "block.mjs").write_text(text)
    (tmp_path / "protos").symlink_to(installed.ROOT / "protos")
    path = f"PATH={installed.search_path()}"
    code, said, complaint = await output_of(
        "env", path, f"PYTHONPATH={installed.FOLDER / 'python'}", *command, cwd=tmp_path
    )
    assert (code, complaint) == (0, "")
    assert said
    answered = server.metrics.calls_by_code()
    assert answered["OK"] > 0
    assert set(answered) <= {"OK", "CANCELLED"}
