#!/usr/bin/env bash
# Runs each fuzz target for some seconds, on corpora seeded from the sample packages. Needs cargo-fuzz (cargo install cargo-fuzz).
set -euo pipefail
cd "$(dirname "$0")/../fuzz"
seconds=${1:-60}
for target in read_object read_pixels; do
  mkdir -p "corpus/$target"
  find "$OVERREAD_TOOLS"/venv/lib/python3*/site-packages/pydicom/data/test_files -name '*.dcm' -size -200k -exec cp -n {} "corpus/$target/" \;
  # The fuzzers need unstable compiler flags; the toolchain stays the pinned one.
  RUSTC_BOOTSTRAP=1 cargo fuzz run "$target" -- -max_total_time="$seconds" -rss_limit_mb=2048
done
