#!/bin/sh
# libvirtd whose files are the lab's own: only it, and who enters its mount namespace, sees them in the usual places.
set -e
own() { # DIRECTORY PLACE
  mkdir -p "$2"
  mount --bind "$1" "$2"
}
for place in etc/libvirt run/libvirt var/lib/libvirt var/log/libvirt; do
  own "{{ root }}/libvirt/$place" "/$place"
done
# what QEMU can do, found out in seconds: kept with the prepared cloud
own "{{ root }}/state/libvirt" /var/cache/libvirt
exec libvirtd -f /etc/libvirt/libvirtd.conf -p /run/libvirt/libvirtd.pid
