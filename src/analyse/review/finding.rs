//! What the review says, and what it says it of.

use crate::analyse::answers::reach::Exposure;
use crate::analyse::inventory::endpoint::Endpoint;

/// An endpoint with its exposure in IPv4 and IPv6.
#[derive(Clone, Debug, PartialEq)]
pub struct Judged {
    /// The endpoint.
    pub endpoint: Endpoint,
    /// By [`crate::model::Family::index`]; `None` when the family is not known or not there.
    pub exposure: [Option<Exposure>; 2],
}

/// Something that stands out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// A short word for programs.
    pub code: &'static str,
    /// The endpoint concerned, e.g. `portmapper 111/tcp`.
    pub endpoint: Option<String>,
    /// What it is and what to do.
    pub message: String,
}

/// Rules named one by one; more are only counted.
pub const MAX_NAMED: usize = 10;
