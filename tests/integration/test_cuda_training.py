"""Training on a GPU: a recorded step is the step; skipped, with the reason, where there is none.

Where there is none, stand-ins for streams and graphs rehearse all of the recorded step but the recording.
"""

import contextlib

import pytest
import torch

from tests.integration.test_fit import TINY, fit
from training.config import FitConfig
from training.fit.gpu import GraphedStep, chosen_objective, graphed_step, is_recorded
from training.fit.minibatches import Batches
from training.fit.schedule import beta_at, learning_rate_at
from training.fit.state import State
from training.fit.step import train_step
from training.runs import checkpoint
from training.runs.training_log import read_rows
from training.training_error import TrainingError

HAS_GPU = torch.cuda.is_available()
needs_gpu = pytest.mark.skipif(not HAS_GPU, reason="no CUDA: PyTorch sees no CUDA device")
import_of_inductor = pytest.mark.filterwarnings("ignore:.torch.jit.script_method.:DeprecationWarning")
STEPS = 12
KINDS = [
    pytest.param({}, id="adamw"),
    pytest.param({"optimizer": "muon", "weight_decay": 0.1, "prior": "flow"}, id="muon and flow"),
    pytest.param({"model": "iwae", "importance_samples": 3}, id="iwae"),
    pytest.param({"dropout": 0.2}, id="dropout"),
    pytest.param({"precision": "bfloat16"}, id="bfloat16"),
]


def config(**values) -> FitConfig:
    base = {
        "width": 8,
        "latent": 4,
        "batch_size": 16,
        "steps": STEPS,
        "clip": 50.0,
        "likelihood": "bernoulli",
    }
    return FitConfig.parse({**base, "coupling_width": 16, "binarisation": "dynamic", **values})


def trained(settings: FitConfig, device: str, *, recorded: bool) -> tuple[State, list[list[float]]]:
    """The state after all steps, and their terms."""
    state = State.fresh(settings, (1, 12, 12), torch.device(device))
    images = torch.rand(64, 1, 12, 12, generator=torch.Generator().manual_seed(0)).to(device)
    shape = state.model.noise_shape(settings.batch_size)
    batches = Batches(
        images, settings.seed, settings.batch_size, binary=True, noise_shape=shape, batch_axis=len(shape) - 2,
        device=torch.device(device),
    )  # fmt: skip
    graphed = GraphedStep(state, settings) if recorded else None
    rows = []
    for step in range(STEPS):
        scalars = {"beta": beta_at(step, settings), "learning_rate": learning_rate_at(step, settings)}
        batch = batches.at(step)
        terms = graphed(batch[0], **scalars) if graphed else train_step(state, batch, settings, **scalars)
        rows.append([float(term) for term in terms])
    return state, rows


def assert_same_training(settings: FitConfig, device: str, tolerance: float) -> None:
    (eager, terms), (graphed, again) = (
        trained(settings, device, recorded=recorded) for recorded in (False, True)
    )
    torch.testing.assert_close(torch.tensor(again), torch.tensor(terms), rtol=tolerance, atol=tolerance)
    mine, theirs = graphed.tensors(), eager.tensors()
    assert mine.keys() == theirs.keys()
    for name, value in theirs.items():
        torch.testing.assert_close(mine[name], value, rtol=tolerance, atol=tolerance, msg=name)
    assert graphed.step == eager.step == STEPS


@needs_gpu
@pytest.mark.parametrize("values", KINDS)
def test_recorded_steps_equal_eager_ones(values):
    """Terms, weights, averaged weights and moments after twelve steps, nine of them repeated."""
    rounded = "optimizer" in values or "precision" in values
    assert_same_training(config(**values), "cuda", 2e-2 if rounded else 2e-3)


@needs_gpu
def test_a_recorded_step_moves_on():
    """No two repetitions give the same: β, rate, images, noise and dropout are those of their step."""
    _, rows = trained(config(dropout=0.5), "cuda", recorded=True)
    assert len({row[0] for row in rows}) == STEPS


