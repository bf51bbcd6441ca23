//! Where a file came from that is read on the operator's behalf.

/// Who put it there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Whose {
    /// The machine's administrator.
    Machine,
    /// Nobody but the operator, in a place that is his alone.
    Own,
    /// Another user, by name, or one in whose home it lies.
    Other(String),
}

/// The origin of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileOrigin {
    /// Its path.
    pub path: String,
    /// Whose it is.
    pub whose: Whose,
    /// When it was changed last, seconds since 1970 UTC.
    pub changed: i64,
}

impl FileOrigin {
    /// Whether the operator need not be told whose it is.
    pub fn is_own(&self) -> bool {
        self.whose == Whose::Own
    }

    /// The path, and whose it is where that is not plain.
    pub fn shown(&self) -> String {
        match &self.whose {
            Whose::Machine | Whose::Own => self.path.clone(),
            Whose::Other(who) => format!("{}, a file of {who}", self.path),
        }
    }
}
