#!/usr/bin/env bash
# A Ray cluster of two nodes, and a study on both; about a minute. Here both nodes are on this machine; on two
# machines the commands are the same, with their addresses in place of 127.0.0.1 and a folder that both see in place
# of $folder/shared.
#
#     examples/two_node_cluster.sh [precsearch run's options]
#
# `ray`, `precsearch` and `python` have to be on the PATH. Ends with precsearch's exit status, and stops the nodes
# that it started, and no others.
set -euo pipefail
cd "$(dirname "$0")/.."

folder="$(mktemp -d /tmp/pts-XXXXXX)" # short: Ray's sockets lie below it
nodes=()

finish() {
    for node in "${nodes[@]}"; do
        kill -- "-$node" 2>/dev/null || true # a node is a process group of its own
    done
    for node in "${nodes[@]}"; do
        wait "$node" 2>/dev/null || true
    done
    rm -rf "$folder"
}
trap finish EXIT
trap 'exit 130' INT TERM

# Whoever reaches a cluster's ports can run anything on its machines, so every process shows a token. On machines of
# your own: `ray get-auth-token --generate` on one, then the same ~/.ray/auth_token on all.
export RAY_AUTH_MODE=token RAY_AUTH_TOKEN RAY_USAGE_STATS_ENABLED=0
RAY_AUTH_TOKEN="$(python -c 'import secrets; print(secrets.token_hex(32))')"
read -r port client < <(python - <<'PYTHON'
import socket

sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(2)]
print(*[each.getsockname()[1] for each in sockets])
PYTHON
)

start_node() { # NAME, arguments of `ray start`; the node is up when this returns
    local log="$folder/$1.log"
    setsid ray start --block --node-ip-address=127.0.0.1 --num-cpus=1 --object-store-memory=80000000 \
        --min-worker-port=0 --max-worker-port=0 "${@:2}" >"$log" 2>&1 &
    nodes+=("$!")
    for _ in $(seq 240); do
        if grep -q "will now block" "$log"; then
            echo "$1 node: up" >&2
            return
        fi
        kill -0 "$!" 2>/dev/null || break
        sleep 0.25
    done
    cat "$log" >&2
    echo "the $1 node did not start" >&2
    return 1
}

start_node head --head --port="$port" --ray-client-server-port="$client" --include-dashboard=false \
    --temp-dir="$folder/ray"
start_node second --address="127.0.0.1:$port"

status=0
precsearch run --address "127.0.0.1:$port" --set "executor.storage_path=$folder/shared" --trials 4 \
    --set 'study.baselines=[]' --output runs/two-node-cluster "$@" || status=$?
echo && grep -H '"node"' runs/two-node-cluster/trials/*/result.json || true # which node ran which trial
exit "$status"
