//! Who the operator is: real shells, terminals and SSH servers around the program, each on its own host. The plan would
//! cut every SSH login, so that the refusal says whose login the program is protecting. What cannot run here
//! (hypervisors' consoles, Puppet, Salt, ...) is judged on recorded processes in `src/host/ssh/tests.rs`.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "a test fails by panicking and keeps its own time"
)]

use crate::common;

use std::fs::File;
use std::io::{Read, Write};
use std::net::{IpAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use common::outlive::{LOCK_OUT, SOON};
use common::ssh::{Terminal, remote, ssh_as, start_sshd};
use common::{Backend, Lab, PORTCULLIS, Space, holds_within, layer, net, systemd, wait_for};

/// Whose way in the program protects.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Who {
    /// The session's own, from this address to this port.
    Ssh(IpAddr, u16),
    /// Nobody's: a job.
    Unattended,
    /// Somebody at a terminal that no SSH server made.
    Unknown,
    /// Somebody at the machine itself.
    Console,
}

/// A lab with sshd and a script that asks: `sh DIR/ask NAME` writes the program's answer to `DIR/NAME`.
fn lab(clients: usize, tools: &[&str]) -> Option<Lab> {
    let tools: Vec<&str> = ["sshd", "ssh", "ssh-keygen"].iter().chain(tools).copied().collect();
    let lab = Lab::new(Backend::Nft, clients, &tools)?;
    start_sshd(&lab);
    asks(&lab);
    Some(lab)
}

fn asks(lab: &Lab) {
    let dir = lab.dir.path().display();
    lab.file("plan.toml", LOCK_OUT);
    let places: String = lab.server.env().iter().map(|(k, v)| format!("export {k}={v}\n")).collect();
    // sudo removes the variable; without it the host must be asked.
    let asks = format!("{PORTCULLIS} apply {dir}/plan.toml --yes > {dir}/$1.new 2>&1");
    lab.file("ask", &format!("{places}unset SSH_CONNECTION SSH_CLIENT\n{asks}\nmv {dir}/$1.new {dir}/$1\n"));
}

/// The command that asks.
fn ask(lab: &Lab, name: &str) -> String {
    format!("sh {}/ask {name}", lab.dir.path().display())
}

/// The answer to whatever asked under this name.
fn said(lab: &Lab, name: &str) -> String {
    let file = lab.dir.path().join(name);
    wait_for(&format!("{name} has asked"), SOON, || file.exists());
    std::fs::read_to_string(file).unwrap()
}

fn who(said: &str) -> Who {
    if said.contains("hint: this job has no terminal and no SSH session of its own") {
        return Who::Unattended;
    }
    if said.contains("hint: no SSH session was found for this terminal") {
        return Who::Unknown;
    }
    if let Some(login) = said.split_once("would cut a new SSH login from ").map(|(_, rest)| rest) {
        let words: Vec<&str> = login.split([' ', ':']).collect();
        // An IPv6 address itself contains colons.
        let to = words.iter().position(|w| *w == "to").unwrap_or_else(|| panic!("{said}"));
        return Who::Ssh(words[..to].join(":").parse().unwrap(), words[to + 2].parse().unwrap());
    }
    assert!(said.contains("the old rules come back"), "{said}");
    Who::Console
}

fn text(out: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr))
}

