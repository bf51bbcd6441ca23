//! What an operator allows although a check forbids it.

use crate::model::Code;

/// What the operator allows although a check forbids it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Allowed {
    /// Kept rules may be removed.
    pub replace: bool,
    /// The operator may be locked out.
    pub lockout: bool,
    /// The trial may run without dated rules in the kernel.
    pub without_fuse: bool,
    /// The rehearsal in a throw-away namespace may be skipped.
    pub without_rehearsal: bool,
}

impl Allowed {
    /// The same, and what the refusal with this code asks for; `None` if the refusal cannot be overridden.
    pub fn and(mut self, code: Code) -> Option<Self> {
        let before = self;
        match code {
            Code::Replace => self.replace = true,
            Code::Lockout => self.lockout = true,
            Code::NoFuse => self.without_fuse = true,
            Code::NoRehearsal => self.without_rehearsal = true,
            _ => {}
        }
        (self != before).then_some(self)
    }
}
