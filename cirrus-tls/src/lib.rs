//! Where Cirrus gets its server certificates from: the implementations of
//! [`CertProvider`](cirrus_core::downstream::CertProvider).
//!
//! * [`Folder`]: pairs `NAME.pem` and `NAME.key` of a directory, chosen by the names inside the certificates, and
//!   read again when a file changes. What most servers want.
//! * [`SelfSigned`]: makes a certificate for any name when it is first asked for. For development.
//!   Signed by a [`LocalRoot`], they are trusted by whoever trusts that.
//! * `acme::Acme`, with the feature `acme`: obtained and renewed by itself, and shared by edges that share a store.
//! * [`Fixed`]: one certificate that the program brings along.
//! * [`Chain`]: several of them, asked in order.
//!
//! A directory first, and for development a self-signed certificate for every name that it does not cover:
//!
//! ```
//! use std::sync::Arc;
//! use cirrus_tls::{Chain, Folder, SelfSigned};
//!
//! let certificates = Chain::default().then(Folder::at("certs/")).then(SelfSigned::new());
//! ```
//!
//! [`Loaded::from_pem`] is what they have in common: it reads a chain and its key, and says in plain words what is
//! wrong with them.

#![forbid(unsafe_code)]

#[cfg(feature = "acme")]
pub mod acme;
mod chain;
mod fixed;
mod folder;
mod local_ca;
mod pem;
mod self_signed;

pub use chain::Chain;
pub use fixed::Fixed;
pub use folder::{Folder, FolderError, Problem};
pub use local_ca::{LocalRoot, LocalRootError};
pub use pem::{Loaded, PemError, Warning};
pub use self_signed::SelfSigned;
