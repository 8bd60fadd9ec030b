"""How long a training took, in words."""


def duration(seconds: float | None) -> str:
    """To stand behind the steps; nothing where it is not known."""
    if seconds is None:
        return ""
    minutes, rest = divmod(round(seconds), 60)
    return f", {minutes} min {rest} s" if minutes else f", {rest} s"
