//! Splitting and quoting of rule arguments as `iptables-save` writes and `iptables-restore` reads
//! them (iptables/xshared.c `add_param_to_argv`, `xtables_save_string`).

/// Splits a rule into arguments: blanks separate, double quotes group, a backslash escapes inside quotes.
pub fn split_args(text: &str) -> Vec<String> {
    let mut out = Vec::new();
    let mut cur = String::new();
    let mut has = false;
    let mut quoted = false;
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' if quoted => {
                if let Some(n) = chars.next() {
                    cur.push(n);
                }
            }
            '"' => {
                quoted = !quoted;
                has = true;
            }
            c if c.is_whitespace() && !quoted => {
                if has {
                    out.push(std::mem::take(&mut cur));
                    has = false;
                }
            }
            c => {
                cur.push(c);
                has = true;
            }
        }
    }
    if has {
        out.push(cur);
    }
    out
}

/// Quotes one argument the way `iptables-save` does: plain words stay, all else goes into double quotes.
pub fn quote(arg: &str) -> String {
    let plain = !arg.is_empty()
        && arg.chars().all(|c| c.is_ascii_alphanumeric() || "_-.,:/+=%@[]!~&^{}".contains(c));
    if plain {
        return arg.to_owned();
    }
    let mut out = String::with_capacity(arg.len() + 2);
    out.push('"');
    for c in arg.chars() {
        if c == '"' || c == '\\' || c == '\'' {
            out.push('\\');
        }
        out.push(c);
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_group_and_escape() {
        assert_eq!(split_args(r#"--comment "a \"b\" c" -j DROP"#), ["--comment", "a \"b\" c", "-j", "DROP"]);
        assert_eq!(quote("a \"b\""), r#""a \"b\"""#);
        assert_eq!(split_args(&quote("x'y\\ z")), ["x'y\\ z"]);
    }
}
