#!/bin/sh
# Installs what tests/clients.rs drives into DIR, as pinned here, and prints the variables that tell the tests so:
#
#     eval "$(gateway/tests/clients/install.sh DIR)"
#
# DIR lies outside the repository. Needed: Python 3.10 or later with venv, Node.js 20.19 or later with npm.
set -eu

usage() {
    echo "usage: $0 DIR, outside the repository" >&2
    exit 2
}

[ $# -eq 1 ] && [ -n "$1" ] || usage
here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd -P)
repository=$(CDPATH='' cd -- "$here/../../.." && pwd -P)
mkdir -p -- "$1"
dir=$(CDPATH='' cd -- "$1" && pwd -P)
case $dir/ in
"$repository"/*) usage ;;
esac

python3 -m venv -- "$dir/python"
# Exactly the list, and nothing of it runs while it is installed.
"$dir/python/bin/python" -m pip --disable-pip-version-check --quiet install \
    --no-deps --only-binary :all: --requirement "$here/requirements.txt" >&2

mkdir -p -- "$dir/node"
cp -- "$here/package.json" "$here/package-lock.json" "$here/.npmrc" "$dir/node/"
(cd -- "$dir/node" && npm ci --loglevel=error) >&2

quoted() {
    printf "'%s'" "$(printf %s "$1" | sed "s/'/'\\\\''/g")"
}
printf 'export CURFEW_TEST_PYTHON=%s\n' "$(quoted "$dir/python/bin/python")"
printf 'export CURFEW_TEST_NODE_MODULES=%s\n' "$(quoted "$dir/node/node_modules")"
