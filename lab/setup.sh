#!/bin/bash
# Installs what is missing and prints the path of the Python environment; progress goes to standard error.
# Nothing is done, in well under a second, when nothing is missing. With the argument "openstack", what the OpenStack lab
# needs is installed too; its Python environment makes itself.
set -euo pipefail
clone=$(dirname "$(dirname "$(readlink -f "$0")")")
home=${JENNIFERDIRAC_HOME:-${XDG_CACHE_HOME:-$HOME/.cache}/jenniferdirac}
log=$home/setup.log
python=/usr/bin/python3 # the distribution's own: its version is the one the packages below belong to
packages=(
  # DIRAC's Python dependencies without binary wheels, and its database
  mariadb-server libmariadb-dev swig libssl-dev gcc g++ pkg-config openssl python3-venv python3-dev
  # the virtual machines and their image
  qemu-system-x86 qemu-utils mmdebstrap uidmap debian-archive-keyring e2fsprogs xorriso lz4 zstd xz-utils
  # the pilot files' repository, and the host's address
  git iproute2 ca-certificates
)
openstack_packages=(
  rabbitmq-server apache2 libapache2-mod-auth-openidc libvirt-dev
  # a host with real guests
  libvirt-daemon libvirt-daemon-driver-qemu libvirt-daemon-system libvirt-clients genisoimage
)
[ "${1:-}" != openstack ] || packages+=("${openstack_packages[@]}")

say() { printf '[%3d s] %s\n' "$SECONDS" "$*" >&2; }

fail() { # TEXT
  printf 'set-up failed: %s\n' "$*" >&2
  exit 1
}

step() { # WHAT HINT COMMAND…
  local what=$1 hint=$2
  shift 2
  say "$what …"
  printf '\n=== %s: %s\n' "$(date -Is)" "$*" >>"$log"
  if ! "$@" >>"$log" 2>&1 </dev/null; then
    printf 'The end of %s:\n' "$log" >&2
    tail -n 15 "$log" | sed 's/^/  | /' >&2
    fail "$what. $hint"
  fi
}

as_root() {
  if [ "$(id -u)" -eq 0 ]; then "$@"; else sudo -n "$@"; fi
}

missing_packages() {
  local installed
  # it fails when it has never heard of one of them, and tells of the others all the same
  installed=" $({ dpkg-query -W -f '${db:Status-Status} ${Package}\n' "${packages[@]}" 2>/dev/null || true; } |
    sed -n 's/^installed //p' | tr '\n' ' ')"
  for package in "${packages[@]}"; do
    [[ $installed == *" $package "* ]] || echo "$package"
  done
}

# The packages bring services (MariaDB, RabbitMQ, apache, libvirt); dpkg asks this file before it starts one.
policy=/usr/sbin/policy-rc.d
forbid_services() {
  [ -e $policy ] && return
  trap 'as_root rm -f $policy' EXIT
  printf '#!/bin/sh\nexit 101\n' | as_root tee $policy >/dev/null
  as_root chmod 755 $policy
}

apt() {
  as_root env DEBIAN_FRONTEND=noninteractive NEEDRESTART_SUSPEND=1 \
    ${http_proxy:+http_proxy="$http_proxy"} ${https_proxy:+https_proxy="$https_proxy"} \
    apt-get -q -o DPkg::Lock::Timeout=300 "$@"
}

install_packages() {
  local missing
  mapfile -t missing < <(missing_packages)
  [ ${#missing[@]} -eq 0 ] && return
  say "missing packages: ${missing[*]}"
  if [ "$(id -u)" -ne 0 ]; then
    command -v sudo >/dev/null || fail "installing packages needs root. Run once as root: apt-get install ${missing[*]}"
    sudo -n true 2>/dev/null || sudo -v || fail "sudo was refused. Let an administrator install: apt-get install ${missing[*]}"
  fi
  forbid_services
  step "reading the package lists" "Are the network and /etc/apt/sources.list right?" apt update
  step "installing ${#missing[@]} packages" "See the log; 'apt-get install -f' repairs a half-done installation." \
    apt install -y --no-install-recommends "${missing[@]}"
  if [ -e $policy ] && trap -p EXIT | grep -q $policy; then
    as_root rm -f $policy
    trap - EXIT
  fi
}

check_host() {
  command -v dpkg-query >/dev/null || fail "this is no Debian or Ubuntu; expected Debian 12 or Ubuntu 24.04"
  mkdir -p "$home" || fail "cannot write to $home. Choose another place with JENNIFERDIRAC_HOME"
}

check_python() {
  "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null ||
    fail "expected Python 3.11 or newer (Debian 12, Ubuntu 24.04), found $("$python" -V 2>&1 || echo "no $python")"
}

# One environment for each clone and each statement of what belongs in it: the project is installed editable.
environment_path() {
  local key
  key=$({ echo "$clone"; "$python" -V; cat "$clone"/{setup.cfg,pyproject.toml,lab/override.txt}; } | sha256sum)
  echo "$home/venv-${key:0:12}"
}

make_environment() { # VENV
  local venv=$1
  rm -rf "$venv"
  # --copies: DIRAC's JobAgent resolves links to find the python of its job wrapper
  step "making $venv" "Is the disk full?" "$python" -m venv --copies "$venv"
  step "installing uv" "Can this machine reach a Python package index?" "$venv/bin/pip" install -q uv
  step "installing DIRAC and the project" "Can this machine reach a Python package index? Is the disk full (1 GB)?" \
    "$venv/bin/uv" pip install --python "$venv/bin/python" --compile-bytecode \
    --override "$clone/lab/override.txt" -e "$clone[server,gateway,test]"
  touch "$venv/.complete"
}

check_host
exec 9>"$home/setup.lock"
flock -n 9 || { say "another set-up is running; waiting for it" && flock 9; }
install_packages
check_python
venv=$(environment_path)
if [ ! -e "$venv/.complete" ]; then
  make_environment "$venv"
  say "set-up done"
fi
echo "$venv"
