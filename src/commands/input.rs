//! Reads captured files into one view, with remarks on standard error.

use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::Context as _;

use super::{Failure, note};
use crate::cli::Input;
use crate::host::live::Live;
use crate::host::{Host, Rights};
use crate::model::{Code, Diagnostic, DiagnosticKind, Family, View};
use crate::observe::capture::{self, captured};
use crate::observe::live::observe;
use crate::trial::{Refusal, half_saved};

/// The view of the named files; without any, of the live host.
pub fn any(input: &Input) -> anyhow::Result<View> {
    if input.files.is_empty() && input.ipv4.is_empty() && input.ipv6.is_empty() {
        let host = Live::default();
        if host.rights() == Rights::RootElsewhere {
            return Err(Refusal::not_root(host.rights()).into());
        }
        if !host.is_root() {
            return Err(Failure::new(
                Code::NotRoot,
                "only root can read this host's firewall",
                "run it with sudo, or name files with the output of iptables-save, ip6tables-save and rpcinfo -p",
            )
            .into());
        }
        let mut view = observe(&host);
        view.diagnostics.extend(half_saved(&host).map(Diagnostic::whole));
        return Ok(view);
    }
    view(&input.files, &input.ipv4, &input.ipv6)
}

/// Reads captured files into one view. The format of each is detected from its content; its family too, unless an
/// option names it. Fails if a file cannot be read, or if none contains anything usable.
pub fn view(files: &[PathBuf], ipv4: &[PathBuf], ipv6: &[PathBuf]) -> anyhow::Result<View> {
    view_of(&texts(files, ipv4, ipv6)?)
}

/// The texts of captured files. Fails if one cannot be read.
pub fn texts(files: &[PathBuf], ipv4: &[PathBuf], ipv6: &[PathBuf]) -> anyhow::Result<Vec<capture::Input>> {
    let mut inputs = Vec::new();
    for (paths, family) in [(files, None), (ipv4, Some(Family::V4)), (ipv6, Some(Family::V6))] {
        for path in paths {
            inputs.push(capture::Input { name: path.display().to_string(), text: text_of(path)?, family });
        }
    }
    Ok(inputs)
}

/// The view of these texts; fails if none contains anything usable.
pub fn view_of(inputs: &[capture::Input]) -> anyhow::Result<View> {
    let mut view = captured(inputs);
    // Dates are judged as of now, unless another instant is given.
    view.at = Live::default().now().wall;
    if is_empty(&view) {
        return Err(unusable(&view).into());
    }
    Ok(view)
}

/// Fails if a host was asked for its rules and none could be read: nothing is then known about who gets in.
pub fn require_rules(view: &View) -> anyhow::Result<()> {
    let unread: Vec<String> = Family::BOTH
        .iter()
        .filter_map(|f| Some(format!("{}: {}", f.label(), view.unread[f.index()].as_ref()?)))
        .collect();
    if unread.is_empty() || view.v4.is_some() || view.v6.is_some() {
        return Ok(());
    }
    Err(Failure::new(
        Code::Unreadable,
        format!("the rules of this host could not be read ({})", unread.join("; ")),
        "check that iptables-save and ip6tables-save work for root here; until then it is not known who gets in",
    )
    .into())
}

/// Prints the remarks of a view to standard error, one per line.
pub fn remarks(view: &View) {
    for d in &view.diagnostics {
        note(d.placed());
    }
}

fn is_empty(view: &View) -> bool {
    view.v4.is_none()
        && view.v6.is_none()
        && view.rpc.is_none()
        && view.sockets.is_none()
        && view.ipsets.is_none()
        && view.addrs.is_none()
        && view.routes.is_none()
        && view.exports.is_empty()
        && view.peers.is_empty()
        && view.published_names.is_empty()
}

/// The failure for inputs without anything usable: the first reader's own message, if there is one.
fn unusable(view: &View) -> Failure {
    let rpc = view.diagnostics.iter().find(|d| d.kind == DiagnosticKind::NoServices);
    match rpc {
        Some(d) => Failure::failed(
            format!("{}: {}", d.file, d.message),
            "this is not a list of services: run `rpcinfo -p` as root on the host itself, and give its output",
        ),
        None => Failure::failed(
            format!("{} contains nothing that this program can read", view.title),
            "give the output of iptables-save, iptables -S, iptables -L or rpcinfo -p; \
             on an untouched host iptables-save prints nothing, `iptables-save -t filter` prints the table",
        ),
    }
}

/// The text of a file; `-` is standard input.
pub fn text_of(file: &Path) -> anyhow::Result<String> {
    let mut bytes = Vec::new();
    let read = if file == Path::new("-") {
        std::io::stdin().read_to_end(&mut bytes).map(|_| ())
    } else {
        std::fs::read(file).map(|b| bytes = b)
    };
    read.with_context(|| {
        Failure::failed(format!("cannot read {}", file.display()), "name a readable file, or - for standard input")
    })?;
    if is_binary(&bytes) {
        return Err(Failure::failed(
            format!("{} is a binary file", file.display()),
            "give the text that iptables-save prints",
        )
        .into());
    }
    // Copies only if the bytes are not UTF-8: listings can be long.
    Ok(String::from_utf8(bytes).unwrap_or_else(|e| String::from_utf8_lossy(e.as_bytes()).into_owned()))
}

/// Whether there are many NUL bytes; real listings may have single ones (`iptables -L` prints one after a bpf match).
fn is_binary(bytes: &[u8]) -> bool {
    bytes.starts_with(b"\x7fELF") || bytes.split(|b| *b == 0).count().saturating_sub(1) * 64 > bytes.len()
}
