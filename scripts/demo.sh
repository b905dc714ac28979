#!/usr/bin/env bash
# The reference course from nothing: environment, a synthetic patient as DICOM, responses with the true masks
# and with the networks, both beside what is expected. Needs Python 3.11 or later; everything is written to demo/.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source scripts/environment.sh
prepare_environment run

# Results of the same version are shown again; those of another version are made afresh.
version=$(find mrresponse models configs -type f -not -name '*.pyc' -print0 | sort -z | xargs -0 cat | cksum)
mkdir -p demo
if [ "$(cat demo/version 2>/dev/null || true)" != "$version" ]; then
    rm -rf demo/phantom demo/run-truth-masks* demo/run-networks* demo/assessed
    printf '%s\n' "$version" >demo/version
fi

mrresponse() { "$environment/bin/mrresponse" "$@" </dev/null; }
compare() { "$python" scripts/compare_responses.py "$@"; }

if [ ! -f demo/phantom/complete ]; then
    printf '\n== Synthetic patient hcc-course, as DICOM\n'
    rm -rf demo/phantom
    mrresponse phantom --scenario hcc-course --size standard --format dicom --seed 1 --out demo/phantom
    touch demo/phantom/complete
fi

if [ ! -f demo/assessed ]; then
    printf '\n== Assessing the patient with the true masks and with the networks\n'
    # Both at the same time: one patient keeps little more than one core busy.
    mrresponse run demo/phantom/data --out demo/run-networks >demo/run-networks.log 2>&1 &
    networks=$!
    mrresponse run demo/phantom/data --masks demo/phantom/truth/masks --out demo/run-truth-masks \
        >demo/run-truth-masks.log 2>&1 || { cat demo/run-truth-masks.log >&2; exit 1; }
    wait "$networks" || { cat demo/run-networks.log >&2; exit 1; }
    touch demo/assessed
fi

printf '\n== Responses with the true masks\n'
cat demo/run-truth-masks.log
compare demo/run-truth-masks demo/phantom/truth --exact

printf '\n== Responses with the networks\n'
cat demo/run-networks.log
compare demo/run-networks demo/phantom/truth

printf '\nPages:\n'
find "$PWD/demo/run-truth-masks/report" "$PWD/demo/run-networks/report" -name '*.html' | sort | sed 's/^/  /'
