//! `/etc/exports` (exports(5)): who may mount. BSD's syntax is recognised and said.

use crate::model::Diagnostic;

/// The clients of all exports, each once, in order: addresses, networks, host names, wildcards, `@netgroups`.
pub fn read(text: &str) -> (Vec<String>, Vec<Diagnostic>) {
    let (mut clients, mut diags) = (Vec::<String>::new(), Vec::new());
    let mut add = |c: &str| {
        if !c.is_empty() && !clients.iter().any(|x| x == c) {
            clients.push(c.to_owned());
        }
    };
    for (number, line) in logical_lines(text) {
        let words = words_of(&line);
        if words.iter().skip(1).any(|w| w.starts_with("-maproot") || w.starts_with("-network") || w.starts_with("-mapall") || w.starts_with("-alldirs")) {
            diags.push(Diagnostic::at(number, "this is an exports file of BSD; only Linux's syntax is read here"));
            continue;
        }
        if !words.first().is_some_and(|w| w.starts_with('/')) {
            diags.push(Diagnostic::at(number, format!("an export begins with a path: {line}")));
            continue;
        }
        for word in words.iter().skip(1).filter(|w| !w.starts_with('-')) {
            match word.split_once('(') {
                // `host (rw)`: the blank makes it "host with defaults, and everybody read-write".
                Some(("", _)) => {
                    diags.push(Diagnostic::at(number, "options stand apart from their client, so they hold for everybody (exports(5))"));
                    add("*");
                }
                Some((client, _)) => add(client),
                None => add(word),
            }
        }
    }
    (clients, diags)
}

/// Lines without comments, continued ones joined, each with the number of its first.
fn logical_lines(text: &str) -> Vec<(usize, String)> {
    let mut out = Vec::<(usize, String)>::new();
    let mut open = false;
    for (i, raw) in text.lines().enumerate() {
        let line = raw.split('#').next().unwrap_or_default();
        let (body, goes_on) = line.trim_end().strip_suffix('\\').map_or((line.trim(), false), |b| (b.trim(), true));
        match out.last_mut().filter(|_| open) {
            Some((_, last)) => {
                last.push(' ');
                last.push_str(body);
            }
            None => out.push((i + 1, body.to_owned())),
        }
        open = goes_on;
    }
    out.retain(|(_, l)| !l.trim().is_empty());
    out
}

/// Words; double quotes hold blanks together.
fn words_of(line: &str) -> Vec<String> {
    let (mut out, mut word, mut quoted) = (Vec::new(), String::new(), false);
    for c in line.chars() {
        match c {
            '"' => quoted = !quoted,
            c if c.is_whitespace() && !quoted => {
                if !word.is_empty() {
                    out.push(std::mem::take(&mut word));
                }
            }
            c => word.push(c),
        }
    }
    if !word.is_empty() {
        out.push(word);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_in_every_form() {
        let (c, d) = read("# comment\n/srv/a 192.0.2.11(rw,sync) 192.0.2.0/24(ro) \\\n  *.example.org(ro) @trusted(rw)\n\"/srv/b c\" -rw,sync 192.0.2.11 2001:db8::/64(ro)\n");
        assert!(d.is_empty(), "{d:?}");
        assert_eq!(c, ["192.0.2.11", "192.0.2.0/24", "*.example.org", "@trusted", "2001:db8::/64"]);
    }

    #[test]
    fn what_is_odd_is_said() {
        assert_eq!(read("/srv host (rw)\n").0, ["host", "*"]);
        assert!(read("/usr -maproot=root host1\n").1[0].message.contains("BSD"));
        assert_eq!(read("srv host\n").1.len(), 1);
    }
}
