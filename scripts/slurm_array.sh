#!/usr/bin/env bash
# One cohort as an array of Slurm jobs: every task does its part, the last one to finish merges them.
#
#   sbatch --array=1-20 scripts/slurm_array.sh DATA RUN [options of `mrresponse run`]
#
# A task that was stopped goes on when it is submitted again. DATA and RUN must be visible to all nodes.
#SBATCH --job-name=mrresponse
#SBATCH --cpus-per-task=1
#SBATCH --mem=8G
#SBATCH --time=12:00:00
#SBATCH --output=mrresponse-%A_%a.log
set -euo pipefail

data=$1 run=$2
shift 2
export OMP_NUM_THREADS=${SLURM_CPUS_PER_TASK:-1}

# 1: some patients failed, each by name; the part is done all the same
mrresponse run "$data" --out "$run" --shard "$SLURM_ARRAY_TASK_ID/$SLURM_ARRAY_TASK_COUNT" "$@" || [ $? -eq 1 ]

# says which part is missing until all are there
mrresponse merge "$run" || true
