//! Certificates by ACME (RFC 8555): obtained, renewed, and shared by all nodes.

mod store;

pub use store::{CertRecord, CertStore, DiskStore, Lease, RecordError, Slot, StoreError};
