"""A bundle of a small table, made of ONNX nodes without torch: ``table_schemas.people`` and a linear model.

Encoder: mean = features·A, log_var = -1. Decoder: parameters = z·B + c. Score: the log probability of each cell as
``serving.bundle.tables.log_prob`` has it, of values that lie in the bins of their columns, with the prior N(0, I);
or, with the flow z = 2·noise + 1 of ``toy``, which nothing but Sample knows of.
"""

from datetime import UTC, datetime

import numpy as np
from onnx import helper
from safetensors.numpy import save

from serving import bundle
from serving.bundle.tables import BooleanColumn, CategoryColumn, Cells, cells_of_rows, log_prob, to_features
from tests.support import table_schemas, toy

SCHEMA = table_schemas.people()
LATENTS = toy.LATENTS
COLUMNS = len(SCHEMA.modelled)
DEVIATION = np.exp(-0.5)
ROWS = [
    {
        "age": 39,
        "work": "Private",
        "height": 1.82,
        "member": "yes",
        "joined": "2022-01-08",
        "left": "2022-01-12",
    },
    {"age": 17, "work": None, "height": 1.5, "member": False, "joined": "2022-01-09", "left": None},
    {
        "age": 64,
        "work": "State",
        "height": None,
        "member": True,
        "joined": "2022-01-08",
        "left": "2022-01-08",
    },
]
"""Of values in the bins; an identifier and the constant may be there or not."""


def weights():
    """A [features, latents], B [latents, parameters], c [parameters]."""
    rng = np.random.default_rng(5)
    a = rng.normal(0, 0.3, (SCHEMA.features, LATENTS)).astype(np.float32)
    b = rng.normal(0, 1.5, (LATENTS, SCHEMA.parameters)).astype(np.float32)
    return a, b, rng.normal(0, 0.5, SCHEMA.parameters).astype(np.float32)


def cells(rows, **options):
    return cells_of_rows(SCHEMA, rows, **options)


def encode(given):
    """Mean [n, Z] of the posterior of cells."""
    return to_features(SCHEMA, given) @ weights()[0]


def decode(latents):
    """Parameters [n, P]."""
    _, b, c = weights()
    return latents @ b + c


def score(given, noise):
    """Distortion by column [n, C], rate [n] and log_weight [n, k] of noise [n, k, Z], in float64."""
    mean = encode(given).astype(np.float64)
    latent = mean[:, None] + DEVIATION * noise
    flat = decode(latent.reshape(-1, LATENTS))
    repeated = given.rows(np.repeat(np.arange(len(given)), noise.shape[1]))
    by_cell = log_prob(SCHEMA, flat, repeated).reshape(*noise.shape[:2], COLUMNS)
    rate = 0.5 * (mean**2 + np.exp(-1)).sum(axis=1)
    log_ratio = 0.5 * (noise**2 - latent**2 - 1).sum(axis=2)
    return -by_cell.mean(axis=1), rate, by_cell.sum(axis=2) + log_ratio


def make_bundle(repository, name="people", version=1, *, with_score=True, with_flow=False, golden_error=0.0):
    """Seal a bundle; ``golden_error`` spoils the golden parameters by that much."""
    a, b, c = weights()
    files = {
        "encoder.onnx": _encoder(a),
        "decoder.onnx": _decoder(b, c),
        "schema.json": SCHEMA.to_bytes(),
        "golden.safetensors": _golden(golden_error),
        **({"score.onnx": _score(a, b, c)} if with_score else {}),
        **({"prior.onnx": toy._prior(0, (1, 1, 1))} if with_flow else {}),
    }
    roles = [role for role in ("prior", "score") if f"{role}.onnx" in files]
    return bundle.seal(repository / name / str(version), body(name, version, roles), files)


def body(name="people", version=1, roles=("score",)):
    graphs = {
        "encoder": toy._graph("encoder.onnx", ("features",), "mean", "log_var"),
        "decoder": toy._graph("decoder.onnx", ("latent",), "parameters"),
        "prior": toy.GRAPHS["prior"],
        "score": toy._graph(
            "score.onnx", ("features", "noise"), "distortion", "rate", "log_weight", "column_distortion"
        ),
    }
    return bundle.ManifestBody(
        format=2, modality="table", name=name, version=version, created=datetime(2026, 1, 1, tzinfo=UTC), kind="vae",
        image=None, latent_shape=(LATENTS,), latent_scale=1.0, latent_shift=0.0,
        likelihood=bundle.Likelihood(name="columns", sigma=None, binarisation="none"),
        prior="flow" if "prior" in roles else "standard_normal",
        graphs={role: graphs[role] for role in ("encoder", "decoder", *roles)},
        pools=(),
        training=bundle.TrainingSummary(
            dataset="people.csv", dataset_sha256=None, objective="none", beta=None, seed=None, steps=None,
            git_commit=None, versions={}, metrics={}, gates=(),
        ),
    )  # fmt: skip


