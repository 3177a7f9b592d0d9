# Sourced by bash at the root of the repository on a machine with a GPU: `. .gpu/setup.sh` (see scripts/gpu/pack.mjs).
# Unpacks what scripts/gpu/pack.mjs packed, once, and puts node, vitest and trimpi on the path.
_root=$PWD
_here=$_root/.gpu

_unxz() { # FILE: to standard output
  if command -v xz >/dev/null; then xz -T0 -dc "$1"
  else python3 -c 'import lzma,shutil,sys; shutil.copyfileobj(lzma.open(sys.argv[1]), sys.stdout.buffer, 1 << 20)' "$1"; fi
}
_unpack() { # NAME FOLDER: an archive, once
  [ -e "$_here/$1.tar.xz" ] && [ ! -e "$_here/.$1.done" ] || return 0
  mkdir -p "$2" && _unxz "$_here/$1.tar.xz" | tar -xf - -C "$2" && touch "$_here/.$1.done"
}

mkdir -p "$_here/bin"
_unpack modules "$_root" & _modules=$!
_unpack peers "$_here/peers" & _peers=$!
_unpack loader "$_here"
[ -x "$_here/bin/node" ] || { _unxz "$_here/node.xz" > "$_here/bin/node.part" && chmod +x "$_here/bin/node.part" && mv "$_here/bin/node.part" "$_here/bin/node"; }
printf '#!/bin/sh\nexec "%s/bin/node" "%s/node_modules/vitest/vitest.mjs" "$@"\n' "$_here" "$_root" > "$_here/bin/vitest"
printf '#!/bin/sh\nexec "%s/bin/node" --import tsx --conditions=@trimpi/source "%s/apps/cli/src/main.ts" "$@"\n' "$_here" "$_root" > "$_here/bin/trimpi"
chmod +x "$_here/bin/vitest" "$_here/bin/trimpi"
wait "$_modules" "$_peers"

# Libraries that this machine lacks, and no others.
mkdir -p "$_here/lib-missing"
_known=$(ldconfig -p 2>/dev/null || /sbin/ldconfig -p 2>/dev/null)
for _lib in "$_here"/lib/*.so.*; do
  [ -e "$_lib" ] || continue
  case $_known in *"${_lib##*/} "*) ;; *) cp -f "$_lib" "$_here/lib-missing/" ;; esac
done
case ":$LD_LIBRARY_PATH:" in *":$_here/lib-missing:"*) ;; *) export LD_LIBRARY_PATH="${LD_LIBRARY_PATH:+$LD_LIBRARY_PATH:}$_here/lib-missing" ;; esac
case ":$PATH:" in *":$_here/bin:"*) ;; *) export PATH="$_here/bin:$PATH" ;; esac
_icd=/usr/local/nvidia/share/vulkan/icd.d/nvidia_icd.json
if [ -e "$_icd" ]; then export VK_DRIVER_FILES="$_icd"; fi
export XDG_RUNTIME_DIR="${XDG_RUNTIME_DIR:-${TMPDIR:-/tmp}}"
if [ -d "$_here/peers" ]; then export TRIMPI_BENCH_PEERS_HOME="$_here/peers"; fi
