# SPDX-License-Identifier: Apache-2.0
# Inside a container: a shell and a child of it. Answers each SIGUSR1 with "ok N".
n=0
trap 'n=$((n + 1)); echo "ok $n"' USR1
[ -z "${KEEP:-}" ] || exec 5>>"$KEEP"
while :; do sleep 1000; done &
echo ready
while :; do wait; done
