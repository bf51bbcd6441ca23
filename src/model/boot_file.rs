//! What happened to the files that boot loads while a trial ran: the trial writes nothing to them, but
//! somebody else may.

/// What somebody wrote to a file that boot loads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum BootHolds {
    /// Rules of a trial: ours, with dates.
    Trial,
    /// The plan of the pending trial, without dates.
    Plan,
    /// Something else, without any rule of the trial.
    Other,
}

/// A file that boot loads and that changed while the trial ran.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BootFile {
    /// Its path.
    pub path: String,
    /// What it contains.
    pub holds: BootHolds,
}

impl BootHolds {
    /// The stable word in JSON.
    pub fn word(self) -> &'static str {
        match self {
            Self::Trial => "trial",
            Self::Plan => "plan",
            Self::Other => "other",
        }
    }

    /// Whether the next boot would load rules that nobody has kept.
    pub fn is_bad(self) -> bool {
        self != Self::Other
    }
}

impl BootFile {
    /// A sentence for each kind of content, without its full stop, naming all files that have it.
    pub fn say(files: &[Self]) -> Vec<(BootHolds, String)> {
        let mut kinds: Vec<BootHolds> = files.iter().map(|f| f.holds).collect();
        kinds.sort_unstable();
        kinds.dedup();
        kinds
            .into_iter()
            .map(|kind| {
                let names: Vec<&str> = files.iter().filter(|f| f.holds == kind).map(|f| f.path.as_str()).collect();
                let one = names.len() == 1;
                let (hold, it) = if one { ("holds", "it") } else { ("hold", "them") };
                let names = names.join(" and ");
                let cure = format!("once no trial is pending, `portcullis save` writes {it} again");
                (
                    kind,
                    match kind {
                        BootHolds::Trial => format!(
                            "{names} {hold} rules of a trial: somebody saved while it ran, and boot would load \
                            them; {cure}"
                        ),
                        BootHolds::Plan => format!(
                            "{names} {hold} the plan on trial: somebody saved it, and boot would load it; {cure}"
                        ),
                        BootHolds::Other => format!(
                            "{names} {} changed by somebody while the trial ran; nothing of the trial is in {it}",
                            if one { "was" } else { "were" }
                        ),
                    },
                )
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_that_hold_the_same_share_a_sentence() {
        let file = |path: &str, holds| BootFile { path: path.to_owned(), holds };
        let said =
            BootFile::say(&[file("/b", BootHolds::Other), file("/a", BootHolds::Trial), file("/c", BootHolds::Trial)]);
        assert_eq!(said.len(), 2);
        assert!(
            said[0].1.starts_with("/a and /c hold rules of a trial")
                && said[0].1.ends_with("`portcullis save` writes them again"),
            "{said:?}"
        );
        assert_eq!(said[1].1, "/b was changed by somebody while the trial ran; nothing of the trial is in it");
    }
}
