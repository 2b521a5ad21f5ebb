# What is in the golden image. build.sh reads this file; nothing is installed, removed or switched off anywhere else,
# and files/ is copied over the result as it stands.
# The image has the suite of the host that builds it, hence the host's Python and C library: wheels that the host has
# compiled (M2Crypto, mysqlclient) run in it as they are.

# Size that the guest sees. The file on the host grows with what is written.
DISK_SIZE=4G

# --- Debian or Ubuntu packages, without their recommendations ---------------------------------------------------------
PACKAGES=(
  systemd systemd-sysv kmod
  cloud-init
  python3                  # the guest's own, for cloud-init and for the programs that user-data brings
  busybox-static           # /init of the initrd, and the DHCP client
  iproute2 nftables netbase procps util-linux tzdata
  libnss-myhostname        # the guest's own name, without asking a DNS server that does not know it
  ca-certificates openssl libssl3
  libmariadb3              # mysqlclient, which every DIRAC agent imports
)
case $SUITE_ID in
  debian) PACKAGES+=(linux-image-cloud-amd64) ;;
  ubuntu) PACKAGES+=(linux-image-virtual) ;;
esac
# libssl3 has another name since the 64-bit time_t of 2024.
case $SUITE_ID-$SUITE_VERSION in debian-12 | ubuntu-22.*) ;; *) PACKAGES=("${PACKAGES[@]/%libssl3/libssl3t64}") ;; esac

# Never unpacked.
PATHS_LEFT_OUT=('/usr/share/man/*' '/usr/share/doc/*' '/usr/share/info/*' '/usr/share/locale/*' '/usr/share/i18n/*')
# Removed after the installation: cloud-init does without it, and imports it only to check the form of user-data.
PATHS_REMOVED=(/usr/lib/python3/dist-packages/jsonschema)

# --- Kernel modules that the initrd loads, with those they need -------------------------------------------------------
MODULES=(virtio_pci virtio_blk virtio_net virtio_rng isofs)

# --- Python packages in /opt/dirac, an environment like DIRACOS --------------------------------------------------------
# A DIRAC agent imports the database modules, which DIRAC's plain requirements leave out.
PYTHON_PACKAGES=("DIRAC==$DIRAC_VERSION" mysqlclient opensearch-py)
# Requirements of these that neither a pilot, nor JobAgent, nor the job wrapper imports.
PYTHON_PACKAGES_LEFT_OUT=(
  gfal2-python             # builds on no current distribution; DIRAC imports it in its GFAL2 storage plug-ins only
  boto3 botocore           # S3 storage
  fts3 rucio-clients       # transfers and the Rucio catalogue
  cwltool                  # submission of CWL workflows
  fabric invoke paramiko pexpect   # DIRAC's own installation and SSH computing elements
  dominate                         # the login page
  diracx-cli
  opensearch-protobufs aiohttp     # gRPC and asyncio forms of the OpenSearch client
)

# --- Units switched off -----------------------------------------------------------------------------------------------
# One program, golden-init, runs all stages of cloud-init in a single Python: each start of Python takes seconds
# without KVM. Device nodes come from the kernel, interface names from net.ifnames=0, so udev has nothing to do.
UNITS_OFF=(
  cloud-init-local.service cloud-init.service cloud-init-main.service cloud-init-network.service
  cloud-config.service cloud-final.service cloud-init-hotplugd.socket
  systemd-udevd.service systemd-udevd-control.socket systemd-udevd-kernel.socket systemd-udev-trigger.service
  systemd-networkd.service systemd-networkd.socket systemd-resolved.service systemd-timesyncd.service
  systemd-binfmt.service systemd-firstboot.service systemd-machine-id-commit.service systemd-modules-load.service
  systemd-pstore.service systemd-random-seed.service systemd-remount-fs.service systemd-sysctl.service
  systemd-sysusers.service systemd-update-utmp.service systemd-update-utmp-runlevel.service
  systemd-user-sessions.service systemd-journal-flush.service systemd-logind.service
  systemd-tmpfiles-clean.timer systemd-ask-password-console.path systemd-ask-password-wall.path
  apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer e2scrub_all.timer e2scrub_reap.service fstrim.timer
  motd-news.timer
  getty.target getty-static.service kmod-static-nodes.service ldconfig.service
  dev-hugepages.mount dev-mqueue.mount sys-kernel-debug.mount sys-kernel-tracing.mount sys-kernel-config.mount
  sys-fs-fuse-connections.mount proc-sys-fs-binfmt_misc.automount
)
GENERATORS_OFF=(cloud-init-generator systemd-getty-generator systemd-gpt-auto-generator systemd-fstab-generator
  systemd-cryptsetup-generator systemd-hibernate-resume-generator systemd-run-generator systemd-rc-local-generator
  systemd-sysv-generator systemd-veritysetup-generator systemd-integritysetup-generator systemd-debug-generator
  systemd-bless-boot-generator systemd-system-update-generator)
