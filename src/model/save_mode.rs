//! What a save writes for the next boot, in the words of every place that offers it.

/// What goes into the files that boot loads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SaveMode {
    /// Everything that is loaded.
    All,
    /// Everything but what managers make anew themselves; DOCKER-USER and our own chains stay.
    Unmanaged,
    /// Our own chains alone, in files of their own; a unit of ours loads them after the manager in charge.
    Ours,
}

impl SaveMode {
    /// In the order in which they are offered; the one that fits the host comes first there.
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
