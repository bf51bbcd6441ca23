//! Our part of a firewall as a separate file: the chains, and the jumps to them in lines that iptables-restore ignores.
//! A restore text cannot say "if missing": the loader puts in each jump that a fresh reading does not show.

use super::slots::{FORWARD, FORWARD_JUMP, FamilyChange, INPUT_JUMP, family_change, standing};
use crate::model::names::chains::{DOCKER_USER, is_ours};
use crate::model::{Chain, Family, Match, Ruleset};
use crate::syntax::iptables_save;

/// The head of such a file.
const HEAD: &str = "\
# The chains of portcullis alone, written by `portcullis save --ours`: `portcullis load` puts them in, then each jump \
below
# that is missing, at position 1. Not for iptables-restore: without --noflush it wipes everything else in the table.
";

/// How the line of a jump begins.
const JUMP: &str = "# jump: ";

/// How the line of a jump ends that waits for Docker's own chain.
const WAITS: &str = "  (when Docker has made that chain; until then from FORWARD)";

/// Our part of one family: what is kept for each door.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// IPv4 or IPv6.
    pub family: Family,
    /// The rules for the host's own ports.
    pub input: Vec<String>,
    /// The rules for published ports.
    pub forward: Vec<String>,
    /// Whether published ports are guarded from Docker's chain, which does not exist before Docker has started.
    pub docker: bool,
}

/// Why a file cannot be loaded as our part.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadPart {
    /// It was written during a trial: its dates, not the operator, decide which rules are in force.
    #[error("it holds the dates of a trial")]
    Dated,
    /// It contains something that we do not write.
    #[error("it holds something that portcullis did not write: {0}")]
    Foreign(String),
}

impl Part {
    /// The kept part of our rules in a ruleset.
    pub fn of(set: &Ruleset) -> Self {
        let [input, forward] = [false, true].map(|forwarded| standing(set, forwarded));
        let user = set.chain("filter", DOCKER_USER).is_some();
        Self {
            family: set.family,
            docker: !forward.rules.is_empty() && forward.jump.map_or(user, |(chain, _)| chain == DOCKER_USER),
            input: input.rules,
            forward: forward.rules,
        }
    }

    /// Whether it contains no rule.
    pub fn is_empty(&self) -> bool {
        self.input.is_empty() && self.forward.is_empty()
    }

    /// Whether both contain the same rules.
    pub fn same_rules(&self, other: &Self) -> bool {
        (self.family, &self.input, &self.forward) == (other.family, &other.input, &other.forward)
    }

    /// The chains with their rules, for `iptables-restore --noflush` on a host without our rules.
    fn chains(&self) -> String {
        self.change(&Ruleset::new(self.family)).whole_script()
    }

    /// The file's text.
    pub fn write(&self) -> String {
        let jumps = [
            (!self.input.is_empty()).then(|| format!("{JUMP}INPUT {INPUT_JUMP}\n")),
            (!self.forward.is_empty()).then(|| format!("{JUMP}{}\n", self.forward_jump())),
        ];
        format!("{HEAD}{}{}", self.chains(), jumps.into_iter().flatten().collect::<String>())
    }

    fn forward_jump(&self) -> String {
        if self.docker { format!("{DOCKER_USER} {FORWARD_JUMP}{WAITS}") } else { format!("{FORWARD} {FORWARD_JUMP}") }
    }

    /// Reads the file; anything that we do not write ourselves is refused.
    pub fn read(text: &str, family: Family) -> Result<Self, BadPart> {
        let foreign = |what: &str| Err(BadPart::Foreign(what.to_owned()));
        let (set, diags) = iptables_save::read(text, family);
        if let Some(d) = diags.first() {
            return foreign(&format!("line {}: {}", d.line, d.message));
        }
        let rules = || set.tables.iter().flat_map(|t| &t.chains).flat_map(|c| &c.rules);
        if rules().any(|r| r.spec(family).matches.iter().any(|m| matches!(m, Match::Dates(..)))) {
            return Err(BadPart::Dated);
        }
        if let Some(table) = set.tables.iter().find(|t| t.name != "filter") {
            return foreign(&format!("table {}", table.name));
        }
        let ours = |c: &&Chain| is_ours(&c.name);
        if let Some(chain) =
            set.tables.iter().flat_map(|t| &t.chains).find(|c| !ours(c) && (!c.rules.is_empty() || c.policy.is_none()))
        {
            return foreign(&format!("chain {}", chain.name));
        }
        let jumps: Vec<&str> = text.lines().filter_map(|l| l.trim().strip_prefix(JUMP)).collect();
        let mut part = Self::of(&set);
        part.docker = jumps.iter().any(|j| j.starts_with(DOCKER_USER));
        let expected = part.write();
        if let Some(jump) = jumps.iter().find(|j| !expected.lines().any(|l| l.strip_prefix(JUMP) == Some(**j))) {
            return foreign(&format!("the jump {jump}"));
        }
        // Our chains must be exactly what `write` produces: nothing besides the two slots and their switches.
        if iptables_save::read(&expected, family).0.same_rules(&set) {
            Ok(part)
        } else {
            foreign("chains that are not filled as portcullis does")
        }
    }

