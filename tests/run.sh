#!/usr/bin/env bash
# All tests: on SQLite in one process, and beside that what touches the database on PostgreSQL and Redis with two processes.
# Arguments go to pytest. PostgreSQL and Redis are the tests' own, unless DATABASE_URL and REDIS_URL name others.
set -euo pipefail
cd "$(dirname "$0")/.."
python=${PYTHON:-python3}

# In memory, where there is plenty: all databases are here, and both passes would wait for one disk at each commit. What is
# killed are processes, never the machine, so a disk would keep nothing that memory does not.
roomy() {
  [ "$(df --output=avail -k "$1" | tail -1)" -gt 6000000 ] && [ "$(awk '/MemAvailable/ {print $2}' /proc/meminfo)" -gt 8000000 ]
}
if [ -z "${TMPDIR:-}" ] && roomy /dev/shm 2>/dev/null; then TMPDIR=/dev/shm; fi
folder=$(mktemp -d -p "${TMPDIR:-/tmp}" meanwhile-tests-XXXXXX)
trap 'rm -rf "$folder"' EXIT
chmod 711 "$folder"  # PostgreSQL's user passes through
export VAR_DIR=$folder/var TMPDIR=$folder

# The SDK's tests need Node.js 20: where the system's is missing or older, the one that Playwright brings.
if ! node -e 'process.exit(parseInt(process.versions.node) < 20)' 2>/dev/null; then
  ln -s "$("$python" -c 'import pathlib, playwright; print(pathlib.Path(playwright.__file__).parent / "driver" / "node")')" "$folder/node"
  PATH=$folder:$PATH
fi

database_url=${DATABASE_URL:-} redis_url=${REDIS_URL:-}
unset DATABASE_URL REDIS_URL
engines=()
if [ -n "$database_url" ] && [ -n "$redis_url" ]; then
  engines=(env "DATABASE_URL=$database_url" "REDIS_URL=$redis_url")
elif missing=$("$python" -m tests.engines.private); then
  engines=("$python" -m tests.engines.private)
elif [ "${CI:-}" = true ]; then
  echo "The tests on PostgreSQL and Redis cannot run: $missing" >&2
  exit 1
else
  echo "Left out, the tests on PostgreSQL and Redis: $missing"
fi

# Both passes at once: they wait more than they compute. What the second says is shown when the first is through.
failed=0 second=
if [ ${#engines[@]} -gt 0 ]; then
  # Left out: what touches no database, and what brings its own engines.
  VAR_DIR=$folder/second "${engines[@]}" "$python" -m pytest -m "not browser" --ignore=tests/protocol --ignore=tests/engines "$@" \
    >"$folder/second.log" 2>&1 &
  second=$!
  trap 'kill "$second" 2>/dev/null || true; wait "$second" || true; rm -rf "$folder"' EXIT
fi
"$python" -m pytest "$@" || failed=$?
if [ -n "$second" ]; then
  wait "$second" || failed=$?
  trap 'rm -rf "$folder"' EXIT
  echo "And on PostgreSQL and Redis:"
  cat "$folder/second.log"
fi
exit $failed
