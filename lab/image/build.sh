#!/bin/bash
# build.sh: builds the golden image of this host's suite, once for each content, and prints the directory it lies in.
#
#   PYTHON=VENV/bin/python lab/image/build.sh [--where] [CACHE]
#
# --where only prints the directory, built or not: that needs no root, and writes nothing. OWNER=UID:GID gives the result
# to that user.
# PYTHON (default: python3) is the Python of an environment with uv and DIRAC: the image gets that version of DIRAC, and
# of every other package that is there too. The directory is CACHE/<hash of all that decides what is in the image>;
# CACHE is ~/.cache/jenniferdirac/image unless given. Needs root; mmdebstrap qemu-utils e2fsprogs lz4 zstd xz-utils
# python3-venv; and what compiles M2Crypto and mysqlclient: gcc swig pkg-config python3-dev libssl-dev libmariadb-dev.
set -euo pipefail
umask 022
here=$(dirname "$(readlink -f "$0")")
python=$(command -v "${PYTHON:-python3}")

where=
if [ "${1:-}" = --where ]; then
  where=yes
  shift
fi

fail() { echo "build.sh: $*" >&2; exit 1; }
say() { printf 'image: %4d s  %s\n' $SECONDS "$*" >&2; }

. /etc/os-release
SUITE=$VERSION_CODENAME SUITE_ID=$ID SUITE_VERSION=$VERSION_ID
DIRAC_VERSION=$("$python" -c 'from importlib.metadata import version; print(version("DIRAC"))') ||
  fail "no DIRAC in the environment of $python: set PYTHON to the python of one that has it"
. "$here/contents.sh"

key=$({ cd "$here" && find . -type f -not -path '*/__pycache__/*' -not -name __init__.py | LC_ALL=C sort | xargs sha256sum
        find . -type l -printf '%p %l\n' | LC_ALL=C sort
        echo "$SUITE $DIRAC_VERSION"; } | sha256sum | cut -c1-16)
cache=$(realpath -m "${1:-${XDG_CACHE_HOME:-$HOME/.cache}/jenniferdirac/image}")
result=$cache/$key
if [ -n "$where" ]; then
  echo "$result"
  exit 0
fi
mkdir -p "$cache"
exec 9>"$cache/.lock"
flock 9
if [ -e "$result" ]; then
  echo "$result"
  exit 0
fi

for program in mmdebstrap qemu-img mkfs.ext4 lz4 zstd xz; do
  command -v $program >/dev/null || fail "$program is not installed"
done
[ "$(id -u)" = 0 ] || fail 'an image is built by root (file owners, chroot)'

# Beside the result, which gets its place by one rename: nobody meets half an image, and what a kill leaves goes here.
rm -rf "$cache"/.building-*
work=$(mktemp -d "$cache/.building-XXXXXX")
trap 'rm -rf "$work"' EXIT
# By sudo, the cache would be the user's own, and root's files in it would stand in his way.
[ -z "${OWNER:-}" ] || export UV_CACHE_DIR=$work/uv
root=$work/root out=$work/out
mkdir "$out"

