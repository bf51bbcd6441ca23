//! What a save writes for the next boot, in the words shown wherever it is offered.

/// What goes into the files that boot loads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SaveMode {
    /// Everything that is loaded.
    All,
    /// Everything but what managers rebuild themselves; DOCKER-USER and our own chains stay.
    Unmanaged,
    /// Only our own chains, in files of their own; our unit loads them after the manager in charge.
    Ours,
}

impl SaveMode {
    /// The order in which they are offered, except that the one that fits the host comes first.
    pub const ALL: [Self; 3] = [Self::Ours, Self::Unmanaged, Self::All];

    /// The word on the command line.
    pub fn word(self) -> &'static str {
        match self {
            Self::All => "all",
            Self::Unmanaged => "unmanaged",
            Self::Ours => "ours",
        }
    }

    /// What is saved, as the object of a sentence.
    pub fn what(self) -> &'static str {
        match self {
            Self::All => "everything that is loaded",
            Self::Unmanaged => "all but what managers rebuild",
            Self::Ours => "portcullis' own chains alone",
        }
    }
}
