//! A server whose first process is a real systemd, with journal, logind and sshd: an overlay over this machine's root,
//! in its own namespaces. Everything in there ends with the test process, however that ends: a shell outside reads a
//! pipe that only the test holds, and kills the namespaces' first process when it closes.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use super::layer::{enter_root, layer, root};
use super::ssh::{configure_sshd, wait_for_sshd};
use super::{Backend, Lab, Space, holds_within, not_run, server_setup};

/// Units that would change the machine underneath, or only waste time.
const MASKED: &str = "systemd-sysctl.service systemd-modules-load.service systemd-binfmt.service \
    systemd-random-seed.service systemd-remount-fs.service systemd-tmpfiles-setup-dev.service \
    systemd-tmpfiles-setup.service systemd-tmpfiles-clean.timer systemd-sysusers.service \
    systemd-machine-id-commit.service systemd-firstboot.service systemd-udevd.service systemd-udev-trigger.service \
    systemd-networkd.service systemd-resolved.service systemd-timesyncd.service kmod-static-nodes.service \
    proc-sys-fs-binfmt_misc.automount proc-sys-fs-binfmt_misc.mount dev-hugepages.mount dev-mqueue.mount \
    sys-kernel-config.mount sys-kernel-debug.mount sys-kernel-tracing.mount sys-fs-fuse-connections.mount \
    modprobe@.service systemd-ask-password-console.path systemd-ask-password-wall.path getty.target \
    console-getty.service";

/// A lab with such a server; `None`, with a NOT RUN message, if that is not possible here.
pub fn lab(backend: Backend, clients: usize) -> Option<Lab> {
    let lab = Lab::with(backend, clients, TOOLS, |dir| boot(backend, dir, None, ""))?;
    Some(with_sshd(lab))
}

/// The same with Debian packages that are not installed in this machine (see [`super::layer`]), and our files in their
/// usual places. `prepare` is a bash script, run in the server's root before systemd starts; only units that it enables
/// are enabled.
pub fn lab_with(backend: Backend, clients: usize, packages: &[&str], prepare: &str) -> Option<Lab> {
    let layer = layer(packages)?;
    let mut lab = Lab::with(backend, clients, TOOLS, |dir| boot(backend, dir, Some(&layer), prepare))?;
    lab.server.env.clear();
    Some(with_sshd(lab))
}

const TOOLS: &[&str] = &["systemctl", "systemd-run", "sshd", "ssh", "ssh-keygen", "dbus-daemon", "logger"];

fn with_sshd(lab: Lab) -> Lab {
    let config = configure_sshd(&lab, "UsePAM yes");
    lab.server.sh(&format!(
        "mkdir -p /run/sshd; systemd-run --quiet --unit=lab-sshd --property=KillMode=process /usr/sbin/sshd -D -f \
            {config}"
    ));
    wait_for_sshd(&lab);
    lab
}

fn boot(backend: Backend, dir: &Path, layer: Option<&Path>, prepare: &str) -> Option<Space> {
    for (file, what) in [("/lib/systemd/systemd", "systemd"), ("/usr/share/pam-configs/systemd", "libpam-systemd")] {
        if !Path::new(file).exists() {
            not_run(&format!("{what} is not installed"));
            return None;
        }
    }
    // The lab sets up the network, and selects the firewall's tools as in its other servers.
    let inside = format!(
        "set -e\nip link set lo up\n{}\nmount -t cgroup2 cgroup2 $root/sys/fs/cgroup\n\
        mount -t tmpfs -o mode=755 units $root/etc/systemd/system\n\
        for u in {MASKED}; do ln -s /dev/null $root/etc/systemd/system/$u; done\n: > $root/etc/fstab\n\
        tr -d - < /proc/sys/kernel/random/uuid > $root/etc/machine-id\nmkdir -p $root/etc/systemd/logind.conf.d\n\
        printf '[Login]\\nKillUserProcesses=yes\\nKillExcludeUsers=nobody\\nUserStopDelaySec=infinity\\n' > \
        $root/etc/systemd/logind.conf.d/lab.conf\n\
        printf '[Unit]\\nRequires=basic.target\\nAfter=basic.target multi-user.target\\nWants=multi-user.target \
        systemd-logind.service systemd-user-sessions.service\\n' > $root/etc/systemd/system/lab.target\n{}\n{}\n\
        {prepare}\nmount --bind /proc/sys /proc/sys; mount -o remount,bind,ro /proc/sys\necho booting\n\
        exec env -i container=docker PATH=/usr/sbin:/usr/bin:/sbin:/bin /lib/systemd/systemd --system \
        --unit=lab.target >/dev/null 2>&1 </dev/null",
        root(dir, layer),
        enter_root(dir),
        server_setup(backend)
    );
    // A signal to the whole process group, like Ctrl-C, must not end the process that cleans up.
    let outside = "trap '' INT TERM HUP\ngroups=$(findmnt -n -o TARGET -t cgroup2 | head -1)/portcullis-test-$$\n\
        mkdir $groups || exit 1\n\
        ( echo $BASHPID > $groups/cgroup.procs; exec unshare --net --mount --pid --cgroup --fork --kill-child \
        --mount-proc bash -c \"$0\" ) </dev/null &\nfirst=$!\necho \"pid $first\"\nread -r _\nexec 2>/dev/null\n\
        kill -KILL $first\nwait $first\n\
        for i in $(seq 100); do find $groups -depth -type d -exec rmdir {} \\; ; [ -d $groups ] || exit 0; sleep \
        0.05; done";
    let mut holder = Command::new("bash")
        .args(["-c", outside, &inside])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .spawn()
        .unwrap();
    let mut pid = 0;
    for line in BufReader::new(holder.stdout.take().unwrap()).lines().map_while(Result::ok) {
        match line.strip_prefix("pid ") {
            Some(first) => pid = first.parse().unwrap(),
            None if line == "booting" => break,
            None => {}
        }
    }
    let space = Space { holder, pid, env: Vec::new() };
    let up = pid != 0
        && holds_within(Duration::from_secs(30), || {
            let said = space.output(&["systemctl", "is-active", "lab.target"]);
            String::from_utf8_lossy(&said.stdout).trim() == "active"
        });
    if !up {
        not_run("a real systemd does not boot in a namespace here");
        return None;
    }
    Some(space)
}
