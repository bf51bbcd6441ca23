//! The origin of a file that is read on behalf of the operator.

/// Whose file it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Whose {
    /// The machine's administrator.
    Machine,
    /// The operator, in a directory that nobody else can write.
    Own,
    /// Another user's, by name, or a file in that user's home.
    Other(String),
}

/// The origin of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileOrigin {
    /// Its path.
    pub path: String,
    /// Whose file it is.
    pub whose: Whose,
    /// When it was last changed, in seconds since 1970 UTC.
    pub changed: i64,
}

impl FileOrigin {
    /// Whether it is the operator's own, so that its owner need not be shown.
    pub fn is_own(&self) -> bool {
        self.whose == Whose::Own
    }

    /// The path, with the owner unless that is obvious.
    pub fn shown(&self) -> String {
        match &self.whose {
            Whose::Machine | Whose::Own => self.path.clone(),
            Whose::Other(who) => format!("{}, a file of {who}", self.path),
        }
    }
}
