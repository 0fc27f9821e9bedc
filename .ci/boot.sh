# Become a systemd that runs in the root $1, in namespaces that the caller made: with this machine's ptys, a made camera
# node, and control groups of version 1, of which it sees its own part.
set -eu
root=$1
mount --make-rprivate /
mount --bind "$root" "$root"
mount -t proc proc "$root/proc"
mount --bind "$root/proc/sys" "$root/proc/sys"
mount -o remount,bind,ro "$root/proc/sys"
mount -t sysfs -o ro sysfs "$root/sys"
groups=$root/sys/fs/cgroup
mount -t tmpfs -o mode=755 tmpfs "$groups"
mkdir "$groups/systemd" "$groups/devices" "$groups/unified"
mount -t cgroup -o none,name=systemd cgroup "$groups/systemd"
mount -t cgroup -o devices cgroup "$groups/devices"
mount -t cgroup2 cgroup2 "$groups/unified"
mount -o remount,ro "$groups" # so that it takes no other hierarchy
mount -t tmpfs -o mode=755 tmpfs "$root/dev"
mkdir "$root/dev/pts" "$root/dev/shm"
for node in null:1:3 zero:1:5 full:1:7 random:1:8 urandom:1:9 tty:5:0 ptmx:5:2 video0:81:0; do
    mknod -m 666 "$root/dev/${node%%:*}" c $(echo "${node#*:}" | tr : ' ')
done
ln -s /proc/self/fd "$root/dev/fd"
mount --rbind /dev/pts "$root/dev/pts"
for folder in dev/shm run tmp; do mount -t tmpfs -o mode=1777 tmpfs "$root/$folder"; done
chmod 755 "$root/run"
cd "$root"
mkdir -p old
pivot_root . old
umount -l /old
mount --make-rshared /
exec env -i container=made PATH=/usr/sbin:/usr/bin:/sbin:/bin /lib/systemd/systemd --system --log-target=console
