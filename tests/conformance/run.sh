#!/bin/sh
# Runs the official MCP conformance suite against the router, prefix-less, with the conformance fixture behind it as a
# downstream of both eras: all of the suite over WebSocket, and what it scores over HTTP and over stdio. The fixture itself
# must pass all of it first: what then fails behind the router is the router's. Exit 0: every result is as the baselines say.
set -eu

here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd -P)
root=$(CDPATH='' cd -- "$here/../.." && pwd -P)
target=${CARGO_TARGET_DIR:-$root/target}
modules=$root/target/tools/node/node_modules
package=$modules/@modelcontextprotocol/conformance
suite=$package/dist/index.js
suite_seconds_max=180

say() { printf 'conformance: %s\n' "$*" >&2; }
fail() {
    say "$*"
    exit 1
}

node() { "$modules/.bin/node" "$@"; }

if [ ! -x "$modules/.bin/node" ] || [ ! -f "$suite" ]; then
    fail "The suite is missing; ./run tools suite brings it."
fi

work=$(mktemp -d)
children=
# Asks all children to end, and ends those that have not after ten seconds.
stop_children() {
    for child in $children; do kill "$child" 2>/dev/null || :; done
    tenths=100
    for child in $children; do
        while [ "$tenths" -gt 0 ] && kill -0 "$child" 2>/dev/null; do
            tenths=$((tenths - 1))
            sleep 0.1
        done
        kill -9 "$child" 2>/dev/null || :
    done
    wait
    children=
}
trap 'stop_children; rm -rf "$work"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# start_fixture TRANSPORT ERA: sets `fixture` to its URL.
start_fixture() {
    : >"$work/fixture.url"
    "$target/debug/standins" fixture "--$1" 127.0.0.1:0 --era "$2" >"$work/fixture.url" 2>"$work/fixture.log" &
    children="$children $!"
    tenths=100
    until [ "$(wc -l <"$work/fixture.url")" -gt 0 ]; do
        tenths=$((tenths - 1))
        if [ "$tenths" -eq 0 ] || ! kill -0 "$!" 2>/dev/null; then
            cat "$work/fixture.log" >&2
            fail "The fixture did not start; above is its log."
        fi
        sleep 0.1
    done
    fixture=$(cat "$work/fixture.url")
}

# start_router TRANSPORT: the router in front of the downstream that is reached so, in the flow form of YAML; sets `endpoint`.
start_router() {
    ports=$(node "$here/helper.mjs" ports 2)
    sed -e "s|127.0.0.1:7801|127.0.0.1:${ports% *}|" -e "s|127.0.0.1:7802|127.0.0.1:${ports#* }|" -e "s|websocket: { url: ws://127.0.0.1:7803/mcp }|$1|" \
        "$here/weir.yaml" >"$work/weir.yaml"
    "$target/debug/weir" serve --config "$work/weir.yaml" >"$work/weir.log" 2>&1 &
    children="$children $!"
    endpoint=http://127.0.0.1:${ports% *}/mcp
    node "$here/helper.mjs" ready "$endpoint" || {
        cat "$work/weir.log" >&2
        fail "The router did not get ready; above is its log."
    }
}

passed=0
expected=0
failed=0

count() { awk 'END { print NR }' "$@"; }

# between FIRST: the lines of $log from that one to the next empty line.
between() { awk -v first="$1" 'inside && !NF { exit } inside { print $2 } index($0, first) == 1 { inside = 1 }' "$log"; }

# passing ARGUMENTS...: the scenarios that passed and that were judged. A set runs some that it does not judge, and a
# scenario that is run alone prints no summary.
passing() {
    : >"$work/unjudged"
    case $1 in
    --requirements) sed -n 's/^  - scenario: //p' "$package/requirements/$2.yaml" >"$work/unjudged" ;;
    --scenario) [ -s "$work/excused" ] || [ -s "$work/unexpected" ] || [ "$status" -ne 0 ] || echo "$2" ;;
    esac
    sed 's/:.*//' "$work/excused" "$work/unexpected" "$work/stale" >>"$work/unjudged"
    sed -n '/^=== SUMMARY ===$/,/^Total/s/^✓ \([^:]*\):.*/\1/p' "$log" | grep -vxF -f "$work/unjudged" || :
}

