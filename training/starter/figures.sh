#!/usr/bin/env bash
# The evidence of a pack: overread validate on held-out cases, then evaluate.py and card.py. PROGRAM DATA PACK [FOLD-PACK…]
set -euo pipefail
program=$1 data=$2 pack=$3; shift 3
cd "$(dirname "${BASH_SOURCE[0]}")"
python=${PYTHON:-python3} overread=${OVERREAD_BIN:?the binary}
out=$(mktemp -d); trap 'rm -rf "$out"' EXIT
mkdir -p "$pack/docs"
# Folder, case column and findings of the program, as arguments of overread validate.
mapfile -t how < <("$python" - "$program" <<'PY'
import sys
from programs import PROGRAMS
p = PROGRAMS[sys.argv[1]]
print(p.data)
print("" if p.case == "file" else p.case)
for finding, spec in p.labels.items():
    print(f"--finding={finding}={spec}")
PY
)
folder=$data/${how[0]} group=() findings=("${how[@]:2}")
[ -z "${how[1]}" ] || group=(--group "${how[1]}")
validate() { "$overread" validate "$@" --labels "$folder/labels.csv" "${group[@]}" "${findings[@]}" "${subgroup[@]}" --split "splits/$program.csv"; }
subgroup=(); grep -q 'age,sex' "$folder/labels.csv" && subgroup=(--subgroup sex,age)
if [ $# -eq 0 ]; then
  validate "$folder" --pack "$pack" --part test --out "$out/all" --allow-untrusted >/dev/null
else
  # Each fold is read by the network that did not see it; the readings are validated together.
  number=0
  for fold in "$@"; do
    validate "$folder" --pack "$fold" --part "fold$number" --out "$out/$number" --allow-untrusted >/dev/null
    number=$((number + 1))
  done
  cat "$out"/[0-9]/results.jsonl >"$out/results.jsonl"
  "$overread" validate --results "$out/results.jsonl" --labels "$folder/labels.csv" "${group[@]}" "${findings[@]}" --pack "$pack" --cross-validated --out "$out/all" --allow-untrusted >/dev/null
fi
cp "$out/all/validation.json" "$pack/docs/validation.json"
"$python" evaluate.py "$program" --data "$data" --pack "$pack" --fold-packs "$@"
"$python" card.py "$program" --pack "$pack"
