#!/bin/sh
# Builds the guest to the file OUT: guests/x86_64/build.sh OUT
# CROSS is the prefix of as and ld where the host's own aren't for x86-64, such as x86_64-linux-gnu-.
set -eu
out=${1:?usage: build.sh OUT}
here=$(dirname "$0")
object=$(mktemp)
trap 'rm -f "$object"' EXIT
"${CROSS:-}as" --64 -o "$object" "$here/guest.S"
"${CROSS:-}ld" -m elf_x86_64 -nostdlib -static --build-id=none -z max-page-size=4096 -z noseparate-code \
  -z noexecstack -s -T "$here/guest.ld" -o "$out" "$object"
chmod 644 "$out"
