#!/bin/sh
# Makes the digits model if the repository has no model yet; run once by docker compose before the server starts.
set -eu
repository=${1:-/models}
run=${2:-/runs/digits}

if ls "$repository"/*/*/manifest.json >/dev/null 2>&1; then
    echo "first-bundle: $repository has a model, nothing to train"
    exit 0
fi
for folder in "$repository" "${run%/*}"; do
    if ! [ -d "$folder" ] || ! [ -w "$folder" ]; then
        echo "first-bundle: error: $folder: want a folder that uid $(id -u) may write; chown it or use a fresh volume" >&2
        exit 2
    fi
done
if [ -e "$run/config.json" ]; then
    vae-train fit --run "$run" --resume # an earlier attempt was stopped
else
    vae-train fit --preset demo --data digits --run "$run"
fi
vae-train export --run "$run" --repository "$repository" --name digits