def _golden(error):
    given = cells(ROWS)
    rng = np.random.default_rng(6)
    latent = rng.normal(size=(len(ROWS), LATENTS)).astype(np.float32)
    noise = rng.normal(size=(len(ROWS), 2, LATENTS)).astype(np.float32)
    by_column, rate, log_weight = score(given, noise)
    mean = encode(given)
    golden = {
        "features": to_features(SCHEMA, given), "mean": mean, "log_var": np.full_like(mean, -1.0), "latent": latent,
        "decoded": decode(latent) + np.float32(error), "prior_noise": latent, "prior_latent": toy.flow(latent),
        "score_noise": noise, "distortion": by_column.sum(axis=1), "rate": rate, "log_weight": log_weight,
        "column_distortion": by_column,
    }  # fmt: skip
    return bytes(save({name: np.ascontiguousarray(value, np.float32) for name, value in golden.items()}))


def _encoder(a):
    nodes = [
        helper.make_node("MatMul", ["features", "a"], ["mean"]),
        helper.make_node("Mul", ["mean", "zero"], ["nothing"]),
        helper.make_node("Sub", ["nothing", "one"], ["log_var"]),
    ]
    constants = {"a": a, "zero": np.zeros(1, np.float32), "one": np.ones(1, np.float32)}
    outputs = {"mean": ["batch", LATENTS], "log_var": ["batch", LATENTS]}
    return toy._model(nodes, {"features": ["batch", SCHEMA.features]}, outputs, constants)


def _decoder(b, c):
    nodes = [
        helper.make_node("MatMul", ["latent", "b"], ["product"]),
        helper.make_node("Add", ["product", "c"], ["parameters"]),
    ]
    outputs = {"parameters": ["batch", SCHEMA.parameters]}
    return toy._model(nodes, {"latent": ["batch", LATENTS]}, outputs, {"b": b, "c": c})


def _score(a, b, c):
    node = helper.make_node
    constants = {"a": a, "b": b, "c": c, "draws": np.array([1]), "last": np.array([2])}
    numbers = {
        "deviation": DEVIATION,
        "variance": np.exp(-1.0),
        "half": 0.5,
        "one": 1.0,
        "missing": -1.0,
        "two": 2.0,
    }
    constants |= {name: np.full(1, value, np.float32) for name, value in numbers.items()}
    nodes = [
        node("MatMul", ["features", "a"], ["mean"]),
        node("Unsqueeze", ["mean", "draws"], ["centre"]),
        node("Mul", ["noise", "deviation"], ["shift"]),
        node("Add", ["centre", "shift"], ["latent"]),
        node("MatMul", ["latent", "b"], ["product"]),
        node("Add", ["product", "c"], ["parameters"]),
    ]
    for place, column in enumerate(SCHEMA.modelled):
        nodes += _cell(place, column, constants)
    names = [f"cell{place}" for place in range(COLUMNS)]
    nodes += [
        node("Concat", names, ["by_cell"], axis=2),
        node("ReduceMean", ["by_cell", "draws"], ["mean_by_cell"], keepdims=0),
        node("Neg", ["mean_by_cell"], ["column_distortion"]),
        node("ReduceSum", ["column_distortion", "draws"], ["distortion"], keepdims=0),
        node("ReduceSum", ["by_cell", "last"], ["log_prob"], keepdims=0),
        node("Mul", ["mean", "mean"], ["mean_square"]),
        node("Add", ["mean_square", "variance"], ["second_moment"]),
        node("ReduceSum", ["second_moment", "draws"], ["twice_rate"], keepdims=0),
        node("Mul", ["twice_rate", "half"], ["rate"]),
        node("Mul", ["noise", "noise"], ["noise_square"]),
        node("Mul", ["latent", "latent"], ["latent_square"]),
        node("Sub", ["noise_square", "latent_square"], ["squares"]),
        node("Sub", ["squares", "one"], ["log_ratios"]),
        node("ReduceSum", ["log_ratios", "last"], ["twice_log_ratio"], keepdims=0),
        node("Mul", ["twice_log_ratio", "half"], ["log_ratio"]),
        node("Add", ["log_prob", "log_ratio"], ["log_weight"]),
    ]
    inputs = {"features": ["batch", SCHEMA.features], "noise": ["batch", "samples", LATENTS]}
    outputs = {
        "distortion": ["batch"], "rate": ["batch"], "log_weight": ["batch", "samples"],
        "column_distortion": ["batch", COLUMNS],
    }  # fmt: skip
    return toy._model(nodes, inputs, outputs, constants)


