#!/usr/bin/env bash
# A sweep of 12 jobs on a SLURM cluster of one node, which this script starts and removes.
#
#   bash scripts/slurm_sweep.sh [LAUNCHER] [OVERRIDE...]     LAUNCHER: hydra/launcher to use, slurm unless named
#
# Needs Debian or Ubuntu, 20 MB of disk, and the extra `slurm`; no root. Nothing is installed: Debian's packages are
# unpacked into a temporary folder, which also holds all files of the daemons; they use free ports. A SLURM of the
# machine is neither used nor changed. While the sweep runs, the process of one job is killed with SIGKILL and the job is
# requeued. The exit status is 0 if the sweep's is 0 and all 12 results are completed.
set -euo pipefail

refuse() {
    echo "slurm_sweep.sh: $1" >&2
    exit 2
}
python=${PYTHON:-python}
packages=(slurmctld slurmd slurm-client slurm-wlm-basic-plugins munge)
command -v apt-get >/dev/null || refuse "Debian's packages are needed. Found no apt-get."
apt-cache show "${packages[@]}" >/dev/null 2>&1 || refuse "apt-get knows no SLURM. As root: apt-get update"
"$python" -c "import eckart, submitit" 2>/dev/null || refuse 'The extra slurm is needed: pip install -e ".[slurm]"'

launcher=${1:-slurm} overrides=("${@:2}")
checkout=$(cd "$(dirname "$0")/.." && pwd)
# They are those of another cluster, if this script runs in a job there.
unset "${!SLURM_@}" "${!SBATCH_@}"
work=$(mktemp -d -t eckart-slurm-XXXXXX)
root=$work/root log=$work/log daemons=() sweep=
# Every user must reach munge's socket; the secret files are in folders that only this user can open.
chmod 711 "$work"
mkdir -m 711 "$work/run"
mkdir -m 700 "$work"/{debs,key,state,spool,log}

