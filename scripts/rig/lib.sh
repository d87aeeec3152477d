# shellcheck shell=bash
# Settings and helpers shared by the rig's scripts (sourced, not run).

# Everything downloaded or built goes here; nothing else on the machine is touched
# (install.sh also installs ordinary packages).
RIG_DIR=${RIG_DIR:-$HOME/.cache/criu-pmem-rig}

# Kernels of the rig: a short name, and the Debian suite its newest build comes from.
# The short name is what boot.sh --kernel and mkinitrd.sh take.
RIG_KERNELS=${RIG_KERNELS:-"6.1=bookworm 6.12=trixie 7.x=sid"}

die() { echo "${0##*/}: $*" >&2; exit 2; }

# Folder of a kernel by its short name; it holds vmlinuz, config and lib/modules/RELEASE.
rig_kernel() {
  [ -e "$RIG_DIR/kernels/$1/vmlinuz" ] || die "kernel $1 is not installed (run install.sh)"
  echo "$RIG_DIR/kernels/$1"
}

# The mirror that this machine's own apt configuration uses for Debian.
rig_mirror() {
  # shellcheck disable=SC2016 # apt's own variables
  apt-get indextargets --format '$(REPO_URI) $(CODENAME) $(ORIGIN)' 'Created-By: Packages' |
    awk '$3 == "Debian" && $2 !~ /-/ { print $1; exit }'
}

# Run an apt tool against another Debian suite without touching the machine's apt state:
#   rig_apt SUITE apt-get|apt-cache ARGS…
# It can only look up and download: dpkg would install on the machine whatever the suite.
rig_apt() {
  local suite=$1 dir="$RIG_DIR/apt/$1" mirror
  shift
  if [ ! -e "$dir/apt.conf" ]; then
    mirror=$(rig_mirror)
    [ -n "$mirror" ] || { apt-get -qq update >&2; mirror=$(rig_mirror); }
    [ -n "$mirror" ] || die "no Debian mirror in apt's configuration"
    mkdir -p "$dir/lists/partial" "$dir/cache/archives/partial"
    : > "$dir/status" # an empty dpkg status: dependencies resolve as a whole closure
    echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror $suite main" > "$dir/sources.list"
    cat > "$dir/apt.conf" <<CONF
Dir::Etc::SourceList "$dir/sources.list";
Dir::Etc::SourceParts "/dev/null";
Dir::State::Lists "$dir/lists";
Dir::State::status "$dir/status";
Dir::Cache "$dir/cache";
Dir::Bin::dpkg "/bin/false";
APT::Get::Download-Only "true";
APT::Sandbox::User "root";
CONF
    APT_CONFIG="$dir/apt.conf" apt-get -qq update >&2
  fi
  APT_CONFIG="$dir/apt.conf" "$@"
}
