//! `/etc/exports` of Linux (exports(5)). The syntax of BSD and macOS is recognised: its clients are used,
//! with a diagnostic.

use crate::model::{Diagnostic, DiagnosticKind, Net};

/// The end of a diagnostic about clients for which no rule can be made.
const UNNAMED: &str = "matches hosts that the file does not list";

/// One directory and who may mount it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Export {
    /// Directory.
    pub path: String,
    /// Clients, in the order of the file.
    pub clients: Vec<Client>,
    /// Line, from 1.
    pub line: usize,
}

/// One client of an export.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Client {
    /// As written: an address, a network, a host name, `*`, `*.example.org` or `@netgroup`.
    pub name: String,
    /// Its options, without the parentheses.
    pub options: Vec<String>,
}

impl Client {
    /// The client as a node: a network in its shortest form, or a host name. `None` for clients without addresses of
    /// their own: everybody, wildcards, netgroups, Kerberos principals.
    pub fn node(&self) -> Option<String> {
        if let Some(net) = Net::parse_any(&self.name) {
            return Some(if net.mask == net.family.max() { net.ip().to_string() } else { net.to_string() });
        }
        let host = !self.name.is_empty()
            && self.name.chars().all(|c| c.is_ascii_alphanumeric() || "-._".contains(c))
            && self.name.contains(|c: char| c.is_ascii_alphabetic());
        host.then(|| self.name.clone())
    }
}

/// Reads the file. Never fails: lines that cannot be used become diagnostics.
pub fn read(text: &str) -> (Vec<Export>, Vec<Diagnostic>) {
    let (mut out, mut diags) = (Vec::new(), Vec::new());
    let mut whole = String::new();
    let mut start = 0;
    for (n, line) in text.lines().enumerate() {
        if whole.is_empty() {
            start = n + 1;
        }
        // A backslash at the end continues the line.
        if let Some(head) = line.trim_end().strip_suffix('\\') {
            whole.push_str(head);
            whole.push(' ');
            continue;
        }
        whole.push_str(line);
        entry(&std::mem::take(&mut whole), start, &mut out, &mut diags);
    }
    entry(&whole, start, &mut out, &mut diags);
    (out, diags)
}

/// The clients of all exports that can be used as nodes, each once, in order.
pub fn nodes(text: &str) -> (Vec<String>, Vec<Diagnostic>) {
    let (exports, diags) = read(text);
    let mut out: Vec<String> = Vec::new();
    for node in exports.iter().flat_map(|e| &e.clients).filter_map(Client::node) {
        if !out.contains(&node) {
            out.push(node);
        }
    }
    (out, diags)
}

fn entry(line: &str, n: usize, out: &mut Vec<Export>, diags: &mut Vec<Diagnostic>) {
    let words = words(line);
    let Some(path) = words.first() else { return };
    let bsd = path == "V4:"
        || words.iter().skip(1).any(|w| {
            ["-alldirs", "-maproot", "-mapall", "-network", "-ro", "-sec", "-quiet"].iter().any(|o| w.starts_with(o))
        });
    if bsd {
        diags.push(Diagnostic::at(
            n,
            "this is the syntax of BSD or macOS, which Linux does not read; only the clients are used",
        ));
        out.push(Export {
            path: words.iter().find(|w| w.starts_with('/')).unwrap_or(path).clone(),
            clients: bsd_clients(&words),
            line: n,
        });
        return;
    }
    if !path.starts_with('/') {
        diags.push(Diagnostic::at(n, format!("not a line of /etc/exports; left out: {}", line.trim())));
        return;
    }
    let mut export = Export { path: path.clone(), clients: Vec::new(), line: n };
    let mut defaults = Vec::new();
    for word in &words[1..] {
        if let Some(options) = word.strip_prefix('-') {
            defaults = split(options);
            continue;
        }
        let (name, options) = word.split_once('(').map_or((word.as_str(), None), |(n, o)| (n, Some(o)));
        if options.is_some_and(|o| !o.ends_with(')')) {
            diags.push(Diagnostic::at(n, format!("the closing parenthesis is missing: {word}")));
        }
        if name.is_empty() {
            diags.push(Diagnostic::at(
                n,
                "a space before the parenthesis exports to everybody with these options (exports(5))",
            ));
        }
        let mut all = defaults.clone();
        all.extend(split(options.unwrap_or_default().trim_end_matches(')')));
        export
            .clients
            .push(Client { name: if name.is_empty() { "*".to_owned() } else { name.to_owned() }, options: all });
    }
    if export.clients.is_empty() {
        export.clients.push(Client { name: "*".to_owned(), options: defaults });
    }
    for client in export.clients.iter().filter(|c| c.node().is_none()) {
        let remark = |why: String| Diagnostic::at(n, format!("{}: {why}", export.path));
        let unnamed = |what: &str| remark(format!("{what} {} {UNNAMED}", client.name)).of(DiagnosticKind::UnnamedHosts);
        diags.push(match client.name.as_str() {
            "*" => remark("everybody may mount it".to_owned()),
            name if name.starts_with('@') => unnamed("the netgroup"),
            name if name.starts_with("gss/") => remark(format!("{name} names no hosts")),
            name if name.contains("**") || name.contains("XX") => {
                remark(format!("{name} is masked and no longer an address"))
            }
            _ => unnamed("the wildcard"),
        });
    }
    out.push(export);
}