/// A client's ssh with more options, running a command.
fn ssh(lab: &Lab, client: usize, user: &str, options: &[&str], command: &str) -> Child {
    let mut words = ssh_as(lab, user, Lab::server4(client), options);
    words.push(command.to_owned());
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    lab.clients[client].command(&words).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

/// Kills an SSH client: the child process of the test only entered the namespace for it.
fn hang_up(lab: &Lab, client: usize, mut entered: Child) {
    lab.clients[client].signal("-KILL", &lab.clients[client].pids("ssh -"));
    entered.wait().unwrap();
}

/// The operator in the state file: who began the trial.
fn operator(lab: &Lab) -> String {
    let status: serde_json::Value = serde_json::from_slice(&lab.portcullis(&["status", "--json"]).stdout).unwrap();
    status["trial"]["operator"].as_str().unwrap().to_owned()
}

/// The user and the peer of the proof.
fn proof(lab: &Lab) -> Option<(String, String)> {
    let status: serde_json::Value = serde_json::from_slice(&lab.portcullis(&["status", "--json"]).stdout).unwrap();
    let proof = &status["trial"]["proof"];
    Some((proof["user"].as_str()?.to_owned(), proof["peer"].as_str()?.to_owned()))
}

#[test]
fn who_counts_as_what_without_more_than_a_shell() {
    let Some(lab) = lab(2, &["tmux", "su", "script"]) else { return };
    let dir = lab.dir.path().display().to_string();
    let a = Who::Ssh(Lab::client4(0), 22);
    let over_ssh = |name: &str, command: &str, expected: &Who| {
        remote(&lab, 0, Lab::server4(0), command);
        assert_eq!(who(&said(&lab, name)), *expected, "{name}: {}", said(&lab, name));
    };
    over_ssh("command", &ask(&lab, "command"), &a);
    over_ssh("su", &format!("su - root -c '{}'", ask(&lab, "su")), &a);
    over_ssh("setsid", &format!("setsid --wait {}", ask(&lab, "setsid")), &a);
    over_ssh("background", &format!("nohup {} >/dev/null 2>&1 & wait", ask(&lab, "background")), &a);
    let key = format!(
        "-o BatchMode=yes -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o LogLevel=ERROR -i \
            {dir}/user_key"
    );
    over_ssh("itself", &format!("ssh -F none {key} root@127.0.0.1 {}", ask(&lab, "itself")), &a);
    over_ssh("own-address", &format!("ssh -F none {key} root@{} {}", Lab::server4(1), ask(&lab, "own-address")), &a);
    // Like Ansible's async: a wrapper in its own session whose parent has exited, while the connection is still open.
    let left = |name: &str| {
        format!(
            "setsid sh -c 'until [ $(ps -o ppid= -p $$) -eq 1 ]; do sleep 0.05; done; {}' </dev/null >/dev/null 2>&1 & \
             disown; exit",
            ask(&lab, name)
        )
    };
    over_ssh(
        "async",
        &format!("bash -c \"{}\"; until [ -e {dir}/async ]; do sleep 0.05; done", left("async").replace('$', "\\$")),
        &Who::Unattended,
    );
    assert!(
        said(&lab, "async")
            .contains(&format!("a new SSH login from {} (root, logged in now) to port 22", Lab::client4(0))),
        "{}",
        said(&lab, "async")
    );
    // A second session through the connection of the first.
    let control = lab.dir.path().join("mux");
    let master = lab.master(0, Lab::server4(0), &control);
    lab.through(&control, 0, Lab::server4(0), &ask(&lab, "shared"));
    assert_eq!(who(&said(&lab, "shared")), a);
    hang_up(&lab, 0, master);
    // ProxyJump through this host to itself: sshd opens the second connection.
    let jump = format!("ProxyCommand=ssh -F none {key} -W %h:%p root@{}", Lab::server4(0));
    ssh(&lab, 0, "root", &["-o", &jump], &ask(&lab, "jump")).wait().unwrap();
    assert_eq!(who(&said(&lab, "jump")), a);
    // A terminal, and one that no SSH server made.
    let session = Terminal::ssh(&lab, 0, Lab::server4(0), &format!("{}; cat", ask(&lab, "terminal")));
    assert_eq!(who(&said(&lab, "terminal")), a);
    drop(session);
    wait_for("the session is closed", SOON, || lab.server.pids("sshd: root@").is_empty());
    lab.server.output(&["script", "-qec", &ask(&lab, "script"), "/dev/null"]);
    assert_eq!(who(&said(&lab, "script")), Who::Unknown, "{}", said(&lab, "script"));
    lab.server.output(&["sh", "-c", &format!("setsid --wait {}", ask(&lab, "job"))]);
    assert_eq!(who(&said(&lab, "job")), Who::Unattended, "{}", said(&lab, "job"));
    // A real terminal of the machine, which nobody uses; there the trial goes live, and ends without proof.
    let vt = "/dev/tty63";
    let Ok(terminal) = File::open(vt) else { return common::not_run_here("a virtual terminal of the machine") };
    let words = ["setsid", "--ctty", "--wait", "sh", &format!("{dir}/ask"), "console"];
    assert!(lab.server.command(&words).stdin(terminal).status().unwrap().success());
    assert_eq!((who(&said(&lab, "console")), operator(&lab)), (Who::Console, "console".into()));
    let out = lab.portcullis(&["keep"]);
    assert!(out.status.success(), "{}", text(&out));
}

/// In tmux the session's own terminal decides: first from one address, then from another.
#[test]
fn a_tmux_that_is_attached_again_from_elsewhere_is_used_from_there() {
    let Some(lab) = lab(2, &["tmux"]) else { return };
    let socket = lab.dir.path().join("tmux").display().to_string();
    let mut first =
        Terminal::ssh(&lab, 0, Lab::server4(0), &format!("tmux -S {socket} -f /dev/null new-session 'bash --norc'"));
    first.wait("bash-", SOON);
    first.send(&format!("{}\r", ask(&lab, "first")));
    assert_eq!(who(&said(&lab, "first")), Who::Ssh(Lab::client4(0), 22));
    first.send("\u{2}d");
    first.wait("detached", SOON);
    first.end(SOON);
    // Another session from the first address is open, and is used while tmux is.
    let mut idle = Terminal::ssh(&lab, 0, Lab::server4(0), "echo here; exec cat");
    idle.wait("here", SOON);
    let mut second = Terminal::ssh(&lab, 1, Lab::server4(1), &format!("tmux -S {socket} attach"));
    second.wait("bash-", SOON);
    idle.send("x\r");
    second.send(&format!("{}\r", ask(&lab, "second")));
    assert_eq!(who(&said(&lab, "second")), Who::Ssh(Lab::client4(1), 22));
}

#[test]
fn a_job_keeps_the_way_in_of_who_is_logged_in() {
    let Some(lab) = lab(2, &[]) else { return };
    let session = Terminal::ssh(&lab, 0, Lab::server4(0), "echo here; exec cat");
    session.wait("here", SOON);
    let out = lab.portcullis(&["apply", &lab.file("plan.toml", LOCK_OUT), "--yes"]);
    let refused = text(&out);
    assert!(
        out.status.code() == Some(3)
            && refused.contains(&format!("a new SSH login from {} (root, logged in now) to port 22", Lab::client4(0))),
        "{refused}"
    );
    // It is allowed and everybody else is shut out: then nobody is locked out.
    let one = format!(
        "version = 1\n[[rule]]\naction = \"allow\"\nfrom = [\"{}\"]\nto = [\"22/tcp\"]\n{}",
        Lab::client4(0),
        LOCK_OUT.strip_prefix("version = 1\n").unwrap()
    );
    let out = lab.portcullis(&["apply", &lab.file("one.toml", &one), "--yes", "--confirm-within", "5m"]);
    assert!(out.status.success() && text(&out).contains("checked was a new SSH login from"), "{}", text(&out));
    assert_eq!(operator(&lab), "unattended");
    assert!(!net::tcp_connects(&lab.clients[1], Lab::server4(1), 22));
    let out = lab.portcullis(&["keep"]);
    assert!(
        out.status.code() == Some(3) && text(&out).contains("the job that began the trial has no terminal"),
        "{}",
        text(&out)
    );
    assert!(remote(&lab, 0, Lab::server4(0), "sleep 0.3").0);
    let out = lab.portcullis(&["keep"]);
    assert!(
        out.status.success() && text(&out).contains(&format!("root logged in from {}", Lab::client4(0))),
        "{}",
        text(&out)
    );
}

#[test]
fn a_job_keeps_the_way_in_of_the_last_login_and_else_of_everybody() {
    let Some(lab) = lab(1, &[]) else { return };
    lab.server.sh(&format!("/usr/sbin/sshd -f {}/sshd_config -p 2222", lab.dir.path().display()));
    let refused = |plan: &str| {
        let out = lab.portcullis(&["apply", &lab.file("plan.toml", plan), "--yes"]);
        assert_eq!(out.status.code(), Some(3), "{}", text(&out));
        text(&out)
    };
    // Nobody has ever had a terminal here: the files say no more.
    lab.server.sh("for f in wtmp lastlog; do : > /var/log/$f; done");
    let everybody = refused(&LOCK_OUT.replace("22/tcp", "2222/tcp"));
    assert!(everybody.contains("who may log in to the SSH port 2222 over IPv4: 0.0.0.0/0"), "{everybody}");
    assert!(everybody.contains("(read: sshd's connections, wtmp, lastlog)"), "{everybody}");
    // A real login, closed again.
    let mut session = Terminal::ssh(&lab, 0, Lab::server6(0), "true");
    session.end(SOON);
    wait_for("the session is closed", SOON, || lab.server.pids("sshd: root@").is_empty());
    let last = refused(LOCK_OUT);
    assert!(
        last.contains(&format!("a new SSH login from {} (root, the last login: wtmp) to port 22", Lab::client6(0))),
        "{last}"
    );
    // The program is told apart from one that only has its name, and from one that listens for others.
    lab.server.sh(": > /var/log/wtmp; : > /var/log/lastlog; mkdir /run/own; cp /usr/bin/python3 /run/own/sshd\n\
        chown 65534 /run/own/sshd");
    let listens = "import socket, time; s = socket.create_server((\"0.0.0.0\", 2223)); time.sleep(1000)";
    lab.server.sh(&format!("/run/own/sshd -c '{listens}' >/dev/null 2>&1 &"));
    wait_for("it listens", SOON, || lab.server.run(&["ss", "-Hltn", "sport", "=", "2223"]).contains("2223"));
    let out = lab.portcullis(&["apply", &lab.file("plan.toml", &LOCK_OUT.replace("22/tcp", "2223/tcp")), "--yes"]);
    assert!(out.status.success(), "{}", text(&out));
}

/// Listens on a port of a namespace, greets with a byte, and keeps every connection open until the test process exits.
fn keep_open(on: &Space, port: u16) {
    let listener = net::within(on, || TcpListener::bind(("::", port)).unwrap());
    std::thread::spawn(move || {
        let mut kept = Vec::new();
        while let Ok((mut stream, _)) = listener.accept() {
            stream.write_all(b"!").unwrap();
            kept.push(stream);
        }
    });
}

/// A user who is not root, and a way to become root.
fn add_user(lab: &Lab, name: &str, id: u32) {
    lab.server.sh(&format!(
        "[ -e /run/passwd ] || {{ cp /etc/passwd /run/passwd; mount --bind /run/passwd /etc/passwd; }}\n\
        echo '{name}:x:{id}:{id}::/:/bin/sh' >> /run/passwd; echo '{name}:*:1::::::' >> /run/shadow\n\
        [ -e /run/become ] || {{ cp $(readlink -f /usr/bin/setpriv) /run/become; chmod 4755 /run/become; }}"
    ));
}

/// VS Code, `ssh -L` and `-R`: connections that sshd opened, or accepted on a socket for its user, besides its own.
#[test]
fn a_forwarded_connection_is_not_the_operators() {
    let Some(lab) = lab(2, &["setpriv", "ss"]) else { return };
    add_user(&lab, "ann", 4242);
    keep_open(&lab.clients[1], 7000);
    keep_open(&lab.clients[0], 7001);
    for (n, user) in ["root", "ann"].into_iter().enumerate() {
        let control = lab.dir.path().join(user);
        let (near, back) = (7100 + n as u16, 7200 + n as u16);
        let options = [
            "-M",
            "-N",
            "-S",
            &control.display().to_string(),
            "-L",
            &format!("{near}:{}:7000", Lab::client4(1)),
            "-R",
            &format!("{back}:127.0.0.1:7001"),
        ];
        let mut words = ssh_as(&lab, user, Lab::server4(0), &options);
        words.retain(|w| w != "ControlPath=none");
        let at = words.iter().rposition(|w| w == "-o").unwrap();
        words.remove(at);
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let master = lab.clients[0].command(&words).spawn().unwrap();
        wait_for("the shared connection is open", SOON, || control.exists());
        let mut open = Vec::new();
        for (space, port) in [(&lab.clients[0], near), (&lab.server, back)].repeat(4) {
            let mut stream = None;
            wait_for("a forwarded connection comes through", SOON, || {
                stream = net::within(space, || TcpStream::connect(("127.0.0.1", port)).ok())
                    .filter(|s| (&*s).read_exact(&mut [0]).is_ok());
                stream.is_some()
            });
            open.extend(stream);
        }
        lab.through(
            &control,
            0,
            Lab::server4(0),
            &format!("/run/become --reuid=0 --regid=0 --clear-groups {}", ask(&lab, &format!("forward-{user}"))),
        );
        let said = said(&lab, &format!("forward-{user}"));
        assert_eq!(who(&said), Who::Ssh(Lab::client4(0), 22), "{user}: {said}");
        drop(open);
        hang_up(&lab, 0, master);
    }
}

/// Any user with an account may try to pass for sshd.
#[test]
fn a_process_that_calls_itself_sshd_proves_nothing() {
    let Some(lab) = lab(2, &["setpriv", "su"]) else { return };
    let dir = lab.dir.path().display().to_string();
    add_user(&lab, "eve", 4243);
    keep_open(&lab.clients[1], 7000);
    let plan = lab.file("plan.toml", "version = 1\n[[rule]]\naction = \"drop\"\nfrom = [\"any\"]\nto = [\"111\"]\n");
    let out = lab.portcullis(&["apply", &plan, "--yes", "--confirm-within", "5m"]);
    assert!(out.status.success(), "{}", text(&out));
    // With a connection to another host as its own: su behind a link, and sshd's own program.
    lab.server.sh("mkdir /run/eve; ln -s /usr/bin/su /run/eve/sshd; chown -R 4243 /run/eve; mkfifo -m 666 /run/eve/in");
    let open = format!("exec 3<>/dev/tcp/{}/7000", Lab::client4(1));
    for (n, exec) in [
        "exec -a 'sshd: root@pts/9' /run/eve/sshd root -c true <> /run/eve/in",
        "exec -a sshd /usr/sbin/sshd -r -D -f /run/eve/config",
    ]
    .iter()
    .enumerate()
    {
        if n == 1 {
            lab.server.sh(&format!(
                "cd /run/eve; ssh-keygen -q -t ed25519 -N '' -f key; printf 'Port 2222\\nHostKey /run/eve/key\\n\
                AuthorizedKeysFile {dir}/user_key.pub\\nPidFile none\\nStrictModes no\\nUsePAM no\\n' > config\n\
                chown -R 4243 .; chmod 644 {dir}/user_key.pub; chmod 711 {dir}"
            ));
        }
        lab.server.sh(&format!(
            "setpriv --reuid=4243 --regid=4243 --clear-groups bash -c \"{open}; {exec}\" >/run/forged.{n} 2>&1 &"
        ));
        let title = ["sshd: root@pts/9", "sshd: sshd -r"][n];
        let forged = || {
            lab.server
                .pids(title)
                .into_iter()
                .any(|pid| lab.server.run(&["cat", &format!("/proc/{pid}/comm")]).trim() == "sshd")
        };
        wait_for(&format!("{title} runs"), SOON, forged);
        assert_eq!(proof(&lab), None, "{title}");
        let out = lab.portcullis(&["keep"]);
        assert!(out.status.code() == Some(3) && text(&out).contains("no new SSH login"), "{title}: {}", text(&out));
    }
    wait_for("her sshd listens", SOON, || net::tcp_connects(&lab.clients[1], Lab::server4(1), 2222));
    // Eve's own sshd lets her in, even from another host.
    let own = ssh(&lab, 1, "eve", &["-p", "2222"], "echo in; sleep 1000");
    let inside = || !lab.server.pids("sshd: eve@notty").is_empty();
    wait_for("eve is in by her own sshd", SOON, inside);
    assert_eq!(proof(&lab), None);
    hang_up(&lab, 1, own);
    // Through the real one: a user who is not root has a monitor of root's.
    let real = ssh(&lab, 1, "eve", &[], "sleep 1000");
    wait_for("the guard sees her", SOON, || proof(&lab) == Some(("eve".into(), Lab::client4(1).to_string())));
    hang_up(&lab, 1, real);
}

/// An upgrade replaces sshd's file while it runs.
#[test]
fn an_sshd_whose_file_was_replaced_is_still_the_installed_one() {
    let Some(lab) = lab(1, &[]) else { return };
    lab.server.sh(&format!(
        "mkdir /run/sbin; cp /usr/sbin/sshd /run/sbin/sshd; /run/sbin/sshd -f {}/sshd_config -p 2222; rm \
            /run/sbin/sshd",
        lab.dir.path().display()
    ));
    let plan = lab.file("plan.toml", "version = 1\n[[rule]]\naction = \"drop\"\nfrom = [\"any\"]\nto = [\"111\"]\n");
    let out = lab.portcullis(&["apply", &plan, "--yes", "--confirm-within", "5m"]);
    assert!(out.status.success(), "{}", text(&out));
    // It cannot re-execute itself for a connection, as it does by default (sshd(8), -r), and continues as
    // it was forked.
    let login = ssh(&lab, 0, "root", &["-p", "2222"], "sleep 1000");
    let seen = holds_within(SOON, || proof(&lab).is_some());
    hang_up(&lab, 0, login);
    assert!(seen, "{}", lab.server.run(&["ps", "-ef"]));
}

/// Makes the plan that asks cut only these ports.
fn asks_about(lab: &Lab, ports: &str) {
    lab.file("plan.toml", &LOCK_OUT.replace("\"22/tcp\"", ports));
}

#[test]
fn who_counts_as_what_with_sudo_screen_mosh_at_cron_and_dropbear() {
    let packages = ["sudo", "screen", "mosh", "at", "cron", "dropbear-bin"];
    let Some(lab) = layer::lab(Backend::Nft, 2, &packages) else { return };
    let dir = lab.dir.path().display().to_string();
    start_sshd(&lab);
    asks(&lab);
    let keys = "/root/.ssh/authorized_keys";
    lab.server.sh(&format!("install -d -m 700 /root/.ssh; install -m 600 {dir}/user_key.pub {keys}; : > /run/utmp"));
    // Every minute, from now on.
    lab.server.sh(&format!("printf '* * * * * root {}\\n' > /etc/cron.d/ask; cron", ask(&lab, "cron")));
    let a = Who::Ssh(Lab::client4(0), 22);
    let over_ssh = |name: &str, command: &str, expected: &Who| {
        let session = Terminal::ssh(&lab, 0, Lab::server4(0), command);
        let said = said(&lab, name);
        assert_eq!(who(&said), *expected, "{name}: {said}");
        session
    };
    over_ssh("sudo", &format!("sudo -E {}", ask(&lab, "sudo")), &a);
    lab.server.sh("echo 'Defaults use_pty' > /etc/sudoers.d/pty; chmod 440 /etc/sudoers.d/pty");
    over_ssh("use-pty", &format!("sudo {}; cat", ask(&lab, "use-pty")), &a);
    over_ssh("setsid", &format!("sudo setsid --wait {}", ask(&lab, "setsid")), &a);
    let until_left = "until [ $(ps -o ppid= -p $$) -eq 1 ]; do sleep 0.05; done";
    let left = format!("sudo -b setsid -f sh -c '{until_left}; {}'; cat", ask(&lab, "left"));
    over_ssh("left", &left, &Who::Unattended);
    over_ssh("screen", &format!("env TERM=vt100 screen -S lab {}", ask(&lab, "screen")), &a);
    lab.server.sh(&format!("atd; echo '{}' | at now 2>/dev/null", ask(&lab, "at")));
    assert_eq!(who(&said(&lab, "at")), Who::Unattended, "{}", said(&lab, "at"));
    // mosh: SSH has ended, and somebody else still uses it.
    let other = Terminal::ssh(&lab, 1, Lab::server4(1), "echo here; exec cat");
    other.wait("here", SOON);
    let server =
        format!("LC_ALL=C.UTF-8 mosh-server new -i {} -p 60001 -- {} 2>&1", Lab::server4(0), ask(&lab, "mosh"));
    let (_, started) = remote(&lab, 0, Lab::server4(0), &server);
    let key = started.split("MOSH CONNECT 60001 ").nth(1).and_then(|rest| rest.split_whitespace().next());
    let key = key.unwrap_or_else(|| panic!("{started}"));
    let mut client = Command::new("nsenter")
        .args([
            format!("--mount=/proc/{}/ns/mnt", lab.server.pid()),
            format!("--net=/proc/{}/ns/net", lab.clients[0].pid()),
        ])
        .args([
            "--",
            "env",
            &format!("MOSH_KEY={key}"),
            "LC_ALL=C.UTF-8",
            "TERM=xterm",
            "timeout",
            "60",
            "script",
            "-qec",
        ])
        .args([&format!("stty rows 24 cols 80; exec mosh-client {} 60001", Lab::server4(0)), "/dev/null"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let mosh = said(&lab, "mosh");
    client.kill().unwrap();
    client.wait().unwrap();
    assert_eq!(who(&mosh), Who::Unknown, "{mosh}");
    // mosh has recorded where its client is.
    assert!(mosh.contains("(read: sshd's connections, utmp"), "{mosh}");
    assert!(mosh.contains(&format!("; {} too", Lab::client4(0))), "{mosh}");
    drop(other);
    // Another SSH server, on a port of its own.
    asks_about(&lab, "\"22/tcp\", \"2022/tcp\"");
    lab.server.sh("dropbearkey -t ed25519 -f /run/dropbear.key >/dev/null 2>&1\n\
        dropbear -r /run/dropbear.key -p 2022 -P /run/dropbear.pid");
    wait_for("dropbear listens", SOON, || net::tcp_connects(&lab.clients[0], Lab::server4(0), 2022));
    let session = Terminal::ssh_to_port(&lab, 0, Lab::server6(0), 2022, &format!("{}; cat", ask(&lab, "dropbear")));
    assert_eq!(who(&said(&lab, "dropbear")), Who::Ssh(Lab::client6(0), 2022), "{}", said(&lab, "dropbear"));
    asks_about(&lab, "\"2022/tcp\"");
    lab.portcullis(&["status"]);
    lab.server.sh(&format!("setsid --wait {}", ask(&lab, "beside")));
    let beside = said(&lab, "beside");
    let logged_in = format!("from {} (somebody, logged in now) to port 2022", Lab::client6(0));
    assert!(who(&beside) == Who::Unattended && beside.contains(&logged_in), "{beside}");
    drop(session);
    let file = lab.dir.path().join("cron");
    wait_for("cron has asked", Duration::from_secs(70), || file.exists());
    assert_eq!(who(&said(&lab, "cron")), Who::Unattended, "{}", said(&lab, "cron"));
}

#[test]
fn who_counts_as_what_under_a_real_systemd() {
    let prepare = "printf '[Socket]\\nListenStream=2200\\nAccept=yes\\n' > /etc/systemd/system/ssh.socket";
    let Some(lab) = systemd::lab_with(Backend::Nft, 2, &["systemd-container"], prepare) else { return };
    let dir = lab.dir.path().display().to_string();
    asks(&lab);
    // Only the journal has logins without a terminal.
    assert!(remote(&lab, 0, Lab::server4(0), "true").0);
    let job = |name: &str, options: &str| {
        lab.server.sh(&format!("systemd-run --quiet --collect {options} {}", ask(&lab, name)));
        let said = said(&lab, name);
        assert_eq!(who(&said), Who::Unattended, "{name}: {said}");
        said
    };
    let last = job("service", "--wait");
    let journal = format!("a new SSH login from {} (root, the last login: the journal) to port 22", Lab::client4(0));
    assert!(last.contains(&journal), "{last}");
    job("timer", "--on-active=100ms --timer-property=AccuracySec=10ms");
    let over_ssh = |name: &str, command: &str, expected: &Who| {
        let session = Terminal::ssh(&lab, 0, Lab::server4(0), command);
        let said = said(&lab, name);
        assert_eq!(who(&said), *expected, "{name}: {said}");
        session
    };
    let a = Who::Ssh(Lab::client4(0), 22);
    over_ssh("by-ssh", &format!("systemd-run --quiet --collect --wait {}", ask(&lab, "by-ssh")), &Who::Unattended);
    over_ssh("pipe", &format!("systemd-run --quiet --collect --wait --pipe {}", ask(&lab, "pipe")), &Who::Unattended);
    over_ssh("pty", &format!("systemd-run --quiet --collect --wait --pty {}", ask(&lab, "pty")), &a);
    over_ssh("machinectl", &format!("machinectl shell root@ /bin/sh {dir}/ask machinectl"), &a);
    // systemd listens, and starts an sshd for each connection.
    let service = format!("[Service]\\nExecStart=-/usr/sbin/sshd -i -f {dir}/sshd_config\\nStandardInput=socket\\n");
    lab.server.sh(&format!(
        "printf '{service}' > /etc/systemd/system/ssh@.service; systemctl daemon-reload; systemctl start ssh.socket"
    ));
    asks_about(&lab, "\"2200/tcp\"");
    let refused = job("socket-job", "--wait");
    assert!(refused.contains(" to port 2200: "), "{refused}");
    let session = Terminal::ssh_to_port(&lab, 1, Lab::server4(1), 2200, &format!("{}; cat", ask(&lab, "socket")));
    assert_eq!(who(&said(&lab, "socket")), Who::Ssh(Lab::client4(1), 2200), "{}", said(&lab, "socket"));
    drop(session);
    asks_about(&lab, "\"111\"");
    lab.server.sh(&ask(&lab, "trial"));
    assert!(said(&lab, "trial").contains("the old rules come back"), "{}", said(&lab, "trial"));
    let login = ssh(&lab, 1, "root", &["-p", "2200"], "sleep 1000");
    wait_for("the guard sees the login", SOON, || proof(&lab) == Some(("root".into(), Lab::client4(1).to_string())));
    hang_up(&lab, 1, login);
}

/// A shell in a container on the host's network, as used for tools on minimal hosts.
#[test]
fn who_counts_as_what_in_a_container_of_a_real_docker() {
    let Some(lab) = lab(1, &["dockerd", "docker", "busybox"]) else { return };
    let dir = lab.dir.path().display().to_string();
    let docker = "docker -H unix:///run/docker.sock";
    lab.server.sh(&format!(
        "mount -t tmpfs docker /mnt; mkdir -p /run/lock /mnt/root/bin\n\
        nohup dockerd --storage-driver vfs --data-root /mnt/data --exec-root /run/docker-exec -H \
        unix:///run/docker.sock -p /run/docker.pid >/run/dockerd.log 2>&1 &\n\
        for _ in $(seq 300); do {docker} info >/dev/null 2>&1 && break; sleep 0.1; done\n\
        cp \"$(command -v busybox)\" /mnt/root/bin/busybox; tar -C /mnt/root -c . | {docker} import - box >/dev/null\n\
        {docker} run -d --name tools --cap-add=NET_ADMIN --cap-add=SYS_PTRACE --cap-add=SYS_ADMIN \
        --security-opt=seccomp=unconfined --net=host --pid=host -v /:/host box /bin/busybox sleep 1000 >/dev/null"
    ));
    let inside = |name: &str| format!("tools /bin/busybox chroot /host sh {dir}/ask {name}");
    let over_ssh = |name: &str, options: &str, expected: &Who| {
        let session =
            Terminal::ssh(&lab, 0, Lab::server4(0), &format!("{docker} exec {options} {}; cat", inside(name)));
        let said = said(&lab, name);
        assert_eq!(who(&said), *expected, "{name}: {said}");
        drop(session);
        said
    };
    over_ssh("exec-terminal", "-it", &Who::Ssh(Lab::client4(0), 22));
    let said = over_ssh("exec", "", &Who::Unattended);
    assert!(said.contains(&format!("{} (root, logged in now) to port 22", Lab::client4(0))), "{said}");
}