def _cell(place, column, constants):
    """Nodes from features [b, F] and parameters [b, k, P] to log p of one cell [b, k, 1]."""
    node, own = helper.make_node, lambda name: f"{name}{place}"
    span = SCHEMA.spans[column.name]
    bounds = {
        "code": (place, place + 1, 1), "state": (2 * COLUMNS + place, 2 * COLUMNS + place + 1, 1),
        "logits": (span.start + column.nullable, span.stop, 2), "gone": (span.start, span.start + 1, 2),
    }  # fmt: skip
    made = []
    for name, (start, end, axis) in bounds.items():
        for part, value in (("start", start), ("end", end), ("axis", axis)):
            constants[f"{name}_{part}{place}"] = np.array([value])
        source = "features" if axis == 1 else "parameters"
        limits = [f"{name}_{part}{place}" for part in ("start", "end", "axis")]
        flat = own(name if axis == 2 else f"flat_{name}")
        made.append(node("Slice", [source, *limits], [flat]))
        if axis == 1:
            made.append(node("Unsqueeze", [flat, "draws"], [own(name)]))
    if isinstance(column, BooleanColumn):
        made += [
            node("Mul", [own("code"), "two"], [own("twice")]),
            node("Sub", ["one", own("twice")], [own("sign")]),
            node("Mul", [own("sign"), own("logits")], [own("against")]),
            node("Softplus", [own("against")], [own("lost")]),
            node("Neg", [own("lost")], [own("value")]),
        ]
    else:
        constants[own("iota")] = np.arange(column.logits, dtype=np.float32)
        constants[own("widths")] = _log_widths(place, column)
        made += [
            node("LogSoftmax", [own("logits")], [own("chances")], axis=2),
            node("Sub", [own("chances"), own("widths")], [own("densities")]),
            node("Equal", [own("code"), own("iota")], [own("is_it")]),
            node("Cast", [own("is_it")], [own("one_hot")], to=1),
            node("Mul", [own("densities"), own("one_hot")], [own("chosen")]),
            node("ReduceSum", [own("chosen"), "last"], [own("value")]),
        ]
    made += [
        node("Softplus", [own("gone")], [own("here_lost")]),
        node("Sub", [own("value"), own("here_lost")], [own("here")]),
        node("Neg", [own("gone")], [own("minus_gone")]),
        node("Softplus", [own("minus_gone")], [own("gone_lost")]),
        node("Equal", [own("state"), "one"], [own("is_here")]),
        node("Cast", [own("is_here")], [own("seen")], to=1),
        node("Equal", [own("state"), "missing"], [own("is_gone")]),
        node("Cast", [own("is_gone")], [own("unseen")], to=1),
        node("Mul", [own("seen"), own("here" if column.nullable else "value")], [own("of_seen")]),
        node("Mul", [own("unseen"), own("gone_lost")], [own("of_unseen")]),
        node("Sub", [own("of_seen"), own("of_unseen")], [own("cell")]),
    ]
    return made


def _log_widths(place, column):
    """What log_prob takes off log pi, by code; of tails 0, for the rows of this module have none there."""
    found = np.zeros(column.logits, np.float32)
    if isinstance(column, CategoryColumn):
        return found
    values = np.array(column.bins.least)
    given = Cells.unknown(len(values), COLUMNS)
    given.values[:, place], given.states[:, place] = values, 1
    flat = np.zeros((len(values), SCHEMA.parameters), np.float32)
    missing = np.log(2) if column.nullable else 0.0
    found[: len(values)] = -np.log(column.logits) - missing - log_prob(SCHEMA, flat, given)[:, place]
    return found
