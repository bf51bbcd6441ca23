//! Our chains.

/// Prefix of the names of our chains.
const OURS: &str = "PORTCULLIS";

/// The switches: for packets to this host, and for forwarded ones.
pub const SWITCHES: [&str; 2] = ["PORTCULLIS", "PORTCULLIS-FWD"];

/// The chain that Docker leaves to the administrator.
pub const DOCKER_USER: &str = "DOCKER-USER";

/// Whether a chain is ours, by its name.
pub fn is_ours(chain: &str) -> bool {
    chain.starts_with(OURS)
}
