//! A server with its own root: an overlay over this machine's root, with Debian packages that must not be installed in
//! the machine itself because they bring their own firewall (ufw, firewalld, iptables-persistent, ...).
//!
//! A layer is what apt wrote, stored as an archive in cargo's target directory: made once, unpacked for each server.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::{Backend, Lab, PORTCULLIS, Space, not_run, server_setup};

/// A lab whose server has these packages, and our files in their usual places (`/run/portcullis`, `/etc/iptables`,
/// ...), private to the server. No service is started. `None`, with a NOT RUN message, if that is not possible here.
pub fn lab(backend: Backend, clients: usize, packages: &[&str]) -> Option<Lab> {
    let layer = layer(packages)?;
    let mut lab = Lab::with(backend, clients, &["sshd", "ssh", "ssh-keygen"], |dir| {
        Some(Space::new(&format!("{}\n{}\n{}", root(dir, Some(&layer)), enter_root(dir), server_setup(backend))))
    })?;
    lab.server.env.clear();
    Some(lab)
}

/// The archive of everything that these packages install; made now if it does not exist yet.
pub fn layer(packages: &[&str]) -> Option<PathBuf> {
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join("layers");
    std::fs::create_dir_all(&dir).unwrap();
    let archive = dir.join(packages.join("+")).with_extension("tar");
    let script = format!(
        "mount -t tmpfs -o mode=755 layer $work; mkdir $work/upper $work/work $work/root; root=$work/root\n\
        mount -t overlay overlay -o lowerdir=/,upperdir=$work/upper,workdir=$work/work $root\n{places}\n\
        printf '#!/bin/sh\\nexit 101\\n' > $root/usr/sbin/policy-rc.d; chmod 755 $root/usr/sbin/policy-rc.d\n\
        export DEBIAN_FRONTEND=noninteractive; get='apt-get -qq -y --no-install-recommends -o Dpkg::Use-Pty=0'\n\
        chroot $root sh -c \"apt-get -qq update; $get --download-only install {packages}\"\n\
        unshare --net chroot $root sh -c \"$get --no-download install {packages}\" >/dev/null\n\
        chroot $root apt-get clean; rm -rf $work/upper/usr/sbin/policy-rc.d $work/upper/var/lib/apt/lists \
        $work/upper/var/cache\n\
        tar -C $work/upper --xattrs --xattrs-include='trusted.*' -cf '{to}.new' .; mv '{to}.new' '{to}'",
        to = archive.display(),
        packages = packages.join(" "),
        places = PLACES,
    );
    let inside = "[ ! -e \"$1\" ] || exit 0; export work=$(mktemp -d)\n\
        unshare --mount --propagation private bash -ec \"$0\"; c=$?; rmdir \"$work\"; exit $c";
    let made = Command::new("flock")
        .arg(archive.with_extension("lock"))
        .args(["bash", "-c", inside, &script])
        .arg(&archive)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .status()
        .unwrap();
    if !made.success() {
        not_run(&format!("a root with {} cannot be made (apt-get failed)", packages.join(", ")));
        return None;
    }
    Some(archive)
}

/// Bash: directories of `$root` that must not be the machine's own.
const PLACES: &str = "mount -t proc proc $root/proc\nmount -t tmpfs -o mode=755 dev $root/dev\n\
    mkdir $root/dev/pts $root/dev/shm\n\
    for n in null zero full random urandom tty; do : > $root/dev/$n; mount --bind /dev/$n $root/dev/$n; done\n\
    mount -t devpts -o newinstance,ptmxmode=0666,mode=620,gid=5 devpts $root/dev/pts\nln -s pts/ptmx $root/dev/ptmx\n\
    ln -s /proc/self/fd $root/dev/fd; ln -s fd/0 $root/dev/stdin; ln -s fd/1 $root/dev/stdout; ln -s fd/2 \
    $root/dev/stderr\nmount -t tmpfs -o mode=1777 shm $root/dev/shm\nmount -t tmpfs -o mode=755 run $root/run\n\
    mkdir $root/run/lock\nmount -t tmpfs -o mode=1777 tmp $root/tmp";

/// Bash that builds a root below the test's directory (`$root`), with a layer if there is one. The program under test
/// and the test's directory have the same paths in it.
pub fn root(dir: &Path, layer: Option<&Path>) -> String {
    let shared = dir.display();
    let (unpack, lower) = match layer {
        // Overlayfs refuses layers on one file system that are nested: the archive is unpacked next to the upper layer.
        Some(archive) => (
            format!(
                "mkdir $over/layer; tar -C $over/layer --xattrs --xattrs-include='trusted.*' -xf '{}'",
                archive.display()
            ),
            "$over/layer:/",
        ),
        None => (String::new(), "/"),
    };
    format!(
        "over={shared}/root\nmkdir $over\nmount -t tmpfs -o mode=755 root $over\nroot=$over/root\n\
        mkdir $over/upper $over/work $root\n{unpack}\n\
        mount -t overlay overlay -o lowerdir={lower},upperdir=$over/upper,workdir=$over/work $root\n{PLACES}\n\
        mount -t sysfs sysfs $root/sys\nmount -t tmpfs -o mode=700 home $root/root\nmkdir -p $root{shared}\n\
        mount --bind {shared} $root{shared}\nmkdir -p $(dirname $root{PORTCULLIS})\n\
        [ -e $root{PORTCULLIS} ] || : > $root{PORTCULLIS}\nmount --bind {PORTCULLIS} $root{PORTCULLIS}"
    )
}

/// Bash that makes the root built by [`root`] the root of the namespace.
pub fn enter_root(dir: &Path) -> String {
    format!("cd {}/root/root\nmkdir -p run/below\npivot_root . run/below\numount -l /run/below", dir.display())
}
