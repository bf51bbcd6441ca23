//! A change as texts for others to run: a shell script and a text for iptables-restore. Both can be run again, with the
//! same result whichever of our slots is in force by then.

use std::fmt::Write as _;

use super::change::Change;
use super::slots::{DoorChange, FamilyChange, Slot};
use crate::model::{Family, words};

/// Quotes a word for sh(1): names come from the host's own tables and must not be interpreted by the shell.
pub(super) fn for_shell(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_.,:/+=%@".contains(c);
    if word == "!" || (!word.is_empty() && word.chars().all(plain)) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

/// Arguments as printed by iptables-save, quoted for sh(1).
fn quoted(args: &str) -> String {
    words(args).map(|w| for_shell(&w)).collect::<Vec<_>>().join(" ")
}

impl DoorChange {
    fn chains(&self) -> [String; 3] {
        [self.switch.clone(), Slot::A.chain(&self.switch), Slot::B.chain(&self.switch)]
    }

    /// Our chains that are empty once the plan is loaded.
    fn unused(&self) -> Vec<String> {
        let used = self.new.map(|slot| slot.chain(&self.switch));
        self.chains().into_iter().filter(|c| used.as_ref().is_none_or(|slot| c != slot && *c != self.switch)).collect()
    }
}

impl FamilyChange {
    fn chains(&self) -> Vec<String> {
        self.doors.iter().flat_map(DoorChange::chains).collect()
    }

    /// Fills our chains for good, whatever they hold: one transaction, the same each time.
    fn fill_script(&self) -> String {
        let mut out = String::from("*filter\n");
        for chain in self.chains() {
            let _ = writeln!(out, ":{chain} - [0:0]");
        }
        for (d, slot) in self.doors.iter().filter_map(|d| Some((d, d.new?.chain(&d.switch)))) {
            let _ = writeln!(out, "-A {} -j {slot}", d.switch);
            for r in &d.rules {
                let _ = writeln!(out, "-A {slot} {r}");
            }
        }
        out + "COMMIT\n"
    }
}

/// The changes of families in which there is something to do.
fn families(change: &Change) -> Vec<&FamilyChange> {
    change.families.iter().filter(|f| !f.doors.is_empty()).collect()
}

/// Texts for `iptables-restore --noflush` that lead to the kept state at once, one per family. A restore cannot say "if
/// it is missing": the jump to our chains, and removing what is no longer needed, are commands in comments at the end.
pub fn restore_texts(change: &Change) -> Vec<(Family, String)> {
    families(change)
        .into_iter()
        .map(|f| {
            let tool = f.family().tool("");
            let mut out = format!(
                "# {}: load this with `{tool}-restore --noflush`, then run the commands below.\n{}",
                f.family().label(),
                f.fill_script()
            );
            for d in &f.doors {
                let jump = quoted(&d.jump);
                let is_there = |parent: &str| format!("{tool} -w 5 -C {parent} {jump} 2>/dev/null");
                if d.new.is_some() {
                    let there: Vec<String> = d.parents().iter().map(|p| is_there(p)).collect();
                    let _ = writeln!(out, "# {} || {tool} -w 5 -I {} 1 {jump}", there.join(" || "), d.parent);
                } else {
                    for p in d.parents() {
                        let _ = writeln!(out, "# while {}; do {tool} -w 5 -D {p} {jump} || break; done", is_there(p));
                    }
                }
                for chain in d.unused() {
                    let _ = writeln!(out, "# {tool} -w 5 -X {chain} 2>/dev/null || true");
                }
            }
            (f.family(), out)
        })
        .collect()
}

/// The head of a shell script: what it is, and how it stops if something is missing.
const HEAD: &str = r#"#!/bin/sh
# The rules of a portcullis plan, for the firewall that was loaded when this was written.
# Both families or neither: what cannot be done is taken back. It may be run again.
# It is no trial: nothing takes these rules back by itself, and nothing saves them for the next boot.
#NOTES
set -u
PATH=/usr/sbin:/sbin:/usr/bin:/bin:/usr/local/sbin:/usr/local/bin
LC_ALL=C
export PATH LC_ALL
# Whoever listens may be gone: that must not stop the way back.
trap '' PIPE

say() { echo "portcullis: $*" >&2; }
stop() { say "$1: nothing was changed"; exit 1; }

"#;

/// The functions of a shell script.
const ACTS: &str = r#"
# ours TOOL: our part of what is loaded.
ours() {
    all=$("$1-save" -t filter) || return 1
    case $all in *"is incompatible, use 'nft' tool"*) return 1 ;; esac
    eval "pattern=\$pattern_$1"
    printf '%s\n' "$all" | grep -E "$pattern" || :
}
# there WAS RULE: whether a jump to our chains was there.
there() { printf '%s\n' "$1" | grep -E -e "^-A [^ ]+ $2\$" >/dev/null; }
# add TOOL CHAIN RULE...: the jump to our chains, unless it was there.
add() {
    tool=$1 chain=$2
    shift 2
    eval "was=\$was_$tool"
    there "$was" "$*" || "$tool" -w 5 -I "$chain" 1 "$@"
}
# take TOOL CHAIN RULE...: takes back what add did.
take() {
    tool=$1 chain=$2
    shift 2
    eval "was=\$was_$tool"
    there "$was" "$*" || "$tool" -w 5 -D "$chain" "$@" 2>/dev/null || :
}
# drop TOOL CHAIN RULE...: takes a jump to our chains out for good.
drop() {
    tool=$1 chain=$2
    shift 2
    while "$tool" -w 5 -C "$chain" "$@" 2>/dev/null; do
        "$tool" -w 5 -D "$chain" "$@" || break
    done
}
# put_back TOOL: our part as it was, and whether it is.
put_back() {
    eval "was=\$was_$1 chains=\$chains_$1"
    {
        echo '*filter'
        for c in $chains; do echo ":$c - [0:0]"; done
        printf '%s\n' "$was" | grep '^-A PORTCULLIS'
        echo COMMIT
    } | "$1-restore" -w 5 --noflush 2>/dev/null
    "jumps_$1" take "$1"
    for c in $chains; do
        printf '%s\n' "$was" | grep "^:$c " >/dev/null || "$1" -w 5 -X "$c" 2>/dev/null
    done
    eval "was=\$was_$1"
    [ "$(ours "$1")" = "$was" ]
}
# fail WHY: both families as they were.
fail() {
    trap '' HUP INT TERM
    say "$1: taking back what was done"
    left=
    for f in $begun; do put_back "$f" || left="$left $f"; done
    [ -z "$left" ] || { say "could not be put back as it was:$left (look at it with $f-save -t filter)"; exit 1; }
    say "IPv4 and IPv6 are as they were"
    exit 1
}

