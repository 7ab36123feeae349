#!/bin/sh
# Installs the Debian packages that `make test` and `make demo` need: the real engines, the image and VM tools, and a
# C compiler; arguments name further packages. Run it as often as you like: it returns at once when everything is there.
# The tests start their own copies of the engines on free ports, so of the system's services only Docker is started.
set -eu

packages="
  docker.io docker-compose docker-registry podman iptables nftables
  rsyslog rsyslog-gnutls prometheus prometheus-node-exporter
  swift-proxy swift-account swift-container swift-object memcached
  keystone python3-keystoneclient python3-keystonemiddleware uwsgi-core uwsgi-plugin-python3
  radosgw ceph-mon ceph-mgr ceph-osd ceph-common rclone faketime
  systemd-container systemd-journal-remote mmdebstrap busybox-static
  qemu-system-x86 qemu-utils swtpm genisoimage mtools dosfstools
  dnf rpm createrepo-c gpg gpg-agent
  minisign wrk curl jq openssl openssh-client iproute2 procps xz-utils zstd bzip2 lz4 logrotate rsync
  bindfs e2fsprogs fdisk grub-pc-bin grub-common
  runit daemontools s6 execline apache2-utils cronolog
  make gcc libc6-dev binutils git pkg-config libssl-dev python3-venv
  $*
"

# Another Docker Engine (docker-ce, say) does as well, and must not be removed for Debian's.
if command -v dockerd >/dev/null && command -v docker >/dev/null; then
    packages=$(echo "$packages" | sed 's/docker\.io//')
fi

say() { echo "setup: $*"; }

# One query; a package that dpkg has never heard of prints nothing, so the wanted names are compared with the answer.
missing_packages() {
    # shellcheck disable=SC2086 # the list is words
    installed=$(dpkg-query -W -f '${db:Status-Status} ${Package}\n' $packages 2>/dev/null | sed -n 's/^installed //p')
    for package in $packages; do
        case "
$installed
" in
        *"
$package
"*) ;;
        *) printf '%s ' "$package" ;;
        esac
    done
}

# Debian 12's qemu-system-x86 refuses to stand beside a qemu-utils from backports: then that one goes back to the
# version that belongs to it.
qemu_utils_pin() {
    candidate=$(apt-cache policy qemu-system-x86 | sed -n 's/^  Candidate: //p')
    present=$(dpkg-query -W -f '${Version}' qemu-utils 2>/dev/null || true)
    [ -n "$candidate" ] && [ "$candidate" != "(none)" ] && [ -n "$present" ] || return 0
    if dpkg --compare-versions "$present" gt "$candidate"; then
        echo "--allow-downgrades qemu-utils=$candidate"
    fi
}

install_missing() {
    pin=
    case " $missing" in *" qemu-"*) pin=$(qemu_utils_pin) ;; esac
    # shellcheck disable=SC2086 # both lists are words
    DEBIAN_FRONTEND=noninteractive apt-get install --yes --quiet --no-install-recommends --no-remove \
        -o DPkg::Lock::Timeout=300 -o Dpkg::Use-Pty=0 "$@" $missing $pin
}

update_lists() {
    say "updating apt's lists"
    apt-get update --quiet -o DPkg::Lock::Timeout=300 || say "apt-get update reported errors; going on with what it has"
}

# While the packages are configured, a policy answers "do not start" for every service but Docker; and for Docker too
# where no systemd would look after it, because then the tests start an engine of their own.
policy=/usr/sbin/policy-rc.d
keep_services_stopped() {
    if [ -e "$policy" ]; then return; fi
    trap 'rm -f "$policy"' EXIT
    trap 'exit 130' INT TERM HUP
    cat >"$policy" <<'POLICY'
#!/bin/sh
case "$1" in
docker | docker.service | docker.socket | containerd | containerd.service) [ ! -d /run/systemd/system ] || exit 0 ;;
esac
exit 101
POLICY
    chmod 755 "$policy"
}

# What was installed here only for the tests must not start at the next boot of this machine either.
disable_services() {
    command -v systemctl >/dev/null || return 0
    for package in $missing; do
        if [ "$package" = docker.io ]; then continue; fi
        dpkg -L "$package" | sed -n 's#^\(/usr\)\{0,1\}/lib/systemd/system/\([^/@]*\.\(service\|timer\)\)$#\2#p' |
            while read -r unit; do systemctl disable --quiet "$unit" >/dev/null 2>&1 || true; done
    done
}

missing=$(missing_packages)
if [ -z "$missing" ]; then
    say "all packages are installed"
    exit 0
fi
if [ "$(id -u)" != 0 ]; then
    command -v sudo >/dev/null || { say "missing packages: $missing; install them as root, or run this as root" >&2; exit 1; }
    say "needs root to install packages: asking sudo"
    exec sudo -- "$0" "$@"
fi
say "installing $missing"
keep_services_stopped
# A fresh machine has no lists, or lists that name versions which are gone.
install_missing --simulate >/dev/null 2>&1 || update_lists
if ! install_missing; then
    say "apt-get failed: once more with new lists"
    update_lists
    install_missing || { say "apt-get failed again; its message above says why. Wanted: $missing" >&2; exit 1; }
fi
disable_services
missing=$(missing_packages)
if [ -n "$missing" ]; then
    say "still missing after the installation: $missing" >&2
    exit 1
fi
say "done"
