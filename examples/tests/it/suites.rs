//! The examples' own tests: the conformance suite of each backend.

#![allow(dead_code, reason = "the programs are run from `programs`")]

#[path = "../../examples/custom_cache_store.rs"]
mod custom_cache_store;

#[path = "../../examples/custom_cert_provider.rs"]
mod custom_cert_provider;

#[path = "../../examples/custom_config_source.rs"]
mod custom_config_source;

#[path = "../../examples/custom_discovery.rs"]
mod custom_discovery;
