#!/usr/bin/env bash
# Look the tested versions up in the public list of known vulnerabilities. Needs the network; a version that could not be
# looked up counts as a failure.
#
#   scripts/audit.sh [options of pip-audit]
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

source scripts/environment.sh
prepare_environment test

# the lock names every version, so nothing is resolved or installed
exec "$environment/bin/pip-audit" --requirement scripts/constraints.txt --disable-pip --no-deps --strict "$@"