fn split(options: &str) -> Vec<String> {
    options.split(',').map(str::trim).filter(|o| !o.is_empty()).map(str::to_owned).collect()
}

/// Host names and addresses, and `-network N -mask M` or `-network=N/len`.
fn bsd_clients(words: &[String]) -> Vec<Client> {
    let value = |name: &str| {
        words.iter().enumerate().find_map(|(i, w)| {
            w.strip_prefix(&format!("{name}="))
                .map(str::to_owned)
                .or_else(|| (w == name).then(|| words.get(i + 1).cloned()).flatten())
        })
    };
    let network = value("-network").map(|net| match value("-mask") {
        Some(mask) => format!("{net}/{mask}"),
        None => net,
    });
    let hosts = words
        .iter()
        .enumerate()
        .filter(|(i, w)| {
            !w.starts_with(['-', '/'])
                && *w != "V4:"
                && !(*i > 0 && matches!(words[i - 1].as_str(), "-network" | "-mask"))
        })
        .map(|(_, w)| w.clone());
    hosts.chain(network).map(|name| Client { name, options: Vec::new() }).collect()
}

/// Words are separated by spaces; double quotes group, `\040` is a space, `#` begins a comment, and spaces inside
/// parentheses are kept.
fn words(line: &str) -> Vec<String> {
    let mut out = Vec::new();
    let mut word = String::new();
    let (mut quoted, mut inside, mut any) = (false, false, false);
    let mut chars = line.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '"' => {
                quoted = !quoted;
                any = true;
            }
            '\\' => {
                let digits: String = std::iter::from_fn(|| chars.next_if(|d| d.is_digit(8))).take(3).collect();
                match u8::from_str_radix(&digits, 8) {
                    Ok(byte) => word.push(char::from(byte)),
                    Err(_) => word.push('\\'),
                }
                any = true;
            }
            '#' if !quoted && word.is_empty() => break,
            c if c.is_whitespace() && !quoted => {
                if !inside && any {
                    out.push(std::mem::take(&mut word));
                    any = false;
                }
            }
            c => {
                inside = match c {
                    '(' => true,
                    ')' => false,
                    _ => inside,
                };
                word.push(c);
                any = true;
            }
        }
    }
    if any {
        out.push(word);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn clients(text: &str) -> Vec<String> {
        read(text).0.into_iter().flat_map(|e| e.clients).map(|c| c.name).collect()
    }

    #[test]
    fn clients_options_and_defaults() {
        let (exports, diags) = read(
            "# comment\n\"/srv/my data\" -sync,rw 10.0.0.0/255.0.0.0(no_root_squash) node1 \\\n  2001:db8::/32(ro) # \
                trailing\n/a\\040b host(rw, sync)\n",
        );
        assert_eq!(diags, []);
        assert_eq!(exports[0].path, "/srv/my data");
        assert_eq!(exports[0].clients[0].options, ["sync", "rw", "no_root_squash"]);
        assert_eq!(
            exports[0].clients.iter().map(|c| c.node().unwrap()).collect::<Vec<_>>(),
            ["10.0.0.0/8", "node1", "2001:db8::/32"]
        );
        assert_eq!(
            (exports[1].path.as_str(), &exports[1].clients[0].options[..]),
            ("/a b", &["rw".to_owned(), "sync".to_owned()][..])
        );
    }

    #[test]
    fn everybody_netgroups_and_wildcards_are_no_nodes() {
        let (exports, diags) =
            read("/srv * @trusted *.example.org server[0-20] gss/krb5i(rw)\n/pub\n/x 192.168.0.10/24(rw)\n");
        let nodes: Vec<_> = exports.iter().flat_map(|e| &e.clients).filter_map(Client::node).collect();
        assert_eq!(nodes, ["192.168.0.0/24"]);
        assert_eq!(diags.len(), 6);
    }

    #[test]
    fn a_blank_before_the_parenthesis_opens_it_to_everybody() {
        assert_eq!(clients("/srv host (rw)\n"), ["host", "*"]);
        assert!(read("/srv host (rw)\n").1[0].message.contains("everybody"));
        assert!(read("/srv host(rw\n").1[0].message.contains("missing"));
    }

    #[test]
    fn bsd_syntax_is_recognised_and_reported() {
        let (exports, diags) = read(
            "/Users -alldirs -maproot=x -network 192.168.99.0 -mask 255.255.255.0\nV4: / -sec=sys\n\
            /a /b 10.0.0.1 10.0.0.2 -alldirs\n",
        );
        assert_eq!(exports[0].clients[0].node().as_deref(), Some("192.168.99.0/24"));
        assert_eq!(exports[2].clients.len(), 2);
        assert_eq!(diags.len(), 3);
    }
}
