"""``python -m demo``, or ``make demo``; with ``--open``, ``make demo-open``."""

import argparse
import sys
import time

from demo import calls, judging, opened, pictures, programs
from demo.programs import AUTOENCODER, NAME, DemoError
from demo.scrape import moved, scrape
from serving.client import Client, VaeError


def main(arguments: list[str] | None = None) -> int:
    """The exit status."""
    parser = argparse.ArgumentParser(prog="python -m demo", description="Train, export, serve, call, look.")
    parser.add_argument("--open", action="store_true", help="serve the model for a browser, until Ctrl-C")
    opens = parser.parse_args(arguments).open
    started = time.perf_counter()
    try:
        if opens:
            opened.keep_open()
            return 0
        _demo()
    except (DemoError, VaeError) as exc:
        print(f"demo: {exc}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        again = "make demo-open" if opens else "make demo"
        print(f"demo: interrupted; `{again}` goes on where it stopped", file=sys.stderr)
        return 130
    print(f"\nDone in {time.perf_counter() - started:.0f} s.")
    print("To move in its latent space yourself: `make demo-open`, then http://127.0.0.1:8080/ in a browser.")
    return 0


def _demo() -> None:
    _step("1. Train a VAE on 1,797 handwritten digits, an autoencoder beside it, and export both")
    for name in (AUTOENCODER, NAME):
        if bundle := programs.trained_bundle(name):
            print(f"{bundle} is there already (remove it to train again)")
        else:
            programs.train_and_export(name)

    dataset = judging.load_digits()
    assert dataset.test.labels is not None
    test_images, test_labels = dataset.test.images.numpy(), dataset.test.labels.numpy()
    another = int((test_labels != test_labels[0]).argmax())
    ends = test_images[[0, another]]
    _step("2. Serve them, and call them through the client")
    with programs.serving(*programs.on_free_ports()) as server, Client(server.grpc_address) as client:
        before = scrape(server.metrics_address)
        answers = calls.ask(client, NAME, test_images, ends)
        autoencoder = calls.ask_autoencoder(client, AUTOENCODER, ends)
        is_the_same = calls.is_the_same_by_http(client, server.http_address, NAME)
        latencies = {count: calls.latency_ms(client, NAME, count=count, calls=200) for count in (1, 64)}
        lines = moved(before, scrape(server.metrics_address))
    if not answers.repeatable:
        raise DemoError("rows of a seed differ when they are asked for alone")
    if not is_the_same:
        raise DemoError("HTTP and gRPC give different images for the same seed")
    _print_answers(answers)
    print("both doors   the same seed as JSON over HTTP: the same PNG files, byte for byte")
    for count, (median, tail) in latencies.items():
        print(f"latency      Sample of {count:>2}: median {median:.1f} ms, 99th percentile {tail:.1f} ms")
    print("stopped      the server, by SIGTERM: exit code 0")

    _step("3. Prometheus lines that moved")
    print("\n".join(lines))

    _step("4. Are they digits? A classifier trained on real ones looks at them")
    verdict = judging.judge(answers, autoencoder, dataset)
    _print_verdict(verdict)

    _step("5. Pictures")
    for path in pictures.draw(answers, autoencoder, test_images, test_labels, verdict):
        print(path)


def _step(title: str) -> None:
    print(f"\n== {title}", flush=True)


def _print_answers(answers: calls.Answers) -> None:
    served, model = answers.served, answers.model
    print(
        f"model        {served.name} version {served.version}, sha256 {served.digest[:16]}…, "
        f"on {model.execution_provider}\n"
        f"sampled      {len(answers.samples)} images of the prior, {calls.PER_POOL} of each of "
        f"{len(answers.pools)} pools; {len(answers.posteriors.mean)} test digits encoded: "
        f"{answers.seconds:.2f} s\n"
        f"repeatable   rows 5 to 8 of seed {calls.SEED}, asked for alone: bit-equal"
    )
    for name in ("nelbo", "rate", "distortion"):
        if name in model.metrics:
            print(f"{name:<12} {model.metrics[name].value:.2f} nats per test image")


def _print_verdict(verdict: judging.Verdict) -> None:
    mean = sum(verdict.fidelity.values()) / len(verdict.fidelity)
    each = ", ".join(f"{name}: {share:.1%}" for name, share in verdict.fidelity.items())
    print(
        f"classifier   right on {verdict.accuracy:.1%} of real test digits\n"
        f"fidelity     {mean:.1%} of pool samples are taken for the pool's digit\n"
        f"             {each}\n"
        f"trash        {verdict.trash:.1%} of the prior's samples are no clear digit, "
        f"{verdict.pool_trash:.1%} of the pools', {verdict.real_trash:.1%} of real test digits\n"
        f"autoencoder  {verdict.autoencoder_trash:.1%} of random latents are no clear digit, "
        f"{verdict.fitted_trash:.1%} of those from a Gaussian fitted to its own\n"
        f"Encode       puts {verdict.pool_accuracy:.1%} of test digits into the pool of their label"
    )


if __name__ == "__main__":
    sys.exit(main())
