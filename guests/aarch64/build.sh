#!/bin/sh
# build.sh OUT: assembles guest.S into the flat arm64 Image OUT. Needs binutils for aarch64 (Debian:
# binutils-aarch64-linux-gnu), or another prefix in CROSS. The same source gives the same bytes.
set -eu
[ $# -eq 1 ] || { echo "usage: build.sh OUT" >&2; exit 2; }
cross=${CROSS-aarch64-linux-gnu-}
here=$(cd "$(dirname "$0")" && pwd)
if ! command -v "${cross}as" >/dev/null; then
  echo "build.sh: ${cross}as is missing: apt-get install binutils-aarch64-linux-gnu" >&2
  exit 1
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"${cross}as" -march=armv8-a -o "$work/guest.o" "$here/guest.S"
"${cross}ld" -static -nostdlib --build-id=none -T "$here/guest.ld" -o "$work/guest.elf" "$work/guest.o"
"${cross}objcopy" -O binary -j .text "$work/guest.elf" "$work/guest.img"
# In one step: nobody sees half an image.
cp "$work/guest.img" "$1.new"
chmod 644 "$1.new"
mv "$1.new" "$1"
