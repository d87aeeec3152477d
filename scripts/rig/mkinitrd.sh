#!/bin/bash
# Build the initrd of a guest: busybox, modules, a few tools, and a payload.
#   usage: mkinitrd.sh KERNEL PAYLOAD_DIR [OUTPUT]
# KERNEL is a short name (6.1, 6.12, 7.x). PAYLOAD_DIR becomes /payload in the guest, which
# runs /payload/run.sh; PAYLOAD_DIR/root, if there is one, is laid over the guest's root
# folder (copy-elf.sh fills it). Prints the path of the initrd.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
. "$here/lib.sh"

# Loaded by init, in this order; modprobe adds what they depend on.
boot_modules="nfit nd_e820 nd_pmem dm_mod"
# There for the kernel or a payload to load on demand.
more_modules="
  ext4 xfs crc32c_intel libcrc32c
  unix_diag inet_diag tcp_diag udp_diag raw_diag packet_diag af_packet_diag netlink_diag
  nfnetlink nf_tables"
# Programs of this machine that every guest gets.
tools="mkfs.ext4 mkfs.xfs blkid ndctl lvm"

[ $# -ge 2 ] || die "usage: mkinitrd.sh KERNEL PAYLOAD_DIR [OUTPUT]"
kernel=$1 payload=$2 output=${3:-$RIG_DIR/initrd-$1-$(basename "$2").img}
root=$(rig_kernel "$kernel")
release=$(ls "$root/lib/modules")
[ -x "$payload/run.sh" ] || die "$payload/run.sh is missing or not executable"
PATH=$PATH:/usr/sbin:/sbin

pack() { (cd "$1" && find . -print0 | sort -z | cpio --quiet -0 -o -H newc -R 0:0); }

# An empty root folder with the merged /usr that today's distributions have.
skeleton() {
  mkdir -p "$1"/usr/{bin,sbin,lib,lib64} "$1"/{newroot,etc,root,tmp,payload,proc,sys,dev}
  chmod 1777 "$1/tmp"
  for link in bin sbin lib lib64; do ln -s "usr/$link" "$1/$link"; done
}

# Lay a folder over another; /lib and the like stay links into /usr.
overlay() { tar -C "$1" -c . | tar -C "$2" -x --keep-directory-symlink; }

# One half depends on the kernel and this script only: it is kept, and rebuilt when they change.
build_base() {
  local stage=$1 module path extra
  skeleton "$stage"
  for applet in $(busybox --list); do ln -sf busybox "$stage/usr/bin/$applet"; done
  cp --remove-destination "$(command -v busybox)" "$stage/usr/bin/busybox"
  ln -s ../bin/modprobe "$stage/usr/sbin/modprobe"
  cp "$here/init" "$stage/init"
  echo root:x:0:0:root:/root:/bin/sh > "$stage/etc/passwd"
  echo root:x:0: > "$stage/etc/group"
  echo "127.0.0.1 localhost" > "$stage/etc/hosts"
  echo "$boot_modules" > "$stage/etc/modules"

  extra=$(mktemp -d)
  for tool in $tools; do
    command -v "$tool" > /dev/null || { echo "mkinitrd.sh: no $tool on this machine" >&2; continue; }
    COPY_ELF_TO=/usr/sbin "$here/copy-elf.sh" "$extra" "$(command -v "$tool")"
  done
  overlay "$extra/root" "$stage"
  for command in pvcreate vgcreate lvcreate vgmknodes; do ln -s lvm "$stage/usr/sbin/$command"; done
  rm -rf "$extra"

  # Modules are stored unpacked: an emulated CPU takes long to decompress them.
  for module in $boot_modules $more_modules; do
    modprobe -C /dev/null -d "$root" -S "$release" --show-depends "$module" 2> /dev/null || true
  done | awk '$1 == "insmod" && !seen[$2]++ { print $2 }' | while read -r path; do
    module=$stage/usr/lib/modules/$release/${path#*"/lib/modules/$release/"}
    mkdir -p "$(dirname "$module")"
    case $path in
      *.xz) xz -dc "$path" > "${module%.xz}" ;;
      *.zst) zstd -qdc "$path" > "${module%.zst}" ;;
      *) cp "$path" "$module" ;;
    esac
  done
  cp "$root/lib/modules/$release"/modules.{builtin,order}* "$stage/usr/lib/modules/$release/"
  depmod -b "$stage" "$release"
}

stage=$(mktemp -d)
trap 'rm -rf "$stage"' EXIT

base=$RIG_DIR/base-$kernel.cpio
if [ ! -e "$base" ] || [ "$here/mkinitrd.sh" -nt "$base" ] || [ "$here/init" -nt "$base" ] ||
  [ "$root/vmlinuz" -nt "$base" ]; then
  build_base "$stage/base"
  pack "$stage/base" > "$base.new"
  mv "$base.new" "$base"
fi

# The kernel unpacks archives that follow one another over one another.
skeleton "$stage/top"
[ ! -d "$payload/root" ] || overlay "$payload/root" "$stage/top"
tar -C "$payload" --exclude=./root -c . | tar -C "$stage/top/payload" -x
mkdir -p "$(dirname "$output")"
{ cat "$base"; pack "$stage/top"; } > "$output.new"
mv "$output.new" "$output"
echo "$output"