@needs_gpu
def test_a_recorded_run_goes_on_after_a_stop(tmp_path):
    """A run resumed half-way ends where the uninterrupted one does, but for what a GPU rounds."""
    arguments = [
        *TINY, "--network", "conv", "--width", "8", "--optimizer", "muon", "--steps", "60",
        "--checkpoint-every", "20", "--execution", "graph", "--device", "cuda",
    ]  # fmt: skip
    for name in ("straight", "resumed"):
        assert fit(tmp_path / name, *arguments) == 0
    run = tmp_path / "resumed"
    checkpoint.files(run / "checkpoints")[0].unlink()
    assert fit(run, "--resume") == 0
    ends = [
        [row["loss"] for row in read_rows(tmp_path / name / "log.jsonl") if row["kind"] == "val"][-1]
        for name in ("straight", "resumed")
    ]
    assert ends[1] == pytest.approx(ends[0], rel=2e-2)


@pytest.mark.slow
@needs_gpu
@import_of_inductor
def test_a_compiled_step_is_recorded_too(tmp_path):
    """All of it together trains."""
    arguments = [*TINY, "--network", "conv", "--steps", "20", "--device", "cuda", "--execution", "compiled"]
    assert fit(tmp_path / "run", *arguments) == 0


@pytest.fixture
def stand_ins(monkeypatch):
    """Streams that do nothing, and a graph that runs again what it recorded; recording runs it once."""
    recordings = []

    class Stream:
        def __init__(self, device=None):
            pass

        def wait_stream(self, other):
            pass

    class Graph:
        replays = 0

        def replay(self):
            self.replays += 1
            if self.replays > 1:  # the first time, recording has done it
                self.step._clear()
                for kept, new in zip(self.step._terms, self.step._descend(), strict=True):
                    kept.copy_(new)

    @contextlib.contextmanager
    def record(graph, stream):
        recordings.append(graph)
        yield

    patched = {"Stream": Stream, "CUDAGraph": Graph, "graph": record, "current_stream": Stream}
    for name, stand_in in patched.items():
        monkeypatch.setattr(torch.cuda, name, stand_in)
    monkeypatch.setattr(torch.cuda, "stream", lambda _: contextlib.nullcontext())
    original = GraphedStep._repeated

    def repeated(step):
        Graph.step = step
        return original(step)

    monkeypatch.setattr(GraphedStep, "_repeated", repeated)
    return recordings


@pytest.mark.parametrize("values", KINDS)
def test_the_recorded_step_does_what_the_step_does(values, stand_ins):
    """On the CPU, recorded once after the warm-up."""
    assert_same_training(config(**values), "cpu", 1e-4)
    assert len(stand_ins) == 1


@import_of_inductor
@pytest.mark.parametrize("execution", ["auto", "eager", "compiled"])
def test_nothing_is_recorded_without_a_gpu(execution):
    """Where there is none, steps are what they always were."""
    settings = config(execution=execution)
    state = State.fresh(settings, (1, 12, 12), torch.device("cpu"))
    assert not is_recorded(state, settings)
    assert (chosen_objective(settings) is graphed_step.objective) == (execution != "compiled")


def test_a_graph_without_a_gpu_is_refused():
    """In one line."""
    settings = config(execution="graph")
    state = State.fresh(settings, (1, 12, 12), torch.device("cpu"))
    with pytest.raises(TrainingError, match="--execution graph: want a GPU"):
        is_recorded(state, settings)


@pytest.mark.slow
@import_of_inductor
def test_a_compiled_objective_gives_the_same_gradient():
    """Of a conv network with a flow, in bfloat16 where the parts say so."""
    settings = config(execution="compiled", prior="flow")
    bound = chosen_objective(settings)
    ends = []
    for each in (graphed_step.objective, bound):
        state = State.fresh(settings, (1, 12, 12), torch.device("cpu"))
        torch.manual_seed(0)
        terms = each(state.model, torch.rand(8, 1, 12, 12), torch.randn(8, 4), beta=0.5, free_bits=0.0)
        terms.loss.backward()
        ends.append([*(float(term.detach()) for term in terms), *(p.grad for p in state.model.parameters())])
    for one, other in zip(*ends, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-4)
