#!/usr/bin/env bash
# Every check and test, from a bare checkout. The same gate runs before a commit and in CI.
#
#   scripts/test.sh          checks, and all tests but the long ones
#   scripts/test.sh --all    the long ones too; a missing tool then fails instead of skipping
#
# Neither runs nnU-Net or TotalSegmentator: docs/external-models.md has the command for that.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

selection=(-m "not slow and not benchmark and not external")
case "${1:-}" in
    "") ;;
    --all) selection=(-m "not external" --require-tools) ;;
    *) printf 'usage: scripts/test.sh [--all]\n' >&2; exit 2 ;;
esac

source scripts/environment.sh
prepare_environment test

step() {
    printf '\n== %s\n' "$*"
    "$@" </dev/null
}
export PATH="$environment/bin:$PATH"

step ruff format --check .
step ruff check .
step mypy
step lint-imports --no-cache
# One file of tests per process at a time: what a file sets up once is not set up by every process. More than four
# processes need more memory than they save time.
processes=$(nproc)
step python -m pytest --quiet --numprocesses "$((processes < 4 ? processes : 4))" --dist loadfile \
    --cov --cov-report=term "${selection[@]}"
