"""docker-compose.yml, the images and the scripts that come with them."""

from tests.deploy import compose, images, tools


def test_compose_files_are_compose_files():
    """The compose specification's schema takes both files; no engine and no docker is needed for that."""
    assert not compose.schema_problems(tools.ROOT)


def test_docker_compose_takes_them():
    """`docker compose config` takes them, alone, merged and with every profile."""
    assert not compose.config_problems(tools.ROOT)


def test_compose_fits_the_server():
    """Services, ports, volumes, settings and .env.example agree with each other and with the server."""
    assert not compose.problems(tools.ROOT)


def test_dockerfiles_follow_good_practice():
    """hadolint and shellcheck have nothing to say."""
    assert not images.hadolint_problems(tools.ROOT)
    assert not images.shell_problems(tools.ROOT)


def test_images_are_reproducible():
    """Pinned bases, an unprivileged user, and locks with hashes in the versions that are tested."""
    assert not images.problems(tools.ROOT)