    /// The change from `now` to this part; our jumps are left alone, but removed with chains that are no longer needed.
    pub fn change(&self, now: &Ruleset) -> FamilyChange {
        let mut change = family_change(now, self.input.clone(), self.forward.clone());
        for door in &mut change.doors {
            door.jump_was_there = true;
        }
        change
    }

    /// Whether our chains hold exactly this already.
    pub fn stands(&self, now: &Ruleset) -> bool {
        let kept = FamilyChange::from_kernel(now);
        let rules = |forwarded| kept.doors.iter().find(|d| d.is_forwarded() == forwarded).map_or(&[][..], |d| &d.rules);
        let undated = [false, true].iter().all(|&f| standing(now, f).fuse.is_none());
        undated
            && kept.doors.iter().all(|d| d.new.is_some())
            && rules(false) == self.input
            && rules(true) == self.forward
            && kept.holds(now, &kept.keep_script())
    }

    /// The scripts that put in each jump that `now` does not show, one transaction each. A jump from FORWARD is removed
    /// once Docker's chain exists.
    pub fn jumps(&self, now: &Ruleset) -> Vec<String> {
        let script = |line: String| format!("*filter\n{line}\nCOMMIT\n");
        let mut out = Vec::new();
        if !self.input.is_empty() && standing(now, false).jump.is_none() {
            out.push(script(format!("-I INPUT 1 {INPUT_JUMP}")));
        }
        if !self.forward.is_empty() {
            let user = now.chain("filter", DOCKER_USER).is_some();
            let parent = if user { DOCKER_USER } else { FORWARD };
            let at = standing(now, true).jump.map(|(chain, _)| chain);
            if at.as_deref() != Some(parent) {
                out.push(script(format!("-I {parent} 1 {FORWARD_JUMP}")));
                out.extend(at.map(|old| script(format!("-D {old} {FORWARD_JUMP}"))));
            }
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DROP: &str = "-p tcp -m tcp --dport 111 -m comment --comment \"portcullis: drop portmapper\" -j DROP";
    const PUBLISHED: &str = "-p tcp -m conntrack --ctstate DNAT --ctorigdstport 9042 --ctdir ORIGINAL -j DROP";

    fn host(more: &str) -> Ruleset {
        iptables_save::read(
            &format!("*filter\n:INPUT DROP [0:0]\n:FORWARD DROP [0:0]\n:OUTPUT ACCEPT [0:0]\n{more}COMMIT\n"),
            Family::V4,
        )
        .0
    }

    fn part(docker: bool) -> Part {
        Part { family: Family::V4, input: vec![DROP.to_owned()], forward: vec![PUBLISHED.to_owned()], docker }
    }

    /// Does what loading does.
    fn load(now: &mut Ruleset, part: &Part) {
        if !part.stands(now) {
            let change = part.change(now);
            now.apply(&change.whole_script()).unwrap();
            for script in change.cleanup_scripts(&now.clone()) {
                now.apply(&script).unwrap();
            }
        }
        for script in part.jumps(&now.clone()) {
            now.apply(&script).unwrap();
        }
        assert!(part.stands(now) && part.jumps(now).is_empty());
    }

    fn lines(set: &Ruleset, chain: &str) -> Vec<String> {
        set.chain("filter", chain).map(|c| c.rules.iter().map(|r| r.text.to_string()).collect()).unwrap_or_default()
    }

    #[test]
    fn a_written_part_is_read_back_and_foreign_texts_are_refused() {
        for part in [
            part(true),
            part(false),
            Part { forward: Vec::new(), ..part(false) },
            Part { input: Vec::new(), forward: Vec::new(), ..part(false) },
        ] {
            assert_eq!(Part::read(&part.write(), Family::V4), Ok(part));
        }
        let text = part(true).write();
        assert!(
            text.contains("\n# jump: INPUT ! -i lo -j PORTCULLIS\n# jump: DOCKER-USER -j PORTCULLIS-FWD  (when Docker"),
            "{text}"
        );
        assert!(!text.lines().any(|l| l.starts_with("-I") || l.contains("-A INPUT")), "{text}");
        let with =
            |line: &str| Part::read(&text.replace("COMMIT\n", &format!("{line}\nCOMMIT\n")), Family::V4).unwrap_err();
        for foreign in [
            "-A INPUT -j DROP",
            "-A FORWARD -j PORTCULLIS-FWD",
            ":mine - [0:0]",
            "-A PORTCULLIS -j DROP",
            "-A PORTCULLIS-B -j DROP",
            "rm -rf /",
        ] {
            assert!(matches!(with(foreign), BadPart::Foreign(_)), "{foreign}: {:?}", with(foreign));
        }
        assert_eq!(with("-A PORTCULLIS -m time --datestop 2026-11-23T22:18:34 -j PORTCULLIS-A"), BadPart::Dated);
        let tail = |more: &str| Part::read(&format!("{text}{more}"), Family::V4).unwrap_err();
        assert!(matches!(tail("*nat\n-A PREROUTING -j DROP\nCOMMIT\n"), BadPart::Foreign(_)));
        assert_eq!(tail("# jump: OUTPUT -j PORTCULLIS\n"), BadPart::Foreign("the jump OUTPUT -j PORTCULLIS".into()));
    }

    #[test]
    fn loading_twice_changes_nothing_and_leaves_other_rules_alone() {
        let theirs = ":ufw-before-input - [0:0]\n:DOCKER-USER - [0:0]\n-A INPUT -j ufw-before-input\n-A FORWARD -j \
            DOCKER-USER\n-A DOCKER-USER -j RETURN\n";
        let mut now = host(theirs);
        load(&mut now, &part(true));
        let once = now.clone();
        load(&mut now, &part(true));
        assert_eq!(now, once);
        assert_eq!(lines(&now, "INPUT"), ["! -i lo -j PORTCULLIS", "-j ufw-before-input"]);
        assert_eq!(lines(&now, "DOCKER-USER"), ["-j PORTCULLIS-FWD", "-j RETURN"]);
        assert_eq!(Part::of(&now), part(true));
        // Another plan, a flushed slot, a foreign rule in our chain, a lost jump, the remains of a trial.
        for odd in [
            "-F PORTCULLIS-A",
            "-A PORTCULLIS -j ACCEPT",
            "-D INPUT ! -i lo -j PORTCULLIS",
            "-F PORTCULLIS\n-A PORTCULLIS -m time --datestop 2026-11-23T22:18:34 -j PORTCULLIS-A",
        ] {
            let mut now = once.clone();
            now.apply(&format!("*filter\n{odd}\nCOMMIT\n")).unwrap();
            load(&mut now, &part(true));
            assert_eq!(Part::of(&now), part(true), "{odd}");
        }
        // A file without rules removes all our rules.
        load(&mut now, &Part { input: Vec::new(), forward: Vec::new(), ..part(false) });
        assert!(now.same_rules(&host(theirs)), "{now:#?}");
    }

    #[test]
    fn the_jump_moves_from_forward_to_dockers_chain() {
        let mut now = host("");
        load(&mut now, &part(true));
        assert_eq!(lines(&now, "FORWARD"), ["-j PORTCULLIS-FWD"]);
        now.apply("*filter\n:DOCKER-USER - [0:0]\n-A DOCKER-USER -j RETURN\n-I FORWARD 1 -j DOCKER-USER\nCOMMIT\n")
            .unwrap();
        load(&mut now, &part(true));
        assert_eq!(
            (lines(&now, "FORWARD"), lines(&now, "DOCKER-USER")),
            (vec!["-j DOCKER-USER".to_owned()], vec!["-j PORTCULLIS-FWD".to_owned(), "-j RETURN".to_owned()])
        );
    }
}