# run_suite LABEL BASELINE ARGUMENTS...: runs the suite against $endpoint and adds to the counts.
run_suite() {
    label=$1
    baseline=$2
    shift 2
    out=$work/out
    log=$work/suite.log
    rm -rf "$out"
    status=0
    timeout -k 5 "$suite_seconds_max" "$modules/.bin/node" "$suite" server --url "$endpoint" --expected-failures "$baseline" -o "$out" "$@" \
        >"$work/suite.raw" 2>&1 || status=$?
    sed "s/$(printf '\033')\[[0-9;]*m//g" "$work/suite.raw" >"$log"

    between 'Expected failures (in baseline):' >"$work/excused"
    between 'Unexpected failures (not in baseline):' >"$work/unexpected"
    between 'Stale baseline entries' >"$work/stale"
    excused=$(count "$work/excused")
    wrong=$(cat "$work/unexpected" "$work/stale" | count)
    good=$(passing "$@" | count)
    # A suite that broke off has judged nothing.
    [ "$status" -eq 0 ] || [ "$wrong" -gt 0 ] || {
        wrong=1
        tail -n 20 "$log"
    }
    printf '%-66s %2d pass, %2d fail as listed, %2d not as listed\n' "$label" "$good" "$excused" "$wrong"
    sed "s|^|  passes now, take it out of ${baseline##*/}: |" "$work/stale"
    sed 's|^|  fails: |' "$work/unexpected"
    # shellcheck disable=SC2046 # a list of entries
    [ ! -s "$work/unexpected" ] || node "$here/helper.mjs" explain "$out" $(cat "$work/unexpected")
    passed=$((passed + good))
    expected=$((expected + excused))
    failed=$((failed + wrong))
}

old=$here/baseline-2025-11-25.yml
new=$here/baseline-2026-07-28.yml

# run_scored LABEL: both sets.
run_scored() {
    run_suite "$1: 2026-07-28" "$new" --requirements 2026-07-28
    run_suite "$1: 2025-11-25" "$old" --requirements 2025-11-25
}

# run_all LABEL: both sets, the scenarios that a set runs without judging them, and the older revisions.
run_all() {
    run_suite "$1: 2026-07-28" "$new" --requirements 2026-07-28
    for scenario in http-header-validation http-custom-header-server-validation json-schema-2020-12; do
        run_suite "$1: 2026-07-28 $scenario" "$new" --scenario "$scenario" --spec-version 2026-07-28
    done
    run_suite "$1: 2025-11-25" "$old" --requirements 2025-11-25
    for scenario in server-session-lifecycle json-schema-2020-12; do
        run_suite "$1: 2025-11-25 $scenario" "$old" --scenario "$scenario" --spec-version 2025-11-25
    done
    run_suite "$1: 2025-06-18" "$old" --suite all --spec-version 2025-06-18
    run_suite "$1: 2025-03-26" "$old" --suite all --spec-version 2025-03-26
}

cargo build --quiet --workspace --bin weir --bin standins

printf 'server: []\n' >"$work/nothing.yml"
start_fixture http both
endpoint=$fixture
run_suite 'fixture: 2026-07-28' "$work/nothing.yml" --requirements 2026-07-28
run_suite 'fixture: 2025-11-25' "$work/nothing.yml" --requirements 2025-11-25
stop_children

for era in modern legacy; do
    start_fixture websocket "$era"
    start_router "websocket: { url: $fixture }"
    run_all "$era downstream"
    stop_children

    start_fixture http "$era"
    start_router "http: { url: $fixture }"
    run_scored "$era downstream over HTTP"
    stop_children

    start_router "stdio: { command: [$target/debug/standins, fixture, --stdio, --era, $era] }"
    run_scored "$era downstream over stdio"
    stop_children
done

printf '\n%d failures are expected by the baselines.\n' "$expected"
printf '%d passed, %d failed\n' "$passed" "$failed"
[ "$failed" -eq 0 ]
