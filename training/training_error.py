"""The one error that users of the training commands see."""


class TrainingError(Exception):
    """Something the user can put right: one line that names the option, what was wanted and what came.

    ``vae-train`` prints it to stderr without a traceback and exits with code 2.
    """
