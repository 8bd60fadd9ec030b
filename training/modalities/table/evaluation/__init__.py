"""How good synthetic rows are, and how well scores find odd ones; from cells alone, without a model.

Figures are plain: ``Taken`` has the form of a group of ``metrics.json``.
"""
