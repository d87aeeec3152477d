#!/bin/bash
# Install what the rig needs: host packages, and the kernels that the guests boot.
#   usage: install.sh [KERNEL…] [cacheloss]      (default: every name in RIG_KERNELS)
# "cacheloss" adds what boot.sh --kept needs: a newer QEMU, unpacked, and its plugin.
# Idempotent: what is already there is left alone. To get newer builds, remove $RIG_DIR/apt and
# $RIG_DIR/kernels/NAME (or $RIG_DIR/qemu) and run it again.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
. "$here/lib.sh"

# command => package; only packages whose command is missing are installed.
needs="qemu-system-x86_64=qemu-system-x86 cpio=cpio mkfs.ext4=e2fsprogs mkfs.xfs=xfsprogs
   ndctl=ndctl lvm=lvm2 modprobe=kmod zstd=zstd xz=xz-utils gcc=gcc"
missing=()
for need in $needs; do
  PATH=$PATH:/usr/sbin:/sbin command -v "${need%%=*}" > /dev/null || missing+=("${need#*=}")
done
# Must be the static one, which a command of that name does not prove.
[ "$(dpkg-query -W -f '${db:Status-Status}' busybox-static 2>/dev/null)" = installed ] || missing+=(busybox-static)
if [ ${#missing[@]} -gt 0 ]; then
  [ "$(id -u)" = 0 ] || die "run as root to install: ${missing[*]}"
  apt-get -qq update >&2
  # Packages of services start them on installation unless this file says no.
  policy=/usr/sbin/policy-rc.d
  if [ ! -e $policy ]; then
    printf '#!/bin/sh\nexit 101\n' > $policy
    chmod 755 $policy
    trap 'rm -f $policy' EXIT
  fi
  DEBIAN_FRONTEND=noninteractive apt-get -qq -o DPkg::Lock::Timeout=300 install -y \
    --no-install-recommends "${missing[@]}" > /dev/null
fi

# Names of the packages that make up a kernel. Up to 6.12 that is one linux-image; from 7.x
# on the image and the modules are packages of their own, which linux-image depends on.
kernel_packages() { # SUITE PACKAGE
  local dep
  echo "$2"
  rig_apt "$1" apt-cache depends --important "$2" |
    sed -nE 's/^ *(Pre)?Depends: (linux-(image|binary|modules|base)-[0-9].*)$/\2/p' |
    while read -r dep; do kernel_packages "$1" "$dep"; done
}

for entry in $RIG_KERNELS; do
  name=${entry%%=*} suite=${entry#*=}
  [ $# -eq 0 ] || [[ " $* " == *" $name "* ]] || continue
  root=$RIG_DIR/kernels/$name
  if [ ! -e "$root/vmlinuz" ]; then
    rm -rf "$root"
    mkdir -p "$root/unpacked" "$root/lib/modules"
    mapfile -t packages < <(kernel_packages "$suite" linux-image-amd64 | sort -u)
    (cd "$root" && rig_apt "$suite" apt-get -qq download "${packages[@]}")
    for deb in "$root"/*.deb; do dpkg -x "$deb" "$root/unpacked"; done
    # The suites lay the files out differently; give them all one layout.
    release=$(basename "$(find "$root/unpacked" -path '*/lib/modules/*' -prune)")
    mv "$root"/unpacked{,/usr}/lib/modules/"$release" "$root/lib/modules/" 2> /dev/null || true
    depmod -b "$root" "$release"
    for file in config vmlinuz; do
      found=$(find "$root" -name "$file" -o -name "$file-$release" | head -n 1)
      mv "$found" "$root/$file" # vmlinuz last: it marks the kernel as complete
    done
    rm -rf "$root"/*.deb "$root/unpacked"
  fi
  echo "$name: $(ls "$root/lib/modules")"
done

if [[ " $* " == *" cacheloss "* ]]; then
  qemu=$RIG_DIR/qemu
  if [ ! -x "$qemu/run" ]; then
    "$here/unpack.sh" sid "$qemu" qemu-system-x86
    cat > "$qemu/run" << RUN
#!/bin/sh
exec "$qemu/usr/lib64/ld-linux-x86-64.so.2" --library-path "$qemu/usr/lib/x86_64-linux-gnu" \\
  "$qemu/usr/bin/qemu-system-x86_64" -L "$qemu/usr/share/qemu" -L "$qemu/usr/share/seabios" "\$@"
RUN
    chmod +x "$qemu/run"
  fi
  gcc -O2 -Wall -fvisibility=hidden -shared -fPIC -o "$qemu/cacheloss.so" "$here/cacheloss.c"
  gcc -O2 -Wall -o "$qemu/mixlines" "$here/mixlines.c"
  echo "cacheloss: $("$qemu/run" --version | head -n 1)"
fi
