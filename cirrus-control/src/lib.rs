//! The control plane of Cirrus: what decides for a whole fleet of edges.
//!
//! So far it has [`placement`]: which nodes answer for a domain. The REST API, DNS, certificates and the console come
//! on top of it.

#![forbid(unsafe_code)]

pub mod placement;