say "packages of $SUITE"
sources() { # the host's own sources of its suite, and nothing else that it may have
  apt-get indextargets --no-release-info --format '$(SIGNED_BY)|$(REPO_URI) $(RELEASE) $(COMPONENT)' 'Created-By: Packages' |
    sort -u | while IFS='|' read -r key line; do
      case $line in
        *" $SUITE "* | *" $SUITE-updates "* | *" $SUITE-security "*) ;;
        *) continue ;;
      esac
      case $line in *' main' | *' universe') ;; *) continue ;; esac
      case $key in /*) echo "deb [signed-by=$key] $line" ;; *) echo "deb $line" ;; esac
    done
}
sources >"$work/sources.list"
[ -s "$work/sources.list" ] || fail "apt knows no source of the suite $SUITE"
# No initrd but our own: Debian's takes seconds to build, and seconds to boot.
INITRD=No mmdebstrap --mode=root --variant=minbase --include="${PACKAGES[*]}" --aptopt='Apt::Install-Recommends "false"' \
  "${PATHS_LEFT_OUT[@]/#/--dpkgopt=path-exclude=}" "$SUITE" "$root" - <"$work/sources.list" >"$work/mmdebstrap.log" 2>&1 9>&- ||
  { tail -40 "$work/mmdebstrap.log" >&2; fail 'mmdebstrap failed'; }

say "Python environment with DIRAC $DIRAC_VERSION"
# A copy of the interpreter, no link: the job wrapper is started by the real path of sys.executable.
/usr/bin/python3 -m venv --copies --without-pip "$root/opt/dirac"
printf '%s ; sys_platform == "never"\n' "${PYTHON_PACKAGES_LEFT_OUT[@]}" >"$work/overrides"
uv=("$(dirname "$python")/uv")
[ -x "${uv[0]}" ] || uv=("$python" -m uv)
"${uv[@]}" pip freeze --quiet --exclude-editable --python "$python" | grep '==' >"$work/constraints"
"${uv[@]}" pip install --quiet --python "$root/opt/dirac/bin/python" --link-mode copy \
  --override "$work/overrides" --constraint "$work/constraints" "${PYTHON_PACKAGES[@]}"
grep -rlIZF "$root/opt/dirac" "$root/opt/dirac/bin" "$root/opt/dirac/pyvenv.cfg" | xargs -0 sed -i "s|$root||g"

say 'settings'
cp -a --no-preserve=ownership "$here/files/." "$root/"
# Whatever umask the clone was made with, every user of the guest reads these.
(cd "$here/files" && find . -not -type l -print0) | (cd "$root" && xargs -0 chmod u+rw,go=rX)
for path in "${PATHS_REMOVED[@]}"; do rm -r "$root$path"; done
chroot "$root" useradd --create-home --shell /bin/bash dirac
for unit in "${UNITS_OFF[@]}"; do ln -sfn /dev/null "$root/etc/systemd/system/$unit"; done
mkdir -p "$root/etc/systemd/system-generators"
for generator in "${GENERATORS_OFF[@]}"; do ln -sfn /dev/null "$root/etc/systemd/system-generators/$generator"; done
ln -sfn multi-user.target "$root/etc/systemd/system/default.target"
rm -f "$root/etc/resolv.conf" "$root/etc/machine-id"
# A fixed one spares systemd its first-boot work; nothing here tells VMs apart by it.
echo 6a656e6e69666572646972616300c0de >"$root/etc/machine-id"

say 'bytecode'
compile() { env -u PYTHONDONTWRITEBYTECODE chroot "$root" "$1" -m compileall -q -j 0 --invalidation-mode unchecked-hash "$2" >/dev/null || true; }
compile /usr/bin/python3 /usr/lib/python3
compile /usr/bin/python3 "$(echo "$root"/usr/lib/python3.* | sed "s|$root||g")"
compile /opt/dirac/bin/python /opt/dirac/lib

say 'kernel and initrd'
release=$(ls "$root/lib/modules")
"$python" "$here/extract_kernel.py" "$root"/boot/vmlinuz-"$release" "$out/golden.vmlinuz"
initrd=$work/initrd
mkdir -p "$initrd/bin" "$initrd/modules"
install -m 755 "$root/bin/busybox" "$initrd/bin/busybox"
install -m 755 "$here/init" "$initrd/init"
order=10
chroot "$root" modprobe --set-version "$release" --show-depends --all "${MODULES[@]}" | awk '$1 == "insmod" && !seen[$2]++ { print $2 }' |
  while read -r module; do
    name=$(basename "${module%%.ko*}")
    case $module in
      *.zst) zstd -qdc "$root$module" ;;
      *.xz) xz -dc "$root$module" ;;
      *) cat "$root$module" ;;
    esac >"$initrd/modules/$order-$name.ko"
    order=$((order + 1))
  done
(cd "$initrd" && find . | "$root/bin/busybox" cpio --quiet -o -H newc) >"$out/golden.initrd"
echo 'root=/dev/vda rw console=ttyS0 net.ifnames=0 quiet loglevel=4 mitigations=off nokaslr' >"$out/golden.cmdline"
printf '{"os_distro": "%s", "os_version": "%s", "dirac_version": "%s"}\n' "$SUITE_ID" "$SUITE_VERSION" "$DIRAC_VERSION" >"$out/golden.json"
rm -rf "$root"/boot/* "$root"/var/lib/apt/lists/* "$root"/var/cache/* "$root"/var/log/*.log

say 'disk'
# No partition, boot loader, loop device or journal: the kernel comes from beside the image.
mkfs.ext4 -q -F -L root -O ^has_journal -E root_owner=0:0 -d "$root" "$work/disk.raw" "$DISK_SIZE" >/dev/null
qemu-img convert -O qcow2 "$work/disk.raw" "$out/golden.qcow2"
chmod 755 "$out"
[ -z "${OWNER:-}" ] || chown -R "$OWNER" "$out"
mv "$out" "$result"
say "done: $(du -sh "$result" | cut -f1)"
echo "$result"
