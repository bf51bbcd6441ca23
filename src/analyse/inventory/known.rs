//! The one table of well-known services: what they are for, and why strangers should not reach them.

use crate::analyse::inventory::endpoint::{Endpoint, EndpointKind};

/// What a service is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ServiceClass {
    /// It tells where RPC services listen.
    PortMapper,
    /// NFS and its helpers.
    Files,
    /// It runs a cluster.
    ControlPlane,
    /// A data store.
    DataStore,
}

/// A service that strangers should not reach.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Known {
    /// What it is for.
    pub class: ServiceClass,
    /// Why strangers should not reach it, as a phrase.
    pub why: &'static str,
}

/// How a service is recognized.
enum By {
    /// RPC programs of these names.
    Programs(&'static [&'static str]),
    /// Any other RPC program.
    AnyProgram,
    /// Endpoints of these kinds on these ports.
    Ports(&'static [EndpointKind], &'static [u16]),
}

impl By {
    fn fits(&self, e: &Endpoint) -> bool {
        match self {
            Self::Programs(names) => e.kind == EndpointKind::Rpc && names.contains(&e.name.as_str()),
            Self::AnyProgram => e.kind == EndpointKind::Rpc,
            Self::Ports(kinds, ports) => kinds.contains(&e.kind) && ports.contains(&e.port),
        }
    }
}

use EndpointKind::{Published, Socket};
use ServiceClass::{ControlPlane, DataStore, Files, PortMapper};

/// The first match counts. Ports: etcd 2379 and 2380, kubelet 10250 and 10255; Cassandra 7000, 7001, 7199 and 9042,
/// Redis 6379, `PostgreSQL` 5432, `MySQL` 3306, `MongoDB` 27017, Elasticsearch 9200, memcached 11211.
const TABLE: &[(By, ServiceClass, &str)] = &[
    (By::Programs(&["portmapper", "rpcbind"]), PortMapper, "names every service; answers UDP 7-28x in size"),
    (By::Programs(&["mountd", "nfs", "nfs_acl"]), Files, "hands out files; only NFS clients need it"),
    (By::AnyProgram, Files, "belongs to NFS; only NFS clients need it"),
    (By::Ports(&[Socket], &[2379, 2380]), ControlPlane, "etcd: only the control plane needs it"),
    (By::Ports(&[Socket], &[10250, 10255]), ControlPlane, "kubelet: only the control plane needs it"),
    (
        By::Ports(&[Published, Socket], &[9042, 7000, 7001, 7199, 6379, 5432, 3306, 27017, 9200, 2379, 11211]),
        DataStore,
        "a data store: only its clients and peers need it",
    ),
];

/// The table entry for an endpoint; `None`: whether strangers should reach it depends on what the host is for.
pub fn known(e: &Endpoint) -> Option<Known> {
    TABLE.iter().find(|(by, ..)| by.fits(e)).map(|(_, class, why)| Known { class: *class, why })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Proto;

    #[test]
    fn services_are_known_by_their_program_or_by_kind_and_port() {
        let class = |kind, name, port| known(&Endpoint::new(kind, name, Proto::TCP, port)).map(|k| k.class);
        let rule = EndpointKind::Rule;
        for (kind, name, port, wanted) in [
            (EndpointKind::Rpc, "portmapper", 111, Some(PortMapper)),
            (EndpointKind::Rpc, "nlockmgr", 43211, Some(Files)),
            (Socket, "etcd", 2379, Some(ControlPlane)),
            // A published container is not the control plane of this host.
            (Published, "etcd", 2379, Some(DataStore)),
            (Published, "cassandra", 9042, Some(DataStore)),
            (Socket, "sshd", 22, None),
            (rule, "", 9042, None),
        ] {
            assert_eq!(class(kind, name, port), wanted, "{name} {port}");
        }
    }
}
