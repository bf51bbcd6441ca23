//! Diagnostics: what a reader could not use, and where.

use serde::Serialize;

/// What a diagnostic is about, as far as any code asks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DiagnosticKind {
    /// Input that is not used or not understood.
    #[default]
    Remark,
    /// The input should have been a list of services but is not.
    NoServices,
    /// An entry matches hosts that it does not name.
    UnnamedHosts,
}

/// One remark about an input: readers never fail, they report what they left out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, thiserror::Error)]
#[error("{}", self.placed())]
pub struct Diagnostic {
    /// The file or tool that the text came from; empty if the reader does not know.
    pub file: String,
    /// Line number, counted from 1; 0 for a remark about the whole input.
    pub line: usize,
    /// One plain sentence.
    pub message: String,
    /// What it is about.
    #[serde(skip)]
    pub kind: DiagnosticKind,
}

impl Diagnostic {
    /// A remark about one line of a text.
    pub fn at(line: usize, message: impl Into<String>) -> Self {
        Self { file: String::new(), line, message: message.into(), kind: DiagnosticKind::default() }
    }

    /// A remark about a whole input.
    pub fn whole(message: impl Into<String>) -> Self {
        Self::at(0, message)
    }

    /// The message after its place, e.g. `rules.txt:3: ...`.
    pub fn placed(&self) -> String {
        match (self.file.as_str(), self.line) {
            ("", _) => self.message.clone(),
            (file, 0) => format!("{file}: {}", self.message),
            (file, line) => format!("{file}:{line}: {}", self.message),
        }
    }

    /// The same remark with this kind.
    #[must_use]
    pub fn of(mut self, kind: DiagnosticKind) -> Self {
        self.kind = kind;
        self
    }

    /// The same remark with its source.
    #[must_use]
    pub fn in_file(mut self, file: &str) -> Self {
        file.clone_into(&mut self.file);
        self
    }
}