remove_cluster() {
    local status=$?
    trap - EXIT
    trap '' INT TERM
    [ -z "$sweep" ] || kill "$sweep" 2>/dev/null || true
    if [ ${#daemons[@]} -gt 0 ] && [ -n "$(squeue --noheader 2>/dev/null)" ]; then
        scancel --user="$(id -un)" || true
        within 10 is_idle || true
    fi
    for ((i = ${#daemons[@]} - 1; i >= 0; i--)); do
        kill "${daemons[i]}" 2>/dev/null || true
        wait "${daemons[i]}" 2>/dev/null || true
    done
    [ "$status" = 0 ] || tail -n 15 "$log"/*.log >&2
    rm -rf "$work"
    echo "removed: the daemons have ended, and $work is deleted"
    exit "$status"
}
trap remove_cluster EXIT
trap 'exit 130' INT TERM

within() { # within SECONDS COMMAND...: wait until the command succeeds, but not longer
    local end=$((SECONDS + $1))
    until "${@:2}"; do
        [ $SECONDS -lt $end ] || return 1
        sleep 0.2
    done
}
is_idle() { [ "$(sinfo --noheader --format=%T 2>/dev/null)" = idle ]; }

echo "unpacking Debian's SLURM into $work"
mapfile -t lacking < <(apt-get -qq -s install --no-install-recommends "${packages[@]}" | awk '/^Inst/ {print $2}')
mapfile -t wanted < <(printf '%s\n' "${packages[@]}" "${lacking[@]}" | sort -u)
(cd "$work/debs" && apt-get -qq download "${wanted[@]}" 2>"$log/apt.log")
for package in "$work"/debs/*.deb; do dpkg -x "$package" "$root"; done
libraries=$(echo "$root"/usr/lib/*-linux-gnu*)
export PATH=$root/usr/bin:$root/usr/sbin:$PATH SLURM_CONF=$work/slurm.conf
export LD_LIBRARY_PATH=$libraries:$libraries/slurm-wlm${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}

read -r controller_port node_port < <("$python" -c "
import socket
sockets = [socket.create_server(('127.0.0.1', 0)) for _ in range(2)]
print(*(each.getsockname()[1] for each in sockets))")
node=$(hostname -s) user=$(id -un)
cat >"$SLURM_CONF" <<CONF
ClusterName=eckart
SlurmctldHost=$node(127.0.0.1)
SlurmctldPort=$controller_port
SlurmdPort=$node_port
SlurmUser=$user
SlurmdUser=$user
AuthType=auth/munge
CredType=cred/munge
# A requeued job waits until its old credential has expired, two minutes by default.
AuthInfo=socket=$work/run/munge.socket,cred_expire=10
PluginDir=$libraries/slurm-wlm
StateSaveLocation=$work/state
SlurmdSpoolDir=$work/spool
SlurmctldPidFile=$work/run/slurmctld.pid
SlurmdPidFile=$work/run/slurmd.pid
MailProg=/bin/true
MpiDefault=none
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SchedulerParameters=sched_interval=1
ReturnToService=2
# A job gets the cores that it asks for, also on a machine with fewer than four.
SlurmdParameters=config_overrides
NodeName=$node NodeAddr=127.0.0.1 CPUs=4 RealMemory=64000 State=UNKNOWN
PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP
CONF

daemon() { compgen -G "$root/usr/sbin/$1*" | grep -E "/$1(-wlm)?$"; }
(umask 077 && head -c 1024 /dev/urandom >"$work/key/munge.key")
munged --foreground --key-file="$work/key/munge.key" --socket="$work/run/munge.socket" \
    --pid-file="$work/run/munged.pid" --seed-file="$work/key/seed" >"$log/munged.log" 2>&1 &
daemons+=($!)
within 10 test -S "$work/run/munge.socket" || exit 1
"$(daemon slurmctld)" -D >"$log/slurmctld.log" 2>&1 &
daemons+=($!)
"$(daemon slurmd)" -D -d "$(daemon slurmstepd)" >"$log/slurmd.log" 2>&1 &
daemons+=($!)
within 30 is_idle || exit 1
echo "up: $(sinfo --version), node $node, as $user"

command=(train.py -m "hydra/launcher=$launcher" "hydra.sweep.dir=$work/sweep" method=svd data=lab
    "rank=1,2" "seed=range(6)" logger=none figures=false "${overrides[@]}")
echo "python ${command[*]}"
cd "$work"
"$python" "$checkout/${command[0]}" "${command[@]:1}" >"$log/sweep.log" 2>&1 &
sweep=$!
has_ended() { ! kill -0 "$sweep" 2>/dev/null; }
# The first step of a job is its python process.
is_running() { victim=$(scontrol listpids 2>/dev/null | awk '$3 == "0" {print $1, $2; exit}') && [ -n "$victim" ]; }
state() { scontrol --oneliner show job "$1" | grep -oE '(JobState|Restarts|ExitCode)=\S+' | paste -sd' '; }
has_failed() { state "$job" | grep -q JobState=FAILED; }

within 60 is_running || exit 1
read -r process job <<<"$victim"
kill -KILL "$process"
within 20 has_failed || exit 1
echo "job $job, process $process killed:  $(state "$job")"
scontrol requeue "$job"
echo "job $job, requeued:  $(state "$job")"

within 300 has_ended || exit 1
status=0
wait "$sweep" || status=$?
sweep=
within 30 is_idle || exit 1
echo "job $job, in the end:  $(state "$job")"
echo "jobs of SLURM: $(scontrol --oneliner show job | wc -l), exit status of the sweep: $status"
"$python" - "$work/sweep" <<'PYTHON'
import json
import sys
from pathlib import Path

results = [json.loads(path.read_text(encoding="utf-8")) for path in Path(sys.argv[1]).rglob("result.json")]
completed = sorted((result["rank"], result["seed"]) for result in results if result["status"] == "completed")
print(f"{len(results)} results, {len(completed)} of them completed")
sys.exit(completed != [(rank, seed) for rank in (1, 2) for seed in range(6)])
PYTHON
exit $status
