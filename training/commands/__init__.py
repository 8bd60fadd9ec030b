"""The sub-commands of ``vae-train``: each module has ``add(subparsers)`` and ``run(args) -> exit code``."""