[ "$(id -u)" = 0 ] || stop "only root can change the firewall"
for f in $families; do
    for tool in "$f" "$f-save" "$f-restore"; do
        command -v "$tool" >/dev/null 2>&1 || stop "$tool is not installed"
    done
done
for f in $families; do
    was=$(ours "$f") || stop "$f-save cannot read the filter table"
    case $was in *--datest*) stop "a trial of portcullis is pending, keep or revert it first" ;; esac
    eval "was_$f=\$was"
done
begun=
trap 'fail "interrupted"' HUP INT TERM
for f in $families; do
    begun="$f $begun"
    "rules_$f" | "$f-restore" -w 5 --noflush || fail "$f-restore did not take the rules"
    "jumps_$f" add "$f" || fail "$f did not take the jump to the rules"
done
# Both are in; what nothing needs any more may stay.
trap '' HUP INT TERM
for f in $families; do "tidy_$f" "$f"; done
say "the rules of the plan are loaded"
"#;

/// The same as a shell script (POSIX sh): both families or neither, with the same result when it is run again.
pub fn shell_script(change: &Change) -> String {
    let families = families(change);
    let notes: String = change.notes.iter().map(|n| format!("# {n}.\n")).collect();
    let mut out = HEAD.replace("#NOTES\n", &notes);
    let tools: Vec<String> = families.iter().map(|f| f.family().tool("")).collect();
    let _ = writeln!(out, "families='{}'", tools.join(" "));
    for (f, tool) in families.iter().zip(tools) {
        let chains = f.chains();
        let mut pattern = format!("^(:|-A )({}) ", chains.join("|"));
        let (mut jumps, mut tidy) = (Vec::new(), Vec::new());
        for d in &f.doors {
            let _ = write!(pattern, "|^-A ({}) {}$", d.parents().join("|"), d.jump);
            if d.new.is_some() {
                jumps.push(format!("\"$@\" {} {}", d.parent, quoted(&d.jump)));
            } else {
                tidy.extend(d.parents().iter().map(|p| format!("drop \"$1\" {p} {}", quoted(&d.jump))));
            }
            tidy.extend(d.unused().iter().map(|c| format!("\"$1\" -w 5 -X {c} 2>/dev/null")));
        }
        let _ = writeln!(out, "chains_{tool}='{}'\npattern_{tool}='{pattern}'", chains.join(" "));
        let _ = writeln!(out, "rules_{tool}() {{\n    cat <<'RULES'\n{}RULES\n}}", f.fill_script());
        let _ = writeln!(
            out,
            "jumps_{tool}() {{\n    {}\n}}",
            if jumps.is_empty() { ":".to_owned() } else { jumps.join(" &&\n        ") }
        );
        let _ = writeln!(out, "tidy_{tool}() {{\n    {}\n    :\n}}", tidy.join("\n    "));
    }
    out + ACTS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_in_a_name_is_interpreted_by_the_shell() {
        assert_eq!(for_shell("portcullis: allow a$(reboot)`x`"), "'portcullis: allow a$(reboot)`x`'");
        assert_eq!(for_shell("it's"), r"'it'\''s'");
        assert_eq!(
            (for_shell("!").as_str(), for_shell("--dport").as_str(), for_shell("").as_str()),
            ("!", "--dport", "''")
        );
    }
}
