# shellcheck shell=bash
# Sourced by demo.sh and test.sh: the environment `.venv` of this checkout, made once and then reused.
#
#   prepare_environment run     what the program needs
#   prepare_environment test    that, and the tools of the checks
#
# Afterwards $python is the interpreter of the environment. A stamp holds the fingerprint of everything that
# decides what is installed, so a second call returns at once.

checkout=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
environment="$checkout/.venv"
python="$environment/bin/python"

fail() {
    printf 'error: %s\n' "$*" >&2
    exit 2
}

# Python 3.11 is asked for first: the versions in constraints.txt were tested with it.
find_python() {
    local candidate
    for candidate in ${PYTHON:-} python3.11 python3.12 python3.13 python3 python; do
        if "$candidate" -c 'import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; then
            command -v "$candidate"
            return
        fi
    done
    fail "no Python 3.11 or later with the venv module was found (looked for: \$PYTHON, python3.11, python3.12," \
        "python3.13, python3, python). On Debian: apt-get install python3 python3-venv"
}

fingerprint() {
    cat "$checkout/pyproject.toml" "$checkout/scripts/constraints.txt" "$checkout/scripts/environment.sh" |
        "$1" -c 'import hashlib, sys; print(hashlib.sha256(sys.stdin.buffer.read() + sys.version.encode()).hexdigest())'
}

prepare_environment() {
    local purpose=$1 system target
    if [ ! -x "$python" ]; then
        system=$(find_python) || exit 2
        printf 'Making an environment in %s with %s\n' "$environment" "$("$system" --version)"
        "$system" -m venv "$environment" || fail "the environment could not be made"
    fi
    # The test environment holds everything that a run needs.
    if stamped test || { [ "$purpose" = run ] && stamped run; }; then
        return
    fi
    rm -f "$environment/installed-run" "$environment/installed-test"
    target="${checkout}[dicom]"
    if [ "$purpose" = test ]; then target="${checkout}[dicom,test]"; fi
    printf 'Installing (a few minutes the first time)\n'
    # torch comes first and by itself, so that which build it is (CPU or CUDA) stays the choice of pip's configuration.
    install 'torch==2.13.0'
    install --editable "$target"
    fingerprint "$python" >"$environment/installed-$purpose"
}

stamped() {
    [ -f "$environment/installed-$1" ] && [ "$(cat "$environment/installed-$1")" = "$(fingerprint "$python")" ]
}

install() {
    "$python" -m pip install --quiet --disable-pip-version-check --no-input \
        --constraint "$checkout/scripts/constraints.txt" "$@" || fail "pip could not install $* (if .venv is damaged: remove it and try again)"
}
