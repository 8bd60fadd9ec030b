#!/usr/bin/env bash
# Writes the locks beside this file; `make locks` runs it with UV set.
set -euo pipefail
cd "$(dirname "$0")/.."
: "${UV:?want the path of uv; use make locks}"
# Where the CPU wheel of torch comes from; on a machine without that index: TORCH_SOURCE='--find-links FOLDER'.
: "${TORCH_SOURCE:=--extra-index-url https://download.pytorch.org/whl/cpu --index-strategy unsafe-best-match}"

work=$(mktemp -d)
trap 'rm -r "$work"' EXIT
# The images take the small build of ONNX Runtime where CUDA is of no use, in the version that is tested.
{ cat constraints.txt; sed -n 's/^onnxruntime-gpu==/onnxruntime==/p' constraints.txt; } >"$work/constraints.txt"
printf 'onnxruntime-gpu; python_version < "0"\n' >"$work/cuda.txt"
{ cat "$work/cuda.txt"; sed -n 's/^torch==.*/&+cpu/p' constraints.txt; } >"$work/cpu.txt"

lock() { # lock NAME ARGUMENT...
    local name=$1
    shift
    "$UV" pip compile "$@" --quiet --generate-hashes --no-annotate --native-tls --no-config \
        --python-version 3.11 --python-platform x86_64-manylinux_2_28 --default-index https://pypi.org/simple \
        --constraint "$work/constraints.txt" --custom-compile-command 'make locks' --output-file "$work/$name"
    mv "$work/$name" "locks/$name"
}

echo 'hatchling>=1.27' | lock build.txt -
lock serving-cpu.txt pyproject.toml --extra serving-cpu --extra tracing
lock serving-cuda.txt pyproject.toml --extra serving-cuda --extra tracing
echo onnxruntime | lock training-cuda.txt pyproject.toml - --extra training --override "$work/cuda.txt"
# shellcheck disable=SC2086  # two words on purpose
echo onnxruntime | lock training-cpu.txt pyproject.toml - --extra training --override "$work/cpu.txt" $TORCH_SOURCE
sed -i '1i --extra-index-url https://download.pytorch.org/whl/cpu' locks/training-cpu.txt
